// Package interval cuts ranges of bytes that may overlap into segments that do
// not, and finds the ranges that hold an offset. It knows nothing of images.
package interval

import (
	"cmp"
	"slices"
)

// A Span is the bytes from From up to To.
type Span struct{ From, To uint64 }

// A Segment is bytes that belong to the same spans.
type Segment struct {
	From, To uint64
	First    int    // the lowest number of these spans
	Spans    uint64 // how many spans there are, at least one
}

// A Cover is spans cut into segments: each byte of a span lies in one segment.
type Cover struct {
	// ByOffset has the segments in the order of their offsets, BySpan in the order
	// of their First.
	ByOffset, BySpan []Segment

	spans   []Span
	members members // of the segment asked for last: the next entry is mostly in it
	last    int     // the index of that segment in ByOffset; -1: none
}

// NewCover cuts spans. It keeps the slice. A span that does not end after it
// begins holds nothing.
func NewCover(spans []Span) *Cover {
	c := &Cover{spans: spans, ByOffset: cut(spans), members: newMembers(spans), last: -1}
	c.BySpan = slices.Clone(c.ByOffset)
	slices.SortStableFunc(c.BySpan, func(a, b Segment) int { return cmp.Compare(a.First, b.First) })
	return c
}

// Span returns the i-th span.
func (c *Cover) Span(i int) Span { return c.spans[i] }

// At returns the segment that holds an offset, which must be in one.
func (c *Cover) At(offset uint64) *Segment { return &c.ByOffset[c.index(offset)] }

// Has reports whether any span holds an offset.
func (c *Cover) Has(offset uint64) bool {
	i := c.index(offset)
	return i < len(c.ByOffset) && c.ByOffset[i].From <= offset
}

// Alone reports whether no other span holds any of the bytes of the i-th. Asking it
// of all spans costs what there are segments.
func (c *Cover) Alone(i int) bool {
	s := c.spans[i]
	for k := c.index(s.From); k < len(c.ByOffset) && c.ByOffset[k].From < s.To; k++ {
		if c.ByOffset[k].Spans > 1 {
			return false
		}
	}
	return true
}

// index returns the index in ByOffset of the segment that holds an offset.
func (c *Cover) index(offset uint64) int {
	i, _ := slices.BinarySearchFunc(c.ByOffset, offset, func(g Segment, offset uint64) int {
		if g.To <= offset {
			return -1
		}
		return 1
	})
	return i
}

// Each calls yield with the numbers of the spans that hold an offset, which must
// be in one, in their order. It returns false if yield did. It must be called
// neither by yield nor by several goroutines at once.
func (c *Cover) Each(offset uint64, yield func(i int) bool) bool {
	switch i := c.index(offset); i {
	case c.last:
	case c.last + 1:
		c.last = i
		c.members.step(offset)
	default:
		c.last = i
		c.members.jump(offset)
	}
	g := &c.ByOffset[c.last]
	return c.members.each(g.First, g.Spans, yield)
}
