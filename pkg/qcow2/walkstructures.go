package qcow2

// A structure is metadata in contiguous clusters, to which the header, a header
// extension, or an entry of the snapshot table or the bitmap directory points.
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

// findStructures finds all structures, those first whose kind wins where they
// overlap. It calls yield for what is wrong with them.
func findStructures(img *Image, yield func(error) bool) *structures {
	s := &structures{img: img, yield: yield, ok: true}
	s.add(structure{kind: HostHeader, owner: OwnerImage, length: img.geometry.ClusterSize})
	for _, err := range img.Extensions() {
		if err != nil {
			s.fail(err) // what lies after it is not found
		}
	}
	s.addRefcountTable()
	if l1, err := img.l1Table(nil); err != nil {
		s.fail(err)
	} else {
		s.addL1Table(l1, OwnerActive, fieldOffset("l1_table_offset"), img.header.Size)
	}
	s.addSnapshots()
	s.addBitmaps()
	s.addEncryptionHeader()
	return s
}

// fail passes on an error.
func (s *structures) fail(err error) { s.ok = s.ok && s.yield(err) }

// add adds a structure. One that ends a cluster or more past the end of the
// file is an error, too, of what points there.
func (s *structures) add(t structure) {
	if t.length == 0 {
		return
	}
	s.all = append(s.all, t)
	size := s.img.src.size
	if clusterEnd := size + s.img.geometry.ClusterSize; t.offset >= size || t.length >= clusterEnd-t.offset {
		s.fail(errorf(t.kind.section(), t.entry, ErrTruncated, "%d bytes at %#x, but the file ends at %#x", t.length, t.offset, size))
	}
}

// addRefcountTable adds the refcount table. One that the file cuts is as long as
// the header says.
func (s *structures) addRefcountTable() {
	table, err := s.img.refcountTable()
	if err != nil {
		s.fail(err)
	}
	if table.offset != 0 {
		length := s.img.geometry.RefcountTableEntries * entrySize
		s.all = append(s.all, structure{HostRefcountTable, OwnerImage, table.offset, length, fieldOffset("refcount_table_offset")})
	}
}

// addL1Table adds the L1 table of a disk of diskSize bytes.
func (s *structures) addL1Table(t entryTable, owner Owner, entry, diskSize uint64) {
	s.add(structure{HostL1Table, owner, t.offset, t.entries * entrySize, entry})
	s.tables = append(s.tables, ownedTable{t, owner, diskSize, s.img.geometry.VMStateOffsetOf(diskSize)})
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
		if l1, err := s.img.l1Table(&snapshot); err == nil {
			s.addL1Table(l1, Owner(snapshot.Index), snapshot.Offset, snapshot.DiskSize)
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
	d, ok, err := s.img.BitmapDirectory()
	if !ok || !s.img.BitmapsConsistent() {
		return
	}
	if err != nil {
		s.fail(err)
		return
	}
	s.add(structure{HostBitmapDirectory, OwnerImage, d.Offset, d.Size, d.Extension + extensionHeaderLength + bitmapsDirectoryOffsetField})
	for b, err := range s.img.Bitmaps() {
		if err != nil {
			s.fail(err)
			break
		}
		for _, e := range b.Damage {
			s.fail(e)
		}
		if t, err := s.img.bitmapTable(&b); err == nil {
			s.add(structure{HostBitmapTable, OwnerImage, t.offset, t.entries * entrySize, b.Offset})
		}
		if !s.ok {
			return
		}
	}
}

// addEncryptionHeader adds the LUKS header.
func (s *structures) addEncryptionHeader() {
	e, ok, err := s.img.EncryptionHeader()
	switch {
	case err != nil:
		s.fail(err)
	case ok:
		s.add(structure{HostEncryptionHeader, OwnerImage, e.Offset, e.Length, e.Extension + extensionHeaderLength})
	}
}
