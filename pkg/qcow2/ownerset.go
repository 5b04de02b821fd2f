package qcow2

import (
	"encoding/binary"
	"slices"
)

// ownerSets are sets of small numbers, each set once, by a number of its own.
// Sets are mostly ranges: a cluster belongs to snapshots that were taken one
// after the other.
type ownerSets struct {
	sets    [][]ownerRange // by number; set 0 is empty
	numbers map[string]uint32
	unions  map[[2]uint32]uint32
	room    int // ranges that there may still be
}

// An ownerRange is the numbers from first up to end.
type ownerRange struct{ first, end uint32 }

// ownerRanges is how many ranges all sets can have together.
const ownerRanges = 1 << 20

func newOwnerSets() *ownerSets {
	return &ownerSets{sets: make([][]ownerRange, 1), numbers: map[string]uint32{"": 0}, unions: map[[2]uint32]uint32{}, room: ownerRanges}
}

// full reports whether there were more sets than there is room for. Then they
// mean nothing.
func (s *ownerSets) full() bool { return s.room < 0 }

// spend takes room for n numbers that a set is made of, and reports whether there
// was as much.
func (s *ownerSets) spend(n uint64) bool {
	s.room -= int(min(n, ownerRanges+1))
	return !s.full()
}

// of returns the set of the given ranges, which must be sorted and apart from
// each other.
func (s *ownerSets) of(ranges []ownerRange) uint32 {
	var key []byte
	for _, r := range ranges {
		key = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(key, r.first), r.end)
	}
	if n, ok := s.numbers[string(key)]; ok {
		return n
	}
	if s.room -= len(ranges); s.full() {
		return 0
	}
	n := uint32(len(s.sets))
	s.sets = append(s.sets, slices.Clone(ranges))
	s.numbers[string(key)] = n
	return n
}

// union returns the set of what is in either of two.
func (s *ownerSets) union(a, b uint32) uint32 {
	if a == b || b == 0 || s.full() {
		return a
	}
	if a == 0 {
		return b
	}
	pair := [2]uint32{min(a, b), max(a, b)}
	n, ok := s.unions[pair]
	if !ok {
		if s.room--; !s.full() {
			n = s.of(mergeRanges(slices.Concat(s.sets[a], s.sets[b])))
			s.unions[pair] = n
		}
	}
	return n
}

// mergeRanges sorts ranges and joins those that touch.
func mergeRanges(all []ownerRange) []ownerRange {
	slices.SortFunc(all, func(a, b ownerRange) int { return int(a.first) - int(b.first) })
	merged := all[:0]
	for _, r := range all {
		if n := len(merged); n > 0 && merged[n-1].end >= r.first {
			merged[n-1].end = max(merged[n-1].end, r.end)
		} else {
			merged = append(merged, r)
		}
	}
	return merged
}
