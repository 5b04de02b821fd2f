package qcow2

// A structure is metadata in contiguous clusters, to which the header, a header
// extension, or an entry of the snapshot table or the bitmap directory points.
type structure struct {
	kind   HostKind
	owner  Owner
	offset uint64 // bytes
	length uint64 // bytes
	entry  uint64 // file offset of the field or record that points there, in bytes
	bitmap int    // position of the bitmap whose table it is, if it is one
}

// structures collects the structures of an image.
type structures struct {
	img    *Image
	all    []structure
	tables []ownedTable // the L1 tables that can be read
	yield  func(error) bool
	ok     bool // yield has returned true so far
}

// findStructures finds all structures. If some overlap, the first determines the
// kind. It calls yield with what is wrong with them.
func findStructures(img *Image, yield func(error) bool) *structures {
	s := &structures{img: img, yield: yield, ok: true}
	s.add(structure{kind: HostHeader, owner: OwnerImage, length: img.geometry.ClusterSize})
	for _, err := range img.Extensions() {
		if err != nil {
			s.fail(err) // extensions after it are not found
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

// addRefcountTable adds the refcount table. If the file cuts it off, it counts as
// long as the header says.
func (s *structures) addRefcountTable() {
	table, err := s.img.refcountTable()
	if err != nil {
		s.fail(err)
	}
	if table.offset != 0 {
		length := s.img.geometry.RefcountTableEntries * entrySize
		s.all = append(s.all, structure{kind: HostRefcountTable, owner: OwnerImage, offset: table.offset, length: length, entry: fieldOffset("refcount_table_offset")})
	}
}

// addL1Table adds the L1 table of a disk of diskSize bytes.
func (s *structures) addL1Table(t entryTable, owner Owner, entry, diskSize uint64) {
	s.add(structure{kind: HostL1Table, owner: owner, offset: t.offset, length: t.entries * entrySize, entry: entry})
	s.tables = append(s.tables, ownedTable{t, owner, diskSize, s.img.geometry.VMStateOffsetOf(diskSize)})
}

// addSnapshots adds the snapshot table as far as it can be read, and the L1
// table of each snapshot. An entry that claims to end a cluster or more past the
// end of the file has its fixed part alone.
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
		if end = snapshot.Offset + snapshot.length(); end >= s.img.src.size+s.img.geometry.ClusterSize {
			end = snapshot.Offset + snapshotRecordLength
		}
		end = min(end, s.img.src.size) // Damage says what is not there
		if l1, err := s.img.l1Table(&snapshot); err == nil {
			s.addL1Table(l1, Owner(snapshot.Index), snapshot.Offset, snapshot.DiskSize)
		}
		if !s.ok {
			return
		}
	}
	start := s.img.header.SnapshotsOffset
	s.add(structure{kind: HostSnapshotTable, owner: OwnerImage, offset: start, length: end - start, entry: fieldOffset("snapshots_offset")})
}

// addBitmaps adds the bitmap directory and the bitmap tables, if they are valid.
func (s *structures) addBitmaps() {
	d, ok, err := s.img.BitmapDirectory()
	if !ok || !s.img.BitmapsConsistent() {
		return
	}
	if err != nil {
		s.fail(err)
		return
	}
	s.add(structure{
		kind: HostBitmapDirectory, owner: OwnerImage, offset: d.Offset, length: d.Size,
		entry: d.Extension + extensionHeaderLength + bitmapsDirectoryOffsetField,
	})
	i := -1
	for b, err := range s.img.Bitmaps() {
		if err != nil {
			s.fail(err)
			break
		}
		i++
		for _, e := range b.Damage {
			s.fail(e)
		}
		if t, err := s.img.bitmapTable(&b); err == nil {
			s.add(structure{kind: HostBitmapTable, owner: OwnerImage, offset: t.offset, length: t.entries * entrySize, entry: b.Offset, bitmap: i})
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
		s.add(structure{kind: HostEncryptionHeader, owner: OwnerImage, offset: e.Offset, length: e.Length, entry: e.Extension + extensionHeaderLength})
	}
}
