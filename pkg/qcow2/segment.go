package qcow2

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"
)

// A span is a range of the file that holds table entries of 8 bytes, or whole
// clusters.
type span struct{ from, to uint64 } // bytes

// newSpan returns where the entries of a table lie, as far as a file of
// fileSize bytes has them.
func newSpan(offset, entries, fileSize uint64) span {
	there := (fileSize - min(offset, fileSize)) / 8
	return span{offset, offset + min(entries, there)*8}
}

// A segment is a range of the file that belongs to the same spans: tables can
// be shared, or overlap.
type segment struct {
	from, to uint64 // bytes
	first    int    // the lowest of the spans
	spans    uint64 // how many there are
}

// entries returns how many entries it holds.
func (g *segment) entries() uint64 { return (g.to - g.from) / entrySize }

// spans are spans that may share bytes, cut into segments.
type spans struct {
	spans    []span
	segments []segment // those of the first span first, then as they lie in the file
	byOffset []segment // the same as they lie in the file
	tree     spanTree

	// members are the numbers of the spans that the segment asked for last is in:
	// entries that follow each other are mostly in the same, and few of many spans
	// may be.
	last    *segment
	members []int
}

func newSpans(all []span) *spans {
	s := &spans{spans: all, byOffset: segments(all), tree: newSpanTree(all)}
	s.segments = slices.Clone(s.byOffset)
	slices.SortStableFunc(s.segments, func(a, b segment) int { return cmp.Compare(a.first, b.first) })
	return s
}

// at returns the segment that holds the entry at a file offset, which is in one.
func (s *spans) at(offset uint64) *segment {
	i, _ := slices.BinarySearchFunc(s.byOffset, offset, func(g segment, offset uint64) int {
		if g.to <= offset {
			return -1
		}
		return 1
	})
	return &s.byOffset[i]
}

// each calls yield with the numbers of the spans that hold the entry at a file
// offset, in their order. It returns false if yield did.
func (s *spans) each(offset uint64, yield func(i int) bool) bool {
	if g := s.at(offset); g != s.last {
		s.last, s.members = g, s.tree.holding(offset, s.members[:0])
		slices.Sort(s.members)
	}
	for _, i := range s.members {
		if !yield(i) {
			return false
		}
	}
	return true
}

// segments cuts spans into segments, so that each byte is in one. They come as
// they lie in the file.
func segments(spans []span) []segment {
	type edge struct {
		at   uint64
		span int
	}
	var edges []edge // where spans begin and end
	for i, s := range spans {
		if s.from < s.to {
			edges = append(edges, edge{s.from, i}, edge{s.to, i})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var all []segment
	var open intHeap // spans that the current place may be in, the lowest on top
	n := uint64(0)   // those that it is in
	from := uint64(0)
	for _, e := range edges {
		for open.Len() > 0 && spans[open.IntSlice[0]].to <= from {
			heap.Pop(&open)
		}
		if n > 0 && e.at > from {
			all = append(all, segment{from, e.at, open.IntSlice[0], n})
		}
		from = e.at
		if e.at == spans[e.span].from {
			heap.Push(&open, e.span)
			n++
		} else {
			n--
		}
	}
	return all
}

// intHeap implements heap.Interface.
type intHeap struct{ sort.IntSlice }

// Push implements heap.Interface.
func (h *intHeap) Push(x any) {
	n, _ := x.(int) // nothing else is pushed
	h.IntSlice = append(h.IntSlice, n)
}

// Pop implements heap.Interface.
func (h *intHeap) Pop() any {
	last := h.Len() - 1
	x := h.IntSlice[last]
	h.IntSlice = h.IntSlice[:last]
	return x
}
