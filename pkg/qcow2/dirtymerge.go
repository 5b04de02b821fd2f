package qcow2

import (
	"container/heap"
	"context"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// mergeBytes is what the windows of all cursors of a merge take together, in bytes,
// unless there are so many that each has the least.
const mergeBytes = 16 << 20

// A dirtyMerge goes through the dirty ranges of several bitmaps at once.
type dirtyMerge struct {
	all     []*dirtySource // in the order of the bitmaps
	sources dirtyHeap      // those that have more
}

// newDirtyMerge merges bitmaps whose records are in order.
func newDirtyMerge(ctx context.Context, tables *bitmapTables, bitmaps []*Bitmap) *dirtyMerge {
	m := &dirtyMerge{}
	most := uint64(windowBytes)
	if n := uint64(len(bitmaps)); n > 0 {
		most = min(most, max(pieceBytes, mergeBytes/(2*n)))
	}
	for i, b := range bitmaps {
		m.all = append(m.all, &dirtySource{number: i, dirtyCursor: newDirtyCursor(ctx, tables, b, most)})
	}
	m.sources = slices.Clone(m.all)
	return m
}

// A dirtyEdge is where a dirty range of a source begins or ends, or an error of the
// source. Between two edges every byte of the disk is dirty in the same bitmaps.
type dirtyEdge struct {
	source *dirtySource
	at     uint64 // guest bytes
	begins bool
	err    error
}

// next returns the next edge in the order of the addresses. Of those at one address
// the beginnings come first. ok is false after the last.
func (m *dirtyMerge) next() (e dirtyEdge, ok bool) {
	for len(m.sources) > 0 {
		s := m.sources[0]
		e = dirtyEdge{source: s}
		switch s.state {
		case sourceEnded:
			r, more, err := s.next()
			switch {
			case err != nil:
				e.err = err
				return e, true
			case !more:
				heap.Pop(&m.sources)
				continue
			}
			s.span, s.state = r, sourceBegins
			heap.Fix(&m.sources, 0)
			continue
		case sourceBegins:
			e.at, e.begins, s.state = s.span.From, true, sourceEnds
		default:
			e.at, s.state = s.span.To, sourceEnded
		}
		heap.Fix(&m.sources, 0)
		return e, true
	}
	return e, false
}

// union calls yield with the ranges that are dirty in any source, in the order of
// their addresses, and with errors. It returns false if yield did.
func (m *dirtyMerge) union(yield func(interval.Span, error) bool) bool {
	var r interval.Span
	open := 0 // sources that are dirty here
	for e, ok := m.next(); ok; e, ok = m.next() {
		switch {
		case e.err != nil:
			if !yield(interval.Span{}, e.err) {
				return false
			}
		case e.begins:
			if open == 0 {
				r.From = e.at
			}
			open++
		default:
			if open--; open > 0 {
				continue
			}
			if r.To = e.at; !yield(r, nil) {
				return false
			}
		}
	}
	return true
}

// What comes next of a source. Of two at one address the lower comes first: a range
// that follows another must not end it.
const (
	sourceEnded  = iota // its next range has to be found
	sourceBegins        // span begins
	sourceEnds          // span ends
)

// A dirtySource is a bitmap in a dirtyMerge.
type dirtySource struct {
	*dirtyCursor
	number int // of the bitmap, as they were given
	span   interval.Span
	state  int
}

// place returns where the next edge of a source is, or before which address it is
// not.
func (s *dirtySource) place() uint64 {
	if s.state == sourceBegins {
		return s.span.From
	}
	return s.span.To
}

// dirtyHeap implements heap.Interface: the source of the next edge is on top.
type dirtyHeap []*dirtySource

// Len implements heap.Interface.
func (h dirtyHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h dirtyHeap) Less(i, j int) bool {
	if a, b := h[i].place(), h[j].place(); a != b {
		return a < b
	}
	return h[i].state < h[j].state
}

// Swap implements heap.Interface.
func (h dirtyHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dirtyHeap) Push(x any) {
	s, _ := x.(*dirtySource) // nothing else is pushed
	*h = append(*h, s)
}

// Pop implements heap.Interface.
func (h *dirtyHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	*h = (*h)[:last]
	return s
}
