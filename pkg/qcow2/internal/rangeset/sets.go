// Package rangeset numbers sets of small numbers, each set once. It is for sets
// that are mostly ranges, such as the snapshots that share a cluster: those that
// were taken one after the other.
package rangeset

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// A Range is the numbers from First up to End.
type Range struct{ First, End uint32 }

// Limit is how many ranges all sets can have together.
const Limit = 1 << 20

// Sets holds sets by the numbers that it gives them. Set 0 is the empty one.
type Sets struct {
	sets    [][]Range
	numbers map[string]uint32
	unions  map[[2]uint32]uint32
	room    int // ranges that there may still be
}

// New returns Sets that hold the empty set.
func New() *Sets {
	return &Sets{sets: make([][]Range, 1), numbers: map[string]uint32{"": 0}, unions: map[[2]uint32]uint32{}, room: Limit}
}

// Full reports whether there were more sets than there is room for. The numbers
// of sets then mean nothing.
func (s *Sets) Full() bool { return s.room < 0 }

// Len returns how many sets there are.
func (s *Sets) Len() int { return len(s.sets) }

// Ranges returns the ranges of a set, sorted, with gaps between them.
func (s *Sets) Ranges(set uint32) []Range { return s.sets[set] }

// Spend takes room for n numbers that a set is about to be made of, and reports
// whether there was as much.
func (s *Sets) Spend(n uint64) bool {
	s.room -= int(min(n, Limit+1))
	return !s.Full()
}

// Of returns the set of the given ranges. It reorders the slice.
func (s *Sets) Of(ranges []Range) uint32 {
	ranges = Merge(ranges)
	var key []byte
	for _, r := range ranges {
		key = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(key, r.First), r.End)
	}
	if n, ok := s.numbers[string(key)]; ok {
		return n
	}
	if s.room -= len(ranges); s.Full() {
		return 0
	}
	n := uint32(len(s.sets))
	s.sets = append(s.sets, slices.Clone(ranges))
	s.numbers[string(key)] = n
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
	pair := [2]uint32{min(a, b), max(a, b)}
	n, ok := s.unions[pair]
	if !ok {
		if s.room--; !s.Full() {
			n = s.Of(slices.Concat(s.sets[a], s.sets[b]))
			s.unions[pair] = n
		}
	}
	return n
}

// Merge sorts ranges in place and joins those that touch.
func Merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return cmp.Compare(a.First, b.First) })
	merged := ranges[:0]
	for _, r := range ranges {
		if n := len(merged); n > 0 && merged[n-1].End >= r.First {
			merged[n-1].End = max(merged[n-1].End, r.End)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}
