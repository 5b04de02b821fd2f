package interval

import (
	"cmp"
	"container/heap"
	"slices"
	"sort"
)

// An edge is where a span begins or ends.
type edge struct {
	at   uint64
	span int
}

// cut returns the segments of spans in the order of their offsets.
func cut(spans []Span) []Segment {
	var all []Segment
	var open intHeap // the spans that may hold the current offset, the lowest on top
	n := uint64(0)   // how many hold it
	from := uint64(0)
	for _, e := range edges(spans) {
		for open.Len() > 0 && spans[open.IntSlice[0]].To <= from {
			heap.Pop(&open)
		}
		if n > 0 && e.at > from {
			all = append(all, Segment{from, e.at, open.IntSlice[0], n})
		}
		from = e.at
		if e.at == spans[e.span].From {
			heap.Push(&open, e.span)
			n++
		} else {
			n--
		}
	}
	return all
}

// edges returns the edges of the spans that are not empty, in order.
func edges(spans []Span) []edge {
	var all []edge
	for i, s := range spans {
		if s.From < s.To {
			all = append(all, edge{s.From, i}, edge{s.To, i})
		}
	}
	slices.SortFunc(all, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
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
