package qcow2

import (
	"errors"
)

// A structure is metadata that lies in one piece: what the header, a header
// extension, or an entry of the snapshot table or the bitmap directory leads
// to.
type structure struct {
	kind   HostKind
	owner  Owner
	offset uint64 // bytes
	length uint64 // bytes
	entry  uint64 // file offset of what points there, in bytes
}

// structures collects the structures of an image.
type structures struct {
	img    *Image
	all    []structure
	tables []ownedTable // the L1 tables that can be read
	yield  func(error) bool
	ok     bool // yield has returned true so far
}

// newStructures looks up all structures, those first whose kind wins where
// they overlap. It calls yield for what is wrong with them.
func newStructures(img *Image, yield func(error) bool) *structures {
	s := &structures{img: img, yield: yield, ok: true}
	h, g := &img.header, &img.geometry
	s.add(structure{kind: HostHeader, owner: OwnerImage, length: g.ClusterSize})
	for _, err := range img.Extensions() {
		if err != nil {
			s.fail(err) // what lies after it is not found
		}
	}
	if _, _, err := img.refcountTable(); err != nil {
		s.fail(err)
	}
	if offset, length := h.RefcountTableOffset, g.RefcountTableEntries*entrySize; img.refcountTableError() == nil {
		s.all = append(s.all, structure{HostRefcountTable, OwnerImage, offset, length, fieldOffset("refcount_table_offset")})
	}
	if err := img.l1Error(nil); err != nil {
		s.fail(err)
	} else {
		s.addL1Table(h.L1TableOffset, uint64(h.L1Size), OwnerActive, fieldOffset("l1_table_offset"), h.Size)
	}
	s.addSnapshots()
	s.addBitmaps()
	s.addEncryptionHeader()
	return s
}

// fail passes on an error.
func (s *structures) fail(err error) { s.ok = s.ok && s.yield(err) }

// add adds a structure. One that ends a cluster or more past the end of the
// file is an error, too.
func (s *structures) add(t structure) {
	if t.length == 0 {
		return
	}
	s.all = append(s.all, t)
	size := s.img.src.size
	if clusterEnd := size + s.img.geometry.ClusterSize; t.offset >= size || t.length >= clusterEnd-t.offset {
		s.fail(errorf(t.kind.section(), t.offset, ErrTruncated, "%d bytes, but the file ends at %#x", t.length, size))
	}
}

// addL1Table adds an L1 table, that of a disk of so many bytes.
func (s *structures) addL1Table(offset, entries uint64, owner Owner, entry, diskSize uint64) {
	s.add(structure{HostL1Table, owner, offset, entries * entrySize, entry})
	s.tables = append(s.tables, ownedTable{l1Table{offset, entries}, owner, diskSize, s.img.geometry.VMStateOffsetOf(diskSize)})
}

// addSnapshots adds the snapshot table as far as it can be read, and the L1
// table of each snapshot.
func (s *structures) addSnapshots() {
	end := s.img.header.SnapshotsOffset
	for snapshot, err := range s.img.Snapshots() {
		if err != nil {
			s.fail(err)
			break
		}
		for _, e := range snapshot.Damage {
			s.fail(e)
		}
		end = snapshot.Offset + snapshot.length()
		if s.img.l1Error(&snapshot) == nil {
			s.addL1Table(snapshot.L1TableOffset, uint64(snapshot.L1Size), Owner(snapshot.Index), snapshot.Offset, snapshot.DiskSize)
		}
		if !s.ok {
			return
		}
	}
	start := s.img.header.SnapshotsOffset
	s.add(structure{HostSnapshotTable, OwnerImage, start, end - start, fieldOffset("snapshots_offset")})
}

// addBitmaps adds the bitmap directory and the bitmap tables, if the image has
// bitmaps that count.
func (s *structures) addBitmaps() {
	x, ok := s.img.Extension(ExtBitmaps)
	if !ok || s.img.header.AutoclearFeatures&BitmapsConsistent == 0 {
		return
	}
	d, err := x.BitmapDirectory()
	if err == nil {
		err = s.img.bitmapDirectoryError(d)
	}
	if err != nil {
		s.fail(err)
		return
	}
	s.add(structure{HostBitmapDirectory, OwnerImage, d.Offset, d.Size, x.Offset + extensionHeaderLength + 16})
	for b, err := range s.img.Bitmaps(d) {
		if err != nil {
			s.fail(err)
			break
		}
		for _, e := range b.Damage {
			s.fail(e)
		}
		if s.readable(&b) {
			s.add(structure{HostBitmapTable, OwnerImage, b.TableOffset, uint64(b.TableSize) * entrySize, b.Offset})
		}
		if !s.ok {
			return
		}
	}
}

// readable reports whether the table of a bitmap can be read.
func (s *structures) readable(b *Bitmap) bool {
	for _, e := range b.Damage {
		if at := e.Offset - b.Offset; at == 0 || at == 8 && errors.Is(e, ErrLimit) { // where it lies, how long it is
			return false
		}
	}
	return true
}

// addEncryptionHeader adds the LUKS header.
func (s *structures) addEncryptionHeader() {
	x, ok := s.img.Extension(ExtEncryption)
	if !ok {
		return
	}
	e, err := x.EncryptionHeader()
	if err == nil {
		err = s.img.encryptionHeaderError(e)
	}
	if err != nil {
		s.fail(err)
		return
	}
	s.add(structure{HostEncryptionHeader, OwnerImage, e.Offset, e.Length, x.Offset + extensionHeaderLength})
}
