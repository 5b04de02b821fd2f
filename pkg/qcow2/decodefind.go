package qcow2

import (
	"errors"
	"fmt"
	"slices"
)

// A TableSelector says which table [Image.FindTable] looks for.
type TableSelector struct {
	Kind HostKind // one of [TableKinds]
	// Index is which refcount block, L2 table or cluster of bitmap data: the index of
	// the entry that points to it.
	Index uint64
	// Snapshot is the snapshot whose L1 or L2 table is wanted; nil: the active image.
	Snapshot *Snapshot
	// Bitmap is the bitmap whose table or data are wanted; not nil for these kinds.
	Bitmap *Bitmap
}

// FindTable finds a table by reading no more than what points to it. The error is
// [ErrNoTable] if there is no such table, or an [*Error] if what points there is
// damaged.
func (img *Image) FindTable(s TableSelector) (*Table, error) {
	if img.geometryErr != nil {
		return nil, img.geometryErr
	}
	switch s.Kind {
	case HostRefcountBlock, HostL2Table, HostBitmapData:
		return img.findBelow(s)
	}
	return img.findWhole(s)
}

// findWhole finds a table in one piece.
func (img *Image) findWhole(s TableSelector) (*Table, error) {
	t := &Table{Kind: s.Kind, HasReference: true, Reference: Reference{Owner: OwnerImage}}
	var whole entryTable
	var err *Error
	switch s.Kind {
	case HostHeader:
		t.Length = min(img.geometry.ClusterSize, img.src.size)
		return t, nil
	case HostSnapshotTable:
		return img.findSnapshotTable(t)
	case HostBitmapDirectory:
		return img.findBitmapDirectory(t)
	case HostRefcountTable:
		t.Reference.Entry = fieldOffset("refcount_table_offset")
		whole = entryTable{img.header.RefcountTableOffset, img.geometry.RefcountTableEntries}
		err = firstOf(img.refcountTableErrors())
	case HostL1Table:
		t.Snapshot, t.Reference = s.Snapshot, img.l1Reference(s.Snapshot)
		whole, err = img.l1Table(s.Snapshot)
	case HostBitmapTable:
		t.Bitmap, t.Reference.Entry, t.Reference.Bitmap = s.Bitmap, s.Bitmap.Offset, img.bitmapPosition(s.Bitmap)
		whole, err = img.bitmapTable(s.Bitmap)
	default:
		return nil, fmt.Errorf("%w: %s cannot be decoded", ErrNoTable, s.Kind)
	}
	if err != nil {
		return nil, err
	}
	t.Offset, t.Length = whole.offset, whole.entries*entrySize
	return t, nil
}

// l1Reference returns what points to the L1 table of a snapshot, or to the active
// one for nil.
func (img *Image) l1Reference(s *Snapshot) Reference {
	if s == nil {
		return Reference{Owner: OwnerActive, Entry: fieldOffset("l1_table_offset")}
	}
	return Reference{Owner: Owner(s.Index), Entry: s.Offset}
}

// findSnapshotTable sets where the snapshot table lies, which has no known length.
func (img *Image) findSnapshotTable(t *Table) (*Table, error) {
	if img.header.NbSnapshots == 0 {
		return nil, fmt.Errorf("%w: the image has no snapshots", ErrNoTable)
	}
	if err := img.snapshotTableError(); err != nil {
		return nil, err
	}
	t.Offset, t.Reference.Entry = img.header.SnapshotsOffset, fieldOffset("snapshots_offset")
	t.Length = img.src.size - min(t.Offset, img.src.size)
	return t, nil
}

// findBitmapDirectory sets where the bitmap directory lies.
func (img *Image) findBitmapDirectory(t *Table) (*Table, error) {
	d, ok, err := img.BitmapDirectory()
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: the image has no bitmaps", ErrNoTable)
	}
	t.Offset, t.Length = d.Offset, d.Size
	t.Reference.Entry = d.Extension + extensionHeaderLength + bitmapsDirectoryOffsetField
	return t, nil
}

// findBelow finds a table of one cluster, to which an entry of the table above it
// points.
func (img *Image) findBelow(s TableSelector) (*Table, error) {
	above := s
	above.Kind = map[HostKind]HostKind{HostRefcountBlock: HostRefcountTable, HostL2Table: HostL1Table, HostBitmapData: HostBitmapTable}[s.Kind]
	up, err := img.findWhole(above)
	if err != nil {
		return nil, err
	}
	if n := up.Length / entrySize; s.Index >= n {
		return nil, fmt.Errorf("%w: the %s has %d entries", ErrNoTable, up.Kind.section(), n)
	}
	at := up.Offset + s.Index*entrySize
	p, err := img.src.read(up.Kind.section(), at, entrySize, "an entry")
	if err != nil {
		return nil, err
	}
	word := be64(p)
	offset, err := img.below(s.Kind, up, s.Index, word)
	if err != nil {
		return nil, err
	}
	if offset == 0 {
		return nil, fmt.Errorf("%w: entry %d of the %s, at %#x, is %#x and points to none", ErrNoTable, s.Index, up.Kind.section(), at, word)
	}
	r := Reference{Owner: up.Reference.Owner, Entry: at, Index: s.Index, L1Index: s.Index, Bitmap: up.Reference.Bitmap}
	return &Table{
		Kind: s.Kind, Offset: offset, Length: img.geometry.ClusterSize, Index: s.Index,
		Reference: r, HasReference: true, Snapshot: up.Snapshot, Bitmap: up.Bitmap,
	}, nil
}

// below returns where the i-th entry of a table points to, 0 if nowhere. The error is
// what keeps it from being followed.
func (img *Image) below(kind HostKind, up *Table, i, word uint64) (offset uint64, err error) {
	table := entryTable{up.Offset, up.Length / entrySize}
	switch kind {
	case HostL2Table:
		offset = L1Entry(word).L2Offset()
		err = (&tableWalk{img: img, l1: table}).entryError(i, L1Entry(word))
	case HostRefcountBlock:
		offset = refcountEntry(word).block()
		if err = (&refcounts{img: img, table: table}).entryError(i, refcountEntry(word)); errors.Is(err, ErrReadable) {
			err = nil
		}
	default:
		offset = bitmapEntry(word).offset()
		err = img.bitmapEntryError(table.entryOffset(i), bitmapEntry(word))
	}
	return offset, err
}

// bitmapPosition returns the position of a bitmap in the directory.
func (img *Image) bitmapPosition(b *Bitmap) int {
	i := 0
	for other, err := range img.Bitmaps() {
		if err != nil || other.Offset == b.Offset {
			break
		}
		i++
	}
	return i
}

// TableOf returns the table in the cluster of a range that [Image.Host] yields with
// Owners: of a structure the part that lies in that cluster. The error is
// [ErrNoTable] if the cluster holds no metadata or the encryption header, or an
// [*Error].
func (img *Image) TableOf(r *HostRange) (*Table, error) {
	if !r.HasReference || !slices.Contains(TableKinds(), r.Kind) {
		return nil, fmt.Errorf("%w: the cluster at %#x is %s", ErrNoTable, r.Offset, r.Kind)
	}
	t := &Table{Kind: r.Kind, Offset: r.Offset, Length: img.geometry.ClusterSize, Reference: r.Reference, HasReference: true}
	if err := img.nameTable(t); err != nil {
		return nil, err
	}
	if !r.Kind.structure() {
		t.Index = r.Reference.Index
		return t, nil
	}
	whole, err := img.findWhole(TableSelector{Kind: r.Kind, Snapshot: t.Snapshot, Bitmap: t.Bitmap})
	if err != nil {
		return nil, err
	}
	if r.Offset >= whole.Offset {
		if img.Entries(whole) > 0 {
			t.First = (r.Offset - whole.Offset) / entrySize
		}
		t.Length = min(t.Length, whole.Length-min(r.Offset-whole.Offset, whole.Length))
	}
	return t, nil
}

// nameTable sets the snapshot or the bitmap that a table belongs to.
func (img *Image) nameTable(t *Table) error {
	if index, ok := t.Reference.Owner.Snapshot(); ok {
		for s, err := range img.Snapshots() {
			if err != nil {
				return err
			}
			if s.Index == index {
				t.Snapshot = &s
				break
			}
		}
	}
	if t.Kind != HostBitmapTable && t.Kind != HostBitmapData {
		return nil
	}
	i := 0
	for b, err := range img.Bitmaps() {
		if err != nil {
			return err
		}
		if i == t.Reference.Bitmap {
			t.Bitmap = &b
			break
		}
		i++
	}
	return nil
}

// TableAs returns the cluster of a file offset, in bytes, as a table of a kind,
// whatever it holds: a leaked cluster, say. Nothing is known of where it would
// belong. The error is [ErrNoTable] past the end of the file.
func (img *Image) TableAs(kind HostKind, offset uint64) (*Table, error) {
	switch {
	case img.geometryErr != nil:
		return nil, img.geometryErr
	case !slices.Contains(TableKinds(), kind):
		return nil, fmt.Errorf("%w: %s cannot be decoded", ErrNoTable, kind)
	case offset >= img.src.size:
		return nil, fmt.Errorf("%w: the file ends at %#x, before that address", ErrNoTable, img.src.size)
	}
	offset &^= img.geometry.ClusterSize - 1
	return &Table{Kind: kind, Offset: offset, Length: min(img.geometry.ClusterSize, img.src.size-offset)}, nil
}
