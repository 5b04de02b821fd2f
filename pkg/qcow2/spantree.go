package qcow2

import (
	"cmp"
	"slices"
)

// A spanTree finds the spans that hold an offset without a look at all others:
// a large table can have many small ones inside.
type spanTree struct {
	spans []span
	order []int    // the numbers of the spans, by where those begin
	ends  []uint64 // by the middle of a part of order: the highest end in that part
}

func newSpanTree(all []span) spanTree {
	t := spanTree{spans: all, order: make([]int, len(all)), ends: make([]uint64, len(all))}
	for i := range t.order {
		t.order[i] = i
	}
	slices.SortFunc(t.order, func(a, b int) int { return cmp.Compare(all[a].from, all[b].from) })
	t.findEnds(0, len(all))
	return t
}

// findEnds sets ends for the part of order from lo up to hi, and returns that of
// the whole part.
func (t *spanTree) findEnds(lo, hi int) uint64 {
	if lo == hi {
		return 0
	}
	mid := (lo + hi) / 2
	t.ends[mid] = max(t.spans[t.order[mid]].to, t.findEnds(lo, mid), t.findEnds(mid+1, hi))
	return t.ends[mid]
}

// holding appends the numbers of the spans that hold an offset, those that begin
// first coming first.
func (t *spanTree) holding(offset uint64, to []int) []int {
	return t.search(0, len(t.order), offset, to)
}

// search is holding for the part of order from lo up to hi.
func (t *spanTree) search(lo, hi int, offset uint64, to []int) []int {
	mid := (lo + hi) / 2
	if lo == hi || t.ends[mid] <= offset {
		return to
	}
	to = t.search(lo, mid, offset, to)
	p := t.spans[t.order[mid]]
	if p.from > offset {
		return to // those after it begin later still
	}
	if offset < p.to {
		to = append(to, t.order[mid])
	}
	return t.search(mid+1, hi, offset, to)
}
