package rangeset

import "testing"

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
	s := New()
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
	s = New()
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
