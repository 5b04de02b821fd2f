// Package rangeset gives each distinct set of small numbers a number. It is for
// sets that are mostly ranges, such as the snapshots that share a cluster: they
// were mostly taken one after the other.
package rangeset

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// A Range is the numbers from First up to End.
type Range struct{ First, End uint32 }

const (
	// Limit is how many ranges all sets can have together.
	Limit = 1 << 20
	// mergeLimit is how many ranges all unions can read together. It bounds time,
	// not memory: a union of two long sets need not be a new set.
	mergeLimit = 256 * Limit
)

// Sets holds sets by their numbers. Set 0 is the empty one.
//
// A range, and a range with the number 0 beside it, is its own name: it takes
// neither memory nor time to look up. So what grows by one number after another, as
// the owners of a cluster do, leaves nothing behind. Other sets are kept.
type Sets struct {
	spans   spans
	sets    [][]Range
	numbers map[string]uint32
	unions  map[[2]uint32]uint32
	room    int // ranges left below Limit
	merges  int // ranges that unions may still read
	scratch []Range
	key     []byte
}

// New returns Sets that hold the empty set. Most numbers should be less than n.
func New(n uint32) *Sets {
	return &Sets{spans: newSpans(n), sets: make([][]Range, 1), numbers: map[string]uint32{"": 0}, unions: map[[2]uint32]uint32{}, room: Limit, merges: mergeLimit}
}

// Full reports whether Limit or mergeLimit was exceeded. The numbers of sets are
// then meaningless.
func (s *Sets) Full() bool { return s.room < 0 || s.merges < 0 }

// Ranges returns the ranges of a set, sorted, with gaps between them.
func (s *Sets) Ranges(set uint32) []Range {
	if set < firstSpan {
		return s.sets[set]
	}
	return s.spans.span(set).ranges()
}

// Bound returns a number that is above those of all sets, now and later.
func (s *Sets) Bound() uint64 { return s.spans.bound() }

// Spend counts n numbers, of which a set is about to be made, against Limit, and
// reports whether there was room.
func (s *Sets) Spend(n uint64) bool {
	s.room -= int(min(n, Limit+1))
	return !s.Full()
}

// Of returns the set of the given ranges. It reorders the slice.
func (s *Sets) Of(ranges []Range) uint32 { return s.number(Merge(ranges)) }

// number returns the set of merged ranges, which it does not keep.
func (s *Sets) number(ranges []Range) uint32 {
	if n, ok := s.spans.number(ranges); ok {
		return n
	}
	s.key = s.key[:0]
	for _, r := range ranges {
		s.key = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(s.key, r.First), r.End)
	}
	if n, ok := s.numbers[string(s.key)]; ok {
		return n
	}
	if s.room -= len(ranges); s.Full() {
		return 0
	}
	n := uint32(len(s.sets))
	s.sets = append(s.sets, slices.Clone(ranges))
	s.numbers[string(s.key)] = n
	return n
}

// Union returns the set of the numbers that are in either of two sets.
func (s *Sets) Union(a, b uint32) uint32 {
	if a == b || b == 0 || s.Full() {
		return a
	}
	if a == 0 {
		return b
	}
	if n, ok := s.spans.union(a, b); ok {
		return n
	}
	pair := [2]uint32{min(a, b), max(a, b)}
	n, ok := s.unions[pair]
	if !ok {
		s.room--
		ra, rb := s.Ranges(a), s.Ranges(b)
		if s.merges -= len(ra) + len(rb); !s.Full() {
			s.scratch = merge(s.scratch[:0], ra, rb)
			n = s.number(s.scratch)
			s.unions[pair] = n
		}
	}
	return n
}

// merge appends the ranges of two merged lists to dst, merged.
func merge(dst, a, b []Range) []Range {
	for len(a) > 0 || len(b) > 0 {
		if len(a) == 0 || len(b) > 0 && b[0].First < a[0].First {
			a, b = b, a
		}
		dst = join(dst, a[0])
		a = a[1:]
	}
	return dst
}

// join appends a range that does not begin before the last of dst, or lets that
// one grow.
func join(dst []Range, r Range) []Range {
	if n := len(dst); n > 0 && dst[n-1].End >= r.First {
		dst[n-1].End = max(dst[n-1].End, r.End)
		return dst
	}
	return append(dst, r)
}

// Merge sorts ranges in place and joins those that touch.
func Merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	merged := ranges[:0]
	for _, r := range ranges {
		merged = join(merged, r)
	}
	return merged
}
