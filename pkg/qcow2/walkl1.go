package qcow2

import (
	"cmp"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// An ownedTable is the L1 table of the active image or of a snapshot.
type ownedTable struct {
	entryTable
	owner         Owner
	diskSize      uint64 // bytes
	vmStateOffset uint64 // guest offset at which VM state begins, in bytes
}

// l1Tables are the L1 tables of an image, cut so that each entry is in one segment
// even if tables share it.
type l1Tables struct {
	*interval.Cover
	tables []ownedTable // of the active image, then of the snapshots in the order of their table
}

// newL1Tables cuts the tables of a file of fileSize bytes.
func newL1Tables(tables []ownedTable, fileSize uint64) *l1Tables {
	all := make([]interval.Span, len(tables))
	for i := range tables {
		all[i] = tables[i].span(fileSize)
	}
	return &l1Tables{interval.NewCover(all), tables}
}

// tableOf returns the index of the table of an owner that has one.
func (s *l1Tables) tableOf(owner Owner) uint32 {
	i, _ := slices.BinarySearchFunc(s.tables, owner, func(t ownedTable, owner Owner) int { return cmp.Compare(t.owner, owner) })
	return uint32(i)
}

// first returns the first of the tables that hold the L1 entry at a file offset.
func (s *l1Tables) first(offset uint64) *ownedTable { return &s.tables[s.At(offset).First] }

// each calls yield with the tables that hold the L1 entry at a file offset, in
// their order. It returns false if yield did.
func (s *l1Tables) each(offset uint64, yield func(*ownedTable) bool) bool {
	return s.Each(offset, func(i int) bool { return yield(&s.tables[i]) })
}

// segmentEntries returns how many L1 entries a segment holds.
func segmentEntries(g *interval.Segment) uint64 { return (g.To - g.From) / entrySize }
