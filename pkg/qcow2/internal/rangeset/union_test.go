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
	s := New(30) // some numbers are larger
	random := func() uint32 {
		var ranges []Range
		for range r.IntN(4) {
			first := r.Uint32N(40)
			ranges = append(ranges, Range{first, first + 1 + r.Uint32N(5)})
		}
		if r.IntN(3) == 0 {
			ranges = append(ranges, Range{0, 1})
		}
		return s.Of(ranges)
	}
	for range 20000 {
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

// chains returns sets that each have the numbers of the one before, which do not
// touch, and one more: base of them in the first.
func chains(s *Sets, base, n uint32) []uint32 {
	sets := make([]uint32, n)
	for i := range sets {
		var ranges []Range
		for k := range base + uint32(i) {
			ranges = append(ranges, Range{2 * k, 2*k + 1})
		}
		sets[i] = s.Of(ranges)
	}
	return sets
}

// TestUnionCost joins every two sets of a chain: the union is a set that there is,
// but that takes a look at all ranges of both. All of it together is bounded.
func TestUnionCost(t *testing.T) {
	const base, n = 80, 50
	s := New(0)
	sets := chains(s, base, n)
	for range 2 { // what is known costs nothing
		for i, a := range sets {
			for _, b := range sets[:i] {
				if got := s.Union(a, b); got != a {
					t.Fatalf("set %d and set %d make set %d", a, b, got)
				}
			}
		}
	}
	want := 0 // each set is joined with all others
	for i := range n {
		want += (n - 1) * (base + i)
	}
	if read := mergeLimit - s.merges; read != want || s.Full() {
		t.Errorf("the unions read %d ranges, want %d; full: %v", read, want, s.Full())
	}

	const few = 1000
	s = New(0)
	sets = chains(s, base, n)
	s.merges = few
	for i, a := range sets {
		for _, b := range sets[:i] {
			s.Union(a, b)
		}
	}
	if read := few - s.merges; !s.Full() || read > few+2*(base+n) {
		t.Errorf("the unions read %d ranges, want %d at most; full: %v", read, few, s.Full())
	}
}

// TestUnionOfNeighbours: sets that grow by one number after another, as those of
// owners do, take no room, with the number 0 and without.
func TestUnionOfNeighbours(t *testing.T) {
	const n = 2000
	s := New(n)
	for first := uint32(1); first < n; first++ {
		for _, set := range []uint32{0, s.Of([]Range{{0, 1}})} {
			want := numbers(s.Ranges(set))
			for i := first; i < min(n, first+50); i++ {
				set = s.Union(set, s.Of([]Range{{i, i + 1}}))
				want = append(want, i)
			}
			if got := numbers(s.Ranges(set)); !slices.Equal(got, want) {
				t.Fatalf("%v, want %v", got, want)
			}
			if uint64(set) >= s.Bound() || s.Bound() > 1<<Bits {
				t.Fatalf("set %d, the bound %d, and %d bits at most", set, s.Bound(), Bits)
			}
		}
	}
	if s.room != Limit || s.merges != mergeLimit {
		t.Errorf("%d ranges are kept, %d were read", Limit-s.room, mergeLimit-s.merges)
	}
}
