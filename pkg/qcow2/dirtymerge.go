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

// A dirtyEdge is where a range of a source begins or ends: of dirty bits, or of bits
// that are not known, with the error that says why. Between two edges every byte of
// the disk is dirty, or not known, in the same bitmaps.
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
		switch s.state {
		case sourceEnded:
			r, more, err := s.next()
			if !more {
				heap.Pop(&m.sources)
				continue
			}
			s.span, s.err, s.state = r, err, sourceBegins
			heap.Fix(&m.sources, 0)
			continue
		case sourceBegins:
			e.at, e.begins, s.state = s.span.From, true, sourceEnds
		default:
			e.at, s.state = s.span.To, sourceEnded
		}
		e.source, e.err = s, s.err
		heap.Fix(&m.sources, 0)
		return e, true
	}
	return e, false
}

// union calls yield with the ranges that are dirty in any source, and those of which
// that is not known because of another, in the order of their addresses; and with
// errors. lost is how many more sources there are of which nothing is known. It
// returns false if yield did.
func (m *dirtyMerge) union(lost int, end uint64, yield dirtyYield) bool {
	from, open := uint64(0), 0 // where the range in hand begins, and how many sources are dirty there
	change := func(at uint64, opened, lostMore int) bool {
		dirty, unknown := open > 0, open == 0 && lost > 0
		open, lost = open+opened, lost+lostMore
		if dirty == (open > 0) && unknown == (open == 0 && lost > 0) {
			return true
		}
		r := interval.Span{From: from, To: at}
		from = at
		return r.From == r.To || !dirty && !unknown || yield(r, dirty, nil)
	}
	for e, ok := m.next(); ok; e, ok = m.next() {
		step := -1
		if e.begins {
			step = 1
		}
		switch {
		case e.err == nil:
			ok = change(e.at, step, 0)
		case e.begins:
			ok = change(e.at, 0, step) && yield(e.source.span, false, e.err)
		default:
			ok = change(e.at, 0, step)
		}
		if !ok {
			return false
		}
	}
	return change(end, 0, -lost)
}

// A dirtyYield takes a range that is dirty, or of which that is not known; or an
// error, with the range that it is about.
type dirtyYield func(r interval.Span, dirty bool, err error) bool

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
	err    error // why the bits of span are not known
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
