package rangeset

const (
	// firstSpan is the first of the numbers of sets that are spans: all other sets
	// have less, as each takes room for one range at least.
	firstSpan = Limit + 2
	// Bits is how many bits the number of a set has at most.
	Bits = 26
)

// A span is the numbers from First up to End, and 0, if zero.
type span struct {
	Range
	zero bool // and First is 2 or more
}

// ranges returns the ranges of a span.
func (s span) ranges() []Range {
	if s.zero {
		return []Range{{0, 1}, s.Range}
	}
	return []Range{s.Range}
}

// hasZero reports whether 0 is in a span.
func (s span) hasZero() bool { return s.zero || s.First == 0 }

// spans numbers spans: as the digits of a number to the base of one more than the
// largest end. It is 0, and there are none, where that would be too large a number.
type spans uint32

// newSpans returns the spans of numbers that are less than n.
func newSpans(n uint32) spans {
	if base := uint64(n) + 1; 2*base*base <= 1<<Bits-firstSpan {
		return spans(base)
	}
	return 0
}

// bound returns a number that is above those of all spans, and of all other sets.
func (b spans) bound() uint64 { return firstSpan + 2*uint64(b)*uint64(b) }

// span returns the span with a number.
func (b spans) span(set uint32) span {
	digits := set - firstSpan
	return span{Range{digits / 2 / uint32(b), digits / 2 % uint32(b)}, digits%2 == 1}
}

// numberOf returns the number of a span whose end is not too large.
func (b spans) numberOf(s span) uint32 {
	digits := 2 * (s.First*uint32(b) + s.End)
	if s.zero {
		digits++
	}
	return firstSpan + digits
}

// number returns the number of merged ranges, if they are a span.
func (b spans) number(ranges []Range) (set uint32, ok bool) {
	n := len(ranges)
	zero := n == 2 && ranges[0] == Range{0, 1}
	if n != 1 && !zero || ranges[n-1].End >= uint32(b) {
		return 0, false
	}
	return b.numberOf(span{ranges[n-1], zero}), true
}

// union returns the union of two sets, if they and it are spans.
func (b spans) union(set1, set2 uint32) (set uint32, ok bool) {
	if set1 < firstSpan || set2 < firstSpan {
		return 0, false
	}
	u, v := b.span(set1), b.span(set2)
	zero := u.hasZero() || v.hasZero()
	switch {
	case u.First <= v.End && v.First <= u.End: // they overlap, or touch
		u.Range = Range{min(u.First, v.First), max(u.End, v.End)}
	case u.Range == Range{0, 1}:
		u.Range = v.Range
	case v.Range != Range{0, 1}:
		return 0, false
	}
	if zero && u.First <= 1 {
		u.First = 0
	}
	u.zero = zero && u.First > 0
	return b.numberOf(u), true
}
