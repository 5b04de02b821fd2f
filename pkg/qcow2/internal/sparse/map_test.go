package sparse_test

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// What viewMap has: fills that touch, a gap, a long fill, pages of both forms.
const (
	pageInGap     = 7 * 256  // compact, one word
	pageOverStart = 19 * 256 // compact, a fill begins in it
	pageOfZero    = 1 << 20  // compact, its first word overrides the fill by 0
	pageOfAll     = 1 << 21  // spread
	fillStart     = 5000
	fillEnd       = 1 << 40
)

func viewMap() *sparse.Map[uint64] {
	b := sparse.NewScattered[uint64](1 << 55)
	b.Fill(100, 900, 7)
	b.Fill(1000, 0, 99)
	b.Fill(1000, 200, 8)
	b.Fill(fillStart, fillEnd-fillStart, 9)
	*b.At(pageOfZero) = 0
	*b.At(pageInGap + 200) = 1
	*b.At(fillStart + 100) = 2
	copy(b.Run(pageOfAll, 1000), []uint64{3, 4})
	return b.Seal()
}

// runs returns words: pairs of how many and which.
func runs(pairs ...uint64) []uint64 {
	var all []uint64
	for p := range slices.Chunk(pairs, 2) {
		all = append(all, slices.Repeat(p[1:], int(p[0]))...)
	}
	return all
}

// TestView has where views end, and which of them have one word for all.
func TestView(t *testing.T) {
	const far = 1 << 50
	tests := []struct {
		cluster, end uint64
		n, word      uint64
		words        []uint64
	}{
		{0, far, 100, 0, nil},
		{50, 60, 10, 0, nil},
		{100, far, 900, 7, nil},
		{999, far, 1, 7, nil},
		{1000, far, 200, 8, nil},
		{1199, 1200, 1, 8, nil},
		{1200, far, pageInGap - 1200, 0, nil},
		{pageInGap - 1, far, 1, 0, nil},
		{pageInGap, far, 256, 0, runs(200, 0, 1, 1, 55, 0)},
		{pageInGap + 200, pageInGap + 201, 1, 0, []uint64{1}},
		{pageInGap + 255, far, 1, 0, []uint64{0}},
		{pageInGap + 256, far, pageOverStart - pageInGap - 256, 0, nil},
		{pageOverStart, far, 256, 0, runs(136, 0, 100, 9, 1, 2, 19, 9)},
		{fillStart + 99, fillStart + 101, 2, 0, []uint64{9, 2}},
		{pageOverStart + 256, far, pageOfZero - pageOverStart - 256, 9, nil},
		{pageOfZero, far, 256, 0, runs(1, 0, 255, 9)},
		{pageOfZero + 256, pageOfAll, pageOfAll - pageOfZero - 256, 9, nil},
		{pageOfZero + 256, far, pageOfAll - pageOfZero - 256, 9, nil},
		{pageOfAll, far, 256, 0, runs(1, 3, 1, 4, 254, 9)},
		{pageOfAll + 1, pageOfAll + 3, 2, 0, []uint64{4, 9}},
		{pageOfAll + 256, far, fillEnd - pageOfAll - 256, 9, nil},
		{fillEnd - 1, far, 1, 9, nil},
		{fillEnd, far, far - fillEnd, 0, nil},
		{math.MaxInt64, math.MaxUint64, math.MaxUint64 - math.MaxInt64, 0, nil},
	}
	m := viewMap()
	for _, tt := range tests {
		want := sparse.View[uint64]{Cluster: tt.cluster, N: tt.n, Words: tt.words, Word: tt.word}
		v := m.View(tt.cluster, tt.end)
		if diff := cmp.Diff(want, v); diff != "" {
			t.Errorf("View(%d, %d) (-want +got):\n%s", tt.cluster, tt.end, diff)
		}
		if first := m.Word(tt.cluster); v.First() != first {
			t.Errorf("View(%d, %d).First() = %d, want %d", tt.cluster, tt.end, v.First(), first)
		}
	}
}

// TestViewFlat goes through a flat map of more clusters than a view has.
func TestViewFlat(t *testing.T) {
	const clusters = 10_000
	b := sparse.NewBuilder[uint64](clusters)
	b.Fill(0, clusters/2, 1)
	for i := uint64(0); i < clusters; i += 3 {
		*b.At(i) += i
	}
	m, next := b.Seal(), uint64(0)
	for next < clusters {
		v := m.View(next, clusters)
		if v.Cluster != next || v.N == 0 || v.N > clusters-next || uint64(len(v.Words)) != v.N {
			t.Fatalf("View(%d, %d): %d clusters from %d on with %d words", next, clusters, v.N, v.Cluster, len(v.Words))
		}
		for i, got := range v.Words {
			c, want := next+uint64(i), uint64(0)
			if c < clusters/2 {
				want = 1
			}
			if c%3 == 0 {
				want += c
			}
			if got != want {
				t.Fatalf("cluster %d has %d, want %d", c, got, want)
			}
		}
		next += v.N
	}
}

// TestViewParts cuts views, of one word for all and of a word for each.
func TestViewParts(t *testing.T) {
	type view = sparse.View[string]
	tests := []struct {
		name       string
		v          view
		n          uint64
		head, tail view
	}{
		{"none of a fill", view{10, 5, nil, "a"}, 0, view{10, 0, nil, "a"}, view{10, 5, nil, "a"}},
		{"some of a fill", view{10, 5, nil, "a"}, 2, view{10, 2, nil, "a"}, view{12, 3, nil, "a"}},
		{"all of a fill", view{10, 5, nil, "a"}, 5, view{10, 5, nil, "a"}, view{15, 0, nil, "a"}},
		{"none", view{10, 2, []string{"a", "b"}, ""}, 0, view{10, 0, []string{}, ""}, view{10, 2, []string{"a", "b"}, ""}},
		{"some", view{10, 3, []string{"a", "b", "c"}, ""}, 1, view{10, 1, []string{"a"}, ""}, view{11, 2, []string{"b", "c"}, ""}},
		{"all", view{10, 2, []string{"a", "b"}, ""}, 2, view{10, 2, []string{"a", "b"}, ""}, view{12, 0, []string{}, ""}},
	}
	for _, tt := range tests {
		before := tt.v
		if diff := cmp.Diff(tt.head, tt.v.Head(tt.n)); diff != "" {
			t.Errorf("%s: Head (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(before, tt.v); diff != "" {
			t.Errorf("%s: Head changes the view (-want +got):\n%s", tt.name, diff)
		}
		if got := tt.v.First(); got != "a" {
			t.Errorf("%s: First() = %q, want %q", tt.name, got, "a")
		}
		tt.v.Advance(tt.n)
		if diff := cmp.Diff(tt.tail, tt.v); diff != "" {
			t.Errorf("%s: Advance (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestAlike: of a flat map all that are alike are known to be, of another one
// those of a fill up to the next page with a word.
func TestAlike(t *testing.T) {
	b := sparse.NewBuilder[uint64](100)
	b.Fill(10, 20, 1)
	*b.At(99) = 1
	flat, scattered := b.Seal(), viewMap()
	tests := []struct {
		name       string
		m          *sparse.Map[uint64]
		cluster, n uint64
		want       uint64
	}{
		{"flat, before a fill", flat, 0, 100, 10},
		{"flat, in a fill", flat, 12, 88, 18},
		{"flat, part of a fill", flat, 12, 5, 5},
		{"flat, to the last but one", flat, 30, 70, 69},
		{"flat, the last", flat, 99, 1, 1},
		{"before all", scattered, 0, 1 << 50, 100},
		{"one", scattered, 100, 1, 1},
		{"part of a fill", scattered, 100, 899, 899},
		{"all of a fill", scattered, 100, 900, 900},
		{"no more than a fill", scattered, 100, 901, 900},
		{"up to a page", scattered, 1200, 1 << 50, pageInGap - 1200},
		{"in a page", scattered, pageInGap, 100, 1},
		{"the last of a page", scattered, pageInGap + 255, 100, 1},
		{"after a page", scattered, pageInGap + 256, 100, 100},
		{"in a spread page", scattered, pageOfAll + 9, 100, 1},
		{"from the last page to the end of a fill", scattered, pageOfAll + 256, 1 << 50, fillEnd - pageOfAll - 256},
		{"after all", scattered, fillEnd, 1 << 50, 1 << 50},
		{"nothing set", sparse.NewScattered[uint64](1 << 55).Seal(), 5, 1 << 50, 1 << 50},
	}
	for _, tt := range tests {
		if got := tt.m.Alike(tt.cluster, tt.n); got != tt.want {
			t.Errorf("%s: Alike(%d, %d) = %d, want %d", tt.name, tt.cluster, tt.n, got, tt.want)
		}
	}
}

func TestMapAllocs(t *testing.T) {
	flat, scattered := sparse.NewBuilder[uint64](1000).Seal(), viewMap()
	tests := []struct {
		name    string
		m       *sparse.Map[uint64]
		cluster uint64
	}{
		{"flat", flat, 0},
		{"fill", scattered, 100},
		{"compact page", scattered, pageOverStart},
		{"spread page", scattered, pageOfAll},
	}
	for _, tt := range tests {
		if n := testing.AllocsPerRun(100, func() {
			v := tt.m.View(tt.cluster, tt.cluster+100)
			head := v.Head(10)
			v.Advance(head.N)
			tt.m.Alike(tt.cluster, 100)
			tt.m.Word(tt.cluster + 1)
		}); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

func TestViewAlike(t *testing.T) {
	for _, test := range []struct {
		view sparse.View[int]
		want uint64
	}{
		{sparse.View[int]{N: 7, Word: 3}, 7},
		{sparse.View[int]{N: 3, Words: []int{4, 4, 4}}, 3},
		{sparse.View[int]{N: 4, Words: []int{4, 4, 5, 4}}, 2},
		{sparse.View[int]{N: 2, Words: []int{1, 0}}, 1},
	} {
		if got := test.view.Alike(); got != test.want {
			t.Errorf("%+v: %d alike, want %d", test.view, got, test.want)
		}
	}
}
