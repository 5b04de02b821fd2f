package qcow2

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// Bytes of extra data at which each field of it is complete.
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
	L1Size        uint32 // entries: each snapshot has its own
	ID, Name      string // arbitrary bytes
	Seconds       uint32 // when it was taken, since the epoch (unsigned)
	Nanoseconds   uint32
	VMClock       uint64 // how long the guest had run, in nanoseconds
	// VMStateSize is in bytes: the 64-bit field of the extra data where there
	// is one, else the 32-bit field.
	VMStateSize uint64
	// DiskSize is the virtual disk size at the snapshot in bytes; the header's
	// where the entry has none (ExtraSize below 16).
	DiskSize uint64
	// ICount is the number of instructions that the guest had executed,
	// meaningful when HasICount is true.
	ICount    uint64
	HasICount bool
	// ExtraSize is the length of the extra data as stored, in bytes.
	ExtraSize uint32
	// Extra is what the extra data hold beyond the fields above: the first
	// 1024 bytes at most. Usually nil.
	Extra []byte
	// Damage is what is wrong with this entry; it was decoded all the same.
	Damage []*Error
}

// Snapshots yields the entries of the snapshot table in its order. An error
// ends the sequence: what follows a broken entry cannot be found. It is an
// [*Error], with the zero Snapshot.
func (img *Image) Snapshots() iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		if err := img.snapshotTableError(); err != nil {
			yield(Snapshot{}, err)
			return
		}
		start := img.header.SnapshotsOffset
		c := newCursor(&img.src, SectionSnapshotTable, start, math.MaxUint64)
		for i := range img.header.NbSnapshots {
			s, err := img.snapshotAt(c, int(i))
			if err == nil && c.off-start > img.limits.SnapshotTableBytes {
				err = errorf(SectionSnapshotTable, s.Offset, ErrLimit, "it ends above the limit of %d bytes for the table (SnapshotTableBytes)",
					img.limits.SnapshotTableBytes)
			}
			if err != nil {
				yield(Snapshot{}, inEntry(err, int(i)))
				return
			}
			if !yield(s, nil) {
				return
			}
		}
	}
}

// FindSnapshot returns the snapshot that name names: by its id, else by its
// name, else, as "@N", by its position in the table from 0. Where that is none
// or more than one the error, [ErrNoSnapshot] or [ErrSeveralSnapshots], says
// which there are; if it is none and the table cannot be read to its end, the
// error is that, an [*Error].
func (img *Image) FindSnapshot(name string) (Snapshot, error) {
	var all []Snapshot
	var broken error
	for s, err := range img.Snapshots() {
		if broken = err; err == nil {
			all = append(all, s)
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
	if broken != nil { // it may be after
		return Snapshot{}, broken
	}
	if len(all) == 0 {
		return Snapshot{}, fmt.Errorf("%w %q: the image has none", ErrNoSnapshot, name)
	}
	return Snapshot{}, fmt.Errorf("%w %q; there are %s", ErrNoSnapshot, name, snapshotList(all))
}

const (
	listedSnapshots = 10 // how many an error lists
	listedName      = 64 // how many characters of an id or a name
)

// snapshotList names snapshots for an error.
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

// quotedStart quotes the start of a text, with an ellipsis where it goes on.
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

// snapshotCountError returns an error when nb_snapshots is beyond the limit.
func (img *Image) snapshotCountError() *Error {
	if n := uint64(img.header.NbSnapshots); n > img.limits.Snapshots {
		return errorf(SectionSnapshotTable, fieldOffset("nb_snapshots"), ErrLimit, "nb_snapshots %d is above the limit of %d (Snapshots)", n, img.limits.Snapshots)
	}
	return nil
}

// snapshotAt decodes the entry at the cursor, padded to a multiple of 8 bytes.
func (img *Image) snapshotAt(c *cursor, index int) (Snapshot, error) {
	s := Snapshot{Index: index, Offset: c.off}
	r, err := c.next(snapshotRecordLength, "fixed part")
	if err != nil {
		return s, err
	}
	idSize, nameSize := s.decode(r)
	if uint64(s.ExtraSize) > img.limits.SnapshotExtraBytes {
		return s, errorf(SectionSnapshotTable, s.Offset+snapshotExtraSizeField, ErrLimit, "%d bytes of extra data are above the limit of %d (SnapshotExtraBytes)",
			s.ExtraSize, img.limits.SnapshotExtraBytes)
	}
	if err := s.readExtra(c, img.header.Size); err != nil {
		return s, err
	}
	text, err := c.next(idSize+nameSize, "id and name")
	if err != nil {
		return s, err
	}
	s.ID, s.Name = string(text[:idSize]), string(text[idSize:])
	s.Damage = img.snapshotDamage(&s)
	return s, c.pad(s.Offset)
}

// decode sets what the fixed part of the entry has, and returns the lengths of id
// and name in bytes.
func (s *Snapshot) decode(r snapshotRecord) (idSize, nameSize uint64) {
	s.L1TableOffset = r.l1TableOffset()
	s.L1Size = r.l1Size()
	s.Seconds = r.seconds()
	s.Nanoseconds = r.nanoseconds()
	s.VMClock = r.vmClock()
	s.VMStateSize = uint64(r.vmStateSize())
	s.ExtraSize = r.extraSize()
	return uint64(r.idSize()), uint64(r.nameSize())
}

// length returns the length of the entry in bytes, without padding.
func (s *Snapshot) length() uint64 {
	return snapshotRecordLength + uint64(s.ExtraSize) + uint64(len(s.ID)) + uint64(len(s.Name))
}

// readExtra decodes the extra data, whose fields end where ExtraSize does.
func (s *Snapshot) readExtra(c *cursor, diskSize uint64) error {
	kept := min(uint64(s.ExtraSize), extraICount+maxExtraKept)
	p, err := c.next(kept, "extra data")
	if err != nil {
		return err
	}
	s.DiskSize = diskSize
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
	return c.skip(uint64(s.ExtraSize)-kept, "extra data")
}

// snapshotDamage judges an entry.
func (img *Image) snapshotDamage(s *Snapshot) []*Error {
	var errs []*Error
	if img.header.Version > 2 && s.ExtraSize < extraDiskSize {
		errs = append(errs, errorf(SectionSnapshotTable, s.Offset+snapshotExtraSizeField, ErrCorrupt,
			"entry %d has %d bytes of extra data; version 3 needs %d, with the disk size", s.Index, s.ExtraSize, extraDiskSize))
	}
	return append(errs, img.snapshotL1Errors(s)...)
}
