package rangeset

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// numbers returns the numbers of a set.
func numbers(ranges []Range) []uint32 {
	var all []uint32
	for _, r := range ranges {
		for n := r.First; n < r.End; n++ {
			all = append(all, n)
		}
	}
	return all
}

// TestUnion compares unions of random sets with those of lists of numbers.
func TestUnion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := New()
	random := func() uint32 {
		var ranges []Range
		for range r.IntN(6) {
			first := r.Uint32N(40)
			ranges = append(ranges, Range{first, first + 1 + r.Uint32N(5)})
		}
		return s.Of(ranges)
	}
	for range 2000 {
		a, b := random(), random()
		union := s.Union(a, b)
		want := slices.Concat(numbers(s.Ranges(a)), numbers(s.Ranges(b)))
		slices.Sort(want)
		want = slices.Compact(want)
		if got := numbers(s.Ranges(union)); !slices.Equal(got, want) {
			t.Fatalf("%v and %v make %v, want %v", s.Ranges(a), s.Ranges(b), got, want)
		}
		if again := s.Of(slices.Clone(s.Ranges(union))); again != union || s.Union(b, a) != union {
			t.Fatalf("%v is set %d, and then set %d", s.Ranges(union), union, again)
		}
	}
	if s.Full() {
		t.Error("there is no room for some small sets")
	}
}

// TestUnionCost joins chains of sets: r numbers that do not touch, and then each
// of n more numbers in turn. What is joined twice as often may be read four times
// as often, as the chains are twice as long, and in all no more than mergeLimit.
func TestUnionCost(t *testing.T) {
	chain := func(r, n uint32) (read int, full bool) {
		s := New()
		for first := range n { // chains that differ in their order end in the same sets
			set := uint32(0)
			for i := range r {
				set = s.Union(set, s.Of([]Range{{2 * i, 2*i + 1}}))
			}
			for i := range first + 1 {
				set = s.Union(set, s.Of([]Range{{2 * (r + first - i), 2*(r+first-i) + 1}}))
			}
		}
		return mergeLimit - s.merges, s.Full()
	}
	small, full := chain(100, 60)
	if want := 100*100/2 + 60*60/2*(100+60); full || small > want {
		t.Errorf("the unions of a short chain read %d ranges, want %d at most; full: %v", small, want, full)
	}
	large, full := chain(800, 500)
	if most := mergeLimit + 2*1300; !full || large > most {
		t.Errorf("the unions of a long chain read %d ranges, want %d at most; full: %v", large, most, full)
	}
}
