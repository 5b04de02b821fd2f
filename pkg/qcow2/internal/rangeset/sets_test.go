package rangeset_test

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/rangeset"
)

type list = []rangeset.Range

// mergeTests are ranges, and what they are once merged.
var mergeTests = []struct {
	name     string
	in, want list
}{
	{"none", nil, nil},
	{"one", list{{3, 5}}, list{{3, 5}}},
	{"sorted, with gaps", list{{0, 1}, {2, 3}, {9, 20}}, list{{0, 1}, {2, 3}, {9, 20}}},
	{"not sorted", list{{9, 20}, {0, 1}, {2, 3}}, list{{0, 1}, {2, 3}, {9, 20}}},
	{"equal", list{{3, 5}, {3, 5}, {3, 5}}, list{{3, 5}}},
	{"touching", list{{3, 5}, {5, 6}, {6, 9}}, list{{3, 9}}},
	{"touching, not sorted", list{{6, 9}, {3, 5}, {5, 6}}, list{{3, 9}}},
	{"overlapping", list{{3, 6}, {5, 9}}, list{{3, 9}}},
	{"nested", list{{0, 9}, {3, 5}, {9, 10}}, list{{0, 10}}},
	{"nested, with one beginning", list{{0, 3}, {0, 9}, {0, 5}}, list{{0, 9}}},
	{"single numbers", list{{2, 3}, {0, 1}, {1, 2}, {4, 5}}, list{{0, 3}, {4, 5}}},
	{"all numbers", list{{1 << 31, math.MaxUint32}, {0, 1 << 31}}, list{{0, math.MaxUint32}}},
	{"the last numbers", list{{math.MaxUint32 - 1, math.MaxUint32}, {0, 1}}, list{{0, 1}, {math.MaxUint32 - 1, math.MaxUint32}}},
}

func TestMerge(t *testing.T) {
	for _, tt := range mergeTests {
		in := slices.Clone(tt.in)
		got := rangeset.Merge(in)
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
		if len(got) > 0 && &got[0] != &in[0] {
			t.Errorf("%s: not in place", tt.name)
		}
	}
}

// TestOf: a set has its merged ranges, one number however it is written, and
// does not change with the slice that it was made of.
func TestOf(t *testing.T) {
	s := rangeset.New(0)
	if s.Len() != 1 || len(s.Ranges(0)) != 0 || s.Full() {
		t.Errorf("new: %d sets, the first %v, full %v", s.Len(), s.Ranges(0), s.Full())
	}
	numbers := map[string]uint32{}
	for _, tt := range mergeTests {
		in := slices.Clone(tt.in)
		n := s.Of(in)
		clear(in)
		if !slices.Equal(s.Ranges(n), tt.want) {
			t.Errorf("%s: set %d has %v, want %v", tt.name, n, s.Ranges(n), tt.want)
		}
		if again := s.Of(slices.Clone(tt.want)); again != n {
			t.Errorf("%s: set %d, and once more %d", tt.name, n, again)
		}
		numbers[tt.name] = n
	}
	want := map[string]uint32{ // in the order in which they were first made
		"none": 0, "one": 1, "sorted, with gaps": 2, "not sorted": 2, "equal": 1, "touching": 3, "touching, not sorted": 3,
		"overlapping": 3, "nested": 4, "nested, with one beginning": 5, "single numbers": 6, "all numbers": 7, "the last numbers": 8,
	}
	if diff := cmp.Diff(want, numbers); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	if s.Len() != 9 {
		t.Errorf("%d sets, want 9", s.Len())
	}
}

func TestUnion(t *testing.T) {
	s := rangeset.New(0)
	low, high, both := s.Of(list{{0, 2}}), s.Of(list{{2, 5}}), s.Of(list{{0, 5}})
	gap := s.Of(list{{7, 9}})
	tests := []struct {
		a, b uint32
		want list
	}{
		{0, 0, nil},
		{0, low, list{{0, 2}}},
		{low, 0, list{{0, 2}}},
		{low, low, list{{0, 2}}},
		{low, high, list{{0, 5}}},
		{high, low, list{{0, 5}}},
		{both, low, list{{0, 5}}},
		{gap, low, list{{0, 2}, {7, 9}}},
		{low, gap, list{{0, 2}, {7, 9}}},
	}
	for _, tt := range tests {
		if got := s.Union(tt.a, tt.b); !slices.Equal(s.Ranges(got), tt.want) {
			t.Errorf("Union(%d, %d) = %v, want %v", tt.a, tt.b, s.Ranges(got), tt.want)
		}
	}
	if s.Len() != 6 {
		t.Errorf("%d sets, want 6", s.Len())
	}
	if n := testing.AllocsPerRun(100, func() { s.Union(low, gap); s.Union(gap, low); s.Union(0, low) }); n != 0 {
		t.Errorf("known unions: %v allocations", n)
	}
}

// TestLimit has what fits in how much room, and what the answer is if it does.
func TestLimit(t *testing.T) {
	const known, other, union = 1, 2, 3 // sets of 1, 1 and 2 ranges
	tests := []struct {
		name string
		f    func(s *rangeset.Sets) uint32
		room uint64 // that it needs
		want uint32
	}{
		{"a known set", func(s *rangeset.Sets) uint32 { return s.Of(list{{5, 6}}) }, 0, known},
		{"the empty set", func(s *rangeset.Sets) uint32 { return s.Of(nil) }, 0, 0},
		{"a new set of one range", func(s *rangeset.Sets) uint32 { return s.Of(list{{6, 7}}) }, 1, 4},
		{"a new set of three", func(s *rangeset.Sets) uint32 { return s.Of(list{{0, 1}, {3, 4}, {9, 10}}) }, 3, 4},
		{"a new set of one merged range", func(s *rangeset.Sets) uint32 { return s.Of(list{{0, 1}, {1, 4}}) }, 1, 4},
		{"a known union", func(s *rangeset.Sets) uint32 { return s.Union(other, known) }, 0, union},
		{"a union with itself", func(s *rangeset.Sets) uint32 { return s.Union(known, known) }, 0, known},
		{"a union with the empty set", func(s *rangeset.Sets) uint32 { return s.Union(0, known) }, 0, known},
		{"a new union that is a known set", func(s *rangeset.Sets) uint32 { return s.Union(union, known) }, 1, union},
	}
	for _, tt := range tests {
		for room := range tt.room + 2 {
			s := rangeset.New(0)
			s.Of(list{{5, 6}})
			s.Of(list{{8, 9}})
			s.Union(known, other)
			if !s.Spend(rangeset.Limit - 5 - room) { // the ranges, and the union
				t.Fatalf("no room for %d", room)
			}
			got := tt.f(s)
			if fits := room >= tt.room; fits == s.Full() || fits && got != tt.want || !fits && int(got) >= s.Len() {
				t.Errorf("%s, room for %d: set %d of %d, full %v, want %d and full %v", tt.name, room, got, s.Len(), s.Full(), tt.want, !fits)
			}
		}
	}
}

// TestSpend: there is room for Limit, in one part or in many. What is full stays
// so, whatever is asked of it.
func TestSpend(t *testing.T) {
	tests := []struct {
		spend []uint64
		want  bool // of the last
	}{
		{[]uint64{0}, true},
		{[]uint64{rangeset.Limit}, true},
		{[]uint64{rangeset.Limit, 0}, true},
		{[]uint64{rangeset.Limit + 1}, false},
		{[]uint64{rangeset.Limit, 1}, false},
		{[]uint64{1, rangeset.Limit - 1}, true},
		{[]uint64{1, rangeset.Limit}, false},
		{[]uint64{math.MaxUint64}, false},
		{[]uint64{1 << 63}, false},
		{[]uint64{1 << 32}, false},
		{[]uint64{math.MaxUint64, math.MaxUint64, 0}, false},
	}
	for _, tt := range tests {
		s, got := rangeset.New(0), false
		known := s.Of(nil)
		for _, n := range tt.spend {
			got = s.Spend(n)
		}
		if got != tt.want || s.Full() == got {
			t.Errorf("Spend %d: %v, full %v, want %v", tt.spend, got, s.Full(), tt.want)
		}
		if tt.want {
			continue
		}
		for range 3 { // must not panic, nor make room
			s.Union(known, s.Of(list{{1, 2}}))
		}
		if !s.Full() || s.Len() != 1 {
			t.Errorf("Spend %d: %d sets later, full %v", tt.spend, s.Len(), s.Full())
		}
	}
}
