package rangeset_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/rangeset"
)

// A model keeps sets as bits of large numbers.
type model struct {
	sets   []*big.Int
	unions map[[2]uint32]bool // pairs that were asked for
	room   int
}

func newModel() *model {
	return &model{sets: []*big.Int{new(big.Int)}, unions: map[[2]uint32]bool{}, room: rangeset.Limit}
}

// number returns the number of a set, which it may have to add. Then it costs
// one for each of its ranges.
func (m *model) number(set *big.Int) uint32 {
	if i := slices.IndexFunc(m.sets, func(s *big.Int) bool { return s.Cmp(set) == 0 }); i >= 0 {
		return uint32(i)
	}
	m.room -= len(ranges(set))
	m.sets = append(m.sets, set)
	return uint32(len(m.sets) - 1)
}

// union returns the number of the union of two sets. A new pair costs one.
func (m *model) union(a, b uint32) uint32 {
	if pair := [2]uint32{min(a, b), max(a, b)}; a != b && pair[0] != 0 && !m.unions[pair] {
		m.unions[pair] = true
		m.room--
	}
	return m.number(new(big.Int).Or(m.sets[a], m.sets[b]))
}

// ranges returns the ranges of a set of numbers.
func ranges(set *big.Int) []rangeset.Range {
	var all []rangeset.Range
	for i := range set.BitLen() {
		switch {
		case set.Bit(i) == 0:
		case i > 0 && set.Bit(i-1) == 1:
			all[len(all)-1].End++
		default:
			all = append(all, rangeset.Range{First: uint32(i), End: uint32(i) + 1})
		}
	}
	return all
}

// setOf returns the numbers in ranges that may overlap.
func setOf(all []rangeset.Range) *big.Int {
	set := new(big.Int)
	for _, r := range all {
		for i := r.First; i < r.End; i++ {
			set.SetBit(set, int(i), 1)
		}
	}
	return set
}

// runScript makes sets and unions as its bytes say, compares each with the
// model, and at the end the room that is left.
func runScript(t *testing.T, p []byte) {
	t.Helper()
	s, m := rangeset.New(0), newModel()
	for ; len(p) >= 3; p = p[3:] {
		var got, want uint32
		if p[0]%3 > 0 {
			a, b := uint32(int(p[1])%len(m.sets)), uint32(int(p[2])%len(m.sets))
			got, want = s.Union(a, b), m.union(a, b)
		} else {
			list := randomRanges(p[1], p[2])
			want = m.number(setOf(list))
			got = s.Of(list)
		}
		if got != want || uint64(got) >= s.Bound() || s.Full() || s.Len() != len(m.sets) || !slices.Equal(s.Ranges(got), ranges(m.sets[want])) {
			t.Fatalf("%d: set %d of %d, %v, full %v, want set %d of %d, %v", p[:3], got, s.Len(), s.Ranges(got), s.Full(), want, len(m.sets), ranges(m.sets[want]))
		}
	}
	for i, set := range m.sets {
		if got, want := s.Ranges(uint32(i)), ranges(set); !slices.Equal(got, want) {
			t.Errorf("set %d has become %v, want %v", i, got, want)
		}
	}
	if !s.Spend(uint64(m.room)) || s.Spend(1) {
		t.Errorf("room is not that for %d ranges", m.room)
	}
}

// randomRanges returns n ranges at most, which lie close together.
func randomRanges(seed, n byte) []rangeset.Range {
	r := rand.New(rand.NewPCG(uint64(seed), uint64(n)))
	all := make([]rangeset.Range, n%6)
	for i := range all {
		first := r.Uint32N(20)
		all[i] = rangeset.Range{First: first, End: first + 1 + r.Uint32N(6)}
	}
	return all
}

// TestModel makes random sets and unions.
func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			p := make([]byte, 3*r.UintN(200))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			runScript(t, p)
		})
	}
}

func FuzzSets(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 1, 3, 0, 2, 3, 1, 1, 2, 1, 2, 1, 1, 3, 0}) // two sets, their union twice
	f.Add([]byte{0, 0, 0, 1, 0, 0, 0, 9, 5, 0, 9, 5})
	f.Fuzz(func(t *testing.T, p []byte) { runScript(t, p[:min(len(p), 3000)]) })
}
