package qcow2

import (
	"cmp"
	"fmt"
	"slices"
)

// An Owner is to what a reference belongs: the image itself, the active image,
// or the snapshot at a position of the snapshot table, from 0.
type Owner int32

// The owners that are no snapshots.
const (
	OwnerImage  Owner = -2 // the image itself: header, refcounts, snapshot table, bitmaps, encryption
	OwnerActive Owner = -1 // the active image
)

// Snapshot returns the position of the snapshot in the snapshot table, from 0, and
// whether the owner is a snapshot.
func (o Owner) Snapshot() (index int, ok bool) { return max(int(o), 0), o >= 0 }

// String returns "image", "active", or "@N" for the snapshot at a position, as
// [Image.FindSnapshot] takes it.
func (o Owner) String() string {
	switch o {
	case OwnerImage:
		return "image"
	case OwnerActive:
		return "active"
	}
	return fmt.Sprintf("@%d", int32(o))
}

// An ownedTable is the L1 table of the active image or of a snapshot.
type ownedTable struct {
	l1Table
	owner    Owner
	diskSize uint64 // bytes
	vmState  uint64 // guest offset at which VM state begins, in bytes
}

// span returns where the entries lie, as far as the file has them.
func (t *ownedTable) span(fileSize uint64) span { return newSpan(t.offset, t.entries, fileSize) }

// l1Tables are the L1 tables of an image, each entry of the file once.
type l1Tables struct {
	*spans
	tables []ownedTable // that of the active image, those of snapshots in the order of their table
}

// newL1Tables cuts tables that lie anywhere in a file of fileSize bytes.
func newL1Tables(tables []ownedTable, fileSize uint64) *l1Tables {
	all := make([]span, len(tables))
	for i := range tables {
		all[i] = tables[i].span(fileSize)
	}
	return &l1Tables{newSpans(all), tables}
}

// indexOf returns the index of the table of an owner that has one.
func (s *l1Tables) indexOf(owner Owner) uint32 {
	i, _ := slices.BinarySearchFunc(s.tables, owner, func(t ownedTable, owner Owner) int { return cmp.Compare(t.owner, owner) })
	return uint32(i)
}

// ownersOf calls yield with the tables that hold the L1 entry at a file offset,
// in their order.
func (s *l1Tables) ownersOf(offset uint64, yield func(*ownedTable) bool) bool {
	return s.each(offset, func(i int) bool { return yield(&s.tables[i]) })
}

// indexOf returns the index of the L1 entry at a file offset.
func (t *ownedTable) indexOf(offset uint64) uint64 { return (offset - t.offset) / entrySize }
