package interval

import (
	"cmp"
	"slices"
)

// A tree finds the spans that hold an offset without looking at all others: a large
// span can have many small ones inside. It is a balanced search tree in a sorted
// slice: the root of each part is its middle.
type tree struct {
	spans []Span
	order []int    // the numbers of the spans, by where those begin
	ends  []uint64 // by the middle of a part of order: the highest end in that part
}

func newTree(spans []Span) tree {
	t := tree{spans: spans, order: make([]int, len(spans)), ends: make([]uint64, len(spans))}
	for i := range t.order {
		t.order[i] = i
	}
	slices.SortFunc(t.order, func(a, b int) int { return cmp.Compare(spans[a].From, spans[b].From) })
	t.setEnds(0, len(spans))
	return t
}

// setEnds sets ends for the part of order from lo up to hi, and returns that of
// the whole part.
func (t *tree) setEnds(lo, hi int) uint64 {
	if lo == hi {
		return 0
	}
	mid := (lo + hi) / 2
	t.ends[mid] = max(t.spans[t.order[mid]].To, t.setEnds(lo, mid), t.setEnds(mid+1, hi))
	return t.ends[mid]
}

// holding calls yield with the numbers of the spans that hold an offset, sorted by
// where those begin.
func (t *tree) holding(offset uint64, yield func(i int)) { t.search(0, len(t.order), offset, yield) }

// search is holding for the part of order from lo up to hi.
func (t *tree) search(lo, hi int, offset uint64, yield func(i int)) {
	mid := (lo + hi) / 2
	if lo == hi || t.ends[mid] <= offset {
		return
	}
	t.search(lo, mid, offset, yield)
	s := t.spans[t.order[mid]]
	if s.From > offset {
		return // those to the right begin later still
	}
	if offset < s.To {
		yield(t.order[mid])
	}
	t.search(mid+1, hi, offset, yield)
}
