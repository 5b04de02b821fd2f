package qcow2

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// How many bytes of extra data include each of its fields.
	extraVMStateSize = 8
	extraDiskSize    = 16
	extraICount      = 24

	// maxExtraKept bounds [Snapshot.Extra], in bytes.
	maxExtraKept = 1024
)

// A Snapshot is one entry of the snapshot table (specification, section
// "Snapshots").
type Snapshot struct {
	Index  int    // position in the table, from 0
	Offset uint64 // of the entry, in bytes from the start of the file

	L1TableOffset uint64 // bytes
	L1Size        uint32 // entries of its own L1 table
	ID, Name      string // arbitrary bytes
	Seconds       uint32 // when it was taken, since the epoch (unsigned)
	Nanoseconds   uint32
	VMClock       uint64 // how long the guest had run, in nanoseconds
	// VMStateSize is in bytes: the 64-bit field of the extra data if there is one,
	// else the 32-bit field.
	VMStateSize uint64
	// DiskSize is the virtual disk size at the snapshot in bytes, or that of the
	// header if the entry has none (ExtraSize below 16).
	DiskSize uint64
	// ICount is the number of instructions that the guest had executed,
	// meaningful when HasICount is true.
	ICount    uint64
	HasICount bool
	// ExtraSize, IDSize and NameSize are the lengths of the extra data, the id and
	// the name as stored, in bytes.
	ExtraSize        uint32
	IDSize, NameSize uint16
	// Extra is the extra data after the fields above, at most 1024 bytes. Usually
	// nil.
	Extra []byte
	// Damage is what is wrong with this entry; it was decoded all the same, as far
	// as the file has it. If the file ends inside the id or the name, they are cut.
	Damage []*Error
}

// Snapshots yields the entries of the snapshot table in its order, as long as their
// fixed part can be read. An error ends the sequence: an [*Error], with the zero
// Snapshot, that says why the next entry cannot be read.
//
// QEMU refuses a table with an entry above a limit; a repair keeps the entry
// without the excess. So the entry, with its L1 table, is yielded here.
func (img *Image) Snapshots() iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		if err := img.snapshotTableError(); err != nil {
			yield(Snapshot{}, err)
			return
		}
		c := newCursor(&img.src, SectionSnapshotTable, img.header.SnapshotsOffset, math.MaxUint64)
		for i := range int(img.header.NbSnapshots) {
			s, err := Snapshot{}, img.snapshotLimitError(c.off, "begins")
			if err == nil {
				s, err = img.snapshotAt(c, i)
			}
			if err != nil {
				yield(Snapshot{}, inEntry(err, i))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// FindSnapshot returns the snapshot with the given id, else that with the given
// name, else, for "@N", that at position N of the table, from 0. If none or several
// match, the error is [ErrNoSnapshot] or [ErrSeveralSnapshots], and lists the
// candidates. If none matches and not all of the table can be read, it is the
// [*Error] of the table.
func (img *Image) FindSnapshot(name string) (Snapshot, error) {
	var all []Snapshot
	var broken error // why an id or a name may be missing
	for s, err := range img.Snapshots() {
		if err != nil {
			broken = err
			break
		}
		all = append(all, s)
		if i := slices.IndexFunc(s.Damage, func(e *Error) bool { return errors.Is(e, ErrTruncated) || e.isRead() }); i >= 0 {
			broken = s.Damage[i]
		}
	}
	for _, matches := range []func(Snapshot) bool{
		func(s Snapshot) bool { return s.ID == name },
		func(s Snapshot) bool { return s.Name == name },
		func(s Snapshot) bool { return fmt.Sprintf("@%d", s.Index) == name },
	} {
		found := slices.DeleteFunc(slices.Clone(all), func(s Snapshot) bool { return !matches(s) })
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return Snapshot{}, fmt.Errorf("%w %q: %s", ErrSeveralSnapshots, name, snapshotList(found))
		}
	}
	if broken != nil { // it may be there
		return Snapshot{}, broken
	}
	if len(all) == 0 {
		return Snapshot{}, fmt.Errorf("%w %q: the image has none", ErrNoSnapshot, name)
	}
	return Snapshot{}, fmt.Errorf("%w %q; there are %s", ErrNoSnapshot, name, snapshotList(all))
}

const (
	listedSnapshots = 10 // how many an error lists
	listedName      = 64 // how many characters of an id or a name, also of bitmaps, are in a message
)

// snapshotList lists snapshots for an error.
func snapshotList(all []Snapshot) string {
	var words []string
	for _, s := range all[:min(len(all), listedSnapshots)] {
		words = append(words, fmt.Sprintf("@%d (id %s, name %s)", s.Index, quotedStart(s.ID), quotedStart(s.Name)))
	}
	if len(all) > listedSnapshots {
		words = append(words, fmt.Sprintf("and %d more", len(all)-listedSnapshots))
	}
	return strings.Join(words, ", ")
}

// quotedStart quotes the start of a text, with an ellipsis if there is more.
func quotedStart(s string) string {
	start := fmt.Sprintf("%.*q", listedName, s)
	if utf8.RuneCountInString(s) > listedName {
		start += "…"
	}
	return start
}

// snapshotTableError returns why the table cannot be read.
func (img *Image) snapshotTableError() error {
	h := &img.header
	if img.geometryErr != nil {
		return img.geometryErr
	}
	if h.NbSnapshots == 0 {
		return nil
	}
	if err := img.snapshotCountError(); err != nil {
		return err
	}
	if h.SnapshotsOffset == 0 || h.SnapshotsOffset%img.geometry.ClusterSize != 0 {
		return errorf(SectionSnapshotTable, fieldOffset("snapshots_offset"), ErrCorrupt,
			"snapshots_offset %#x is not that of a cluster after the header", h.SnapshotsOffset)
	}
	return nil
}

// snapshotCountError returns an error if nb_snapshots is above the limit.
func (img *Image) snapshotCountError() *Error {
	if n := uint64(img.header.NbSnapshots); n > img.limits.Snapshots {
		return errorf(SectionSnapshotTable, fieldOffset("nb_snapshots"), ErrLimit, "nb_snapshots %d is above the limit of %d (Snapshots)", n, img.limits.Snapshots)
	}
	return nil
}

// snapshotLimitError returns an error when an entry ends, or begins, at a file
// offset above the limit for the table.
func (img *Image) snapshotLimitError(at uint64, verb string) error {
	if limit := img.limits.SnapshotTableBytes; at-img.header.SnapshotsOffset > limit {
		return errorf(SectionSnapshotTable, at, ErrLimit, "it %s above the limit of %d bytes for the table (SnapshotTableBytes)", verb, limit)
	}
	return nil
}

// snapshotAt decodes the entry at the cursor, and moves that to the next: entries
// are padded to a multiple of 8 bytes. The error is why the fixed part cannot be
// read.
func (img *Image) snapshotAt(c *cursor, index int) (Snapshot, error) {
	s := Snapshot{Index: index, Offset: c.off}
	r, err := c.next(snapshotRecordLength, "fixed part")
	if err != nil {
		return s, err
	}
	s.decode(r)
	end := s.Offset + s.length()
	if uint64(s.ExtraSize) > img.limits.SnapshotExtraBytes {
		s.damage(errorf(SectionSnapshotTable, s.Offset+snapshotExtraSizeField, ErrLimit, "%d bytes of extra data are above the limit of %d (SnapshotExtraBytes)",
			s.ExtraSize, img.limits.SnapshotExtraBytes))
	} else {
		s.damage(img.snapshotLimitError(end, "ends"))
	}
	s.damage(s.readExtra(c, img.header.Size))
	if c.seek(end - s.textSize()) {
		s.damage(s.readText(c))
	}
	c.seek(end + -end&7)
	s.Damage = append(s.Damage, img.snapshotDamage(&s)...)
	return s, nil
}

// damage adds an error, if it is one, to what is wrong with the entry.
func (s *Snapshot) damage(err error) {
	if e, ok := errors.AsType[*Error](inEntry(err, s.Index)); ok {
		s.Damage = append(s.Damage, e)
	}
}

// decode sets what the fixed part of the entry has.
func (s *Snapshot) decode(r snapshotRecord) {
	s.L1TableOffset = r.l1TableOffset()
	s.L1Size = r.l1Size()
	s.Seconds = r.seconds()
	s.Nanoseconds = r.nanoseconds()
	s.VMClock = r.vmClock()
	s.VMStateSize = uint64(r.vmStateSize())
	s.ExtraSize, s.IDSize, s.NameSize = r.extraSize(), r.idSize(), r.nameSize()
}

// length returns the length of the entry in bytes, without padding.
func (s *Snapshot) length() uint64 {
	return snapshotRecordLength + uint64(s.ExtraSize) + s.textSize()
}

// textSize returns the length of the id and the name, in bytes.
func (s *Snapshot) textSize() uint64 { return uint64(s.IDSize) + uint64(s.NameSize) }

// readExtra decodes the extra data, which has as many fields as ExtraSize covers.
// The error is why not all can be read.
func (s *Snapshot) readExtra(c *cursor, diskSize uint64) error {
	s.DiskSize = diskSize
	cut := c.reach(uint64(s.ExtraSize), "extra data")
	kept := min(uint64(s.ExtraSize), extraICount+maxExtraKept, c.left())
	p, err := c.next(kept, "extra data")
	if err != nil {
		return err
	}
	if kept >= extraVMStateSize {
		s.VMStateSize = be64(p)
	}
	if kept >= extraDiskSize {
		s.DiskSize = be64(p[8:])
	}
	if kept >= extraICount {
		s.ICount = be64(p[16:])
		s.HasICount = s.ICount != math.MaxUint64 // −1: none
	}
	if known := kept - kept%8; known < extraICount && kept > known {
		s.Extra = append(s.Extra, p[known:]...) // a cut field
	} else if kept > extraICount {
		s.Extra = append(s.Extra, p[extraICount:]...)
	}
	return cut
}

// readText reads the id and the name. The error is why not all can be read.
func (s *Snapshot) readText(c *cursor) error {
	cut := c.reach(s.textSize(), "id and name")
	text, err := c.next(min(s.textSize(), c.left()), "id and name")
	if err != nil {
		return err
	}
	idSize := min(int(s.IDSize), len(text))
	s.ID, s.Name = string(text[:idSize]), string(text[idSize:])
	return cut
}

// snapshotDamage returns what is wrong with an entry.
func (img *Image) snapshotDamage(s *Snapshot) []*Error {
	var errs []*Error
	if img.header.Version > 2 && s.ExtraSize < extraDiskSize {
		errs = append(errs, errorf(SectionSnapshotTable, s.Offset+snapshotExtraSizeField, ErrReadable,
			"entry %d has %d bytes of extra data; version 3 needs %d, with the disk size", s.Index, s.ExtraSize, extraDiskSize))
	}
	return append(errs, img.snapshotL1Errors(s)...)
}
