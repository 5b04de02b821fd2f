package interval_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// spans returns spans: pairs of where they begin and end.
func spans(pairs ...uint64) []interval.Span {
	var all []interval.Span
	for p := range slices.Chunk(pairs, 2) {
		all = append(all, interval.Span{From: p[0], To: p[1]})
	}
	return all
}

func TestNewCover(t *testing.T) {
	type segs = []interval.Segment
	tests := []struct {
		name             string
		spans            []interval.Span
		byOffset, bySpan segs // bySpan nil: the same
	}{
		{"none", nil, nil, nil},
		{"one", spans(5, 9), segs{{5, 9, 0, 1}}, nil},
		{"a byte", spans(5, 6), segs{{5, 6, 0, 1}}, nil},
		{"all bytes", spans(0, math.MaxUint64), segs{{0, math.MaxUint64, 0, 1}}, nil},
		{"empty", spans(0, 0, 7, 7), nil, nil},
		{"empty at the edges and inside", spans(5, 5, 5, 9, 9, 9, 7, 7), segs{{5, 9, 1, 1}}, nil},
		{"equal", spans(5, 9, 5, 9, 5, 9), segs{{5, 9, 0, 3}}, nil},
		{"touching", spans(5, 9, 9, 12), segs{{5, 9, 0, 1}, {9, 12, 1, 1}}, nil},
		{"touching, the second one first", spans(9, 12, 5, 9), segs{{5, 9, 1, 1}, {9, 12, 0, 1}}, segs{{9, 12, 0, 1}, {5, 9, 1, 1}}},
		{"a gap of a byte", spans(5, 9, 10, 12), segs{{5, 9, 0, 1}, {10, 12, 1, 1}}, nil},
		{"overlapping by a byte", spans(5, 9, 8, 12), segs{{5, 8, 0, 1}, {8, 9, 0, 2}, {9, 12, 1, 1}}, nil},
		{"nested", spans(0, 9, 3, 6), segs{{0, 3, 0, 1}, {3, 6, 0, 2}, {6, 9, 0, 1}}, nil},
		{
			"nested, the inner one first", spans(3, 6, 0, 9),
			segs{{0, 3, 1, 1}, {3, 6, 0, 2}, {6, 9, 1, 1}},
			segs{{3, 6, 0, 2}, {0, 3, 1, 1}, {6, 9, 1, 1}},
		},
		{"with one beginning", spans(0, 3, 0, 9), segs{{0, 3, 0, 2}, {3, 9, 1, 1}}, nil},
		{"with one end", spans(0, 9, 6, 9), segs{{0, 6, 0, 1}, {6, 9, 0, 2}}, nil},
		{
			"staggered, the last one first", spans(4, 7, 2, 5, 0, 3),
			segs{{0, 2, 2, 1}, {2, 3, 1, 2}, {3, 4, 1, 1}, {4, 5, 0, 2}, {5, 7, 0, 1}},
			segs{{4, 5, 0, 2}, {5, 7, 0, 1}, {2, 3, 1, 2}, {3, 4, 1, 1}, {0, 2, 2, 1}},
		},
		{
			"the first one ends, and one of the same bytes goes on", spans(0, 4, 2, 8, 2, 4),
			segs{{0, 2, 0, 1}, {2, 4, 0, 3}, {4, 8, 1, 1}}, nil,
		},
	}
	for _, tt := range tests {
		c := interval.NewCover(tt.spans)
		if tt.bySpan == nil {
			tt.bySpan = tt.byOffset
		}
		if diff := cmp.Diff(tt.byOffset, c.ByOffset); diff != "" {
			t.Errorf("%s: ByOffset (-want +got):\n%s", tt.name, diff)
		}
		if diff := cmp.Diff(tt.bySpan, c.BySpan); diff != "" {
			t.Errorf("%s: BySpan (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestAt has the first and the last byte of segments.
func TestAt(t *testing.T) {
	c := interval.NewCover(spans(0, 10, 10, 20, 15, 30, 40, math.MaxUint64))
	tests := []struct {
		offset uint64
		want   int // index in ByOffset
	}{
		{0, 0},
		{9, 0},
		{10, 1},
		{14, 1},
		{15, 2},
		{19, 2},
		{20, 3},
		{29, 3},
		{40, 4},
		{math.MaxUint64 - 1, 4},
	}
	for _, tt := range tests {
		if got := c.At(tt.offset); got != &c.ByOffset[tt.want] {
			t.Errorf("At(%d) = %v, want %v", tt.offset, *got, c.ByOffset[tt.want])
		}
	}
}

// TestOrders has many spans in every bad order: each sorted up, down and not at
// all, and compared with a search of all of them.
func TestOrders(t *testing.T) {
	const n = 300
	shapes := map[string]func(i uint64) interval.Span{
		"equal":         func(uint64) interval.Span { return interval.Span{From: 10, To: 20} },
		"side by side":  func(i uint64) interval.Span { return interval.Span{From: 2 * i, To: 2*i + 2} },
		"apart":         func(i uint64) interval.Span { return interval.Span{From: 3 * i, To: 3*i + 2} },
		"nested":        func(i uint64) interval.Span { return interval.Span{From: i, To: 2*n - i} },
		"staggered":     func(i uint64) interval.Span { return interval.Span{From: i, To: i + n/2} },
		"one beginning": func(i uint64) interval.Span { return interval.Span{From: 0, To: i + 1} },
		"one end":       func(i uint64) interval.Span { return interval.Span{From: i, To: n} },
		"small in one big": func(i uint64) interval.Span {
			if i == n/3 {
				return interval.Span{From: 0, To: n}
			}
			return interval.Span{From: i, To: i + 1}
		},
	}
	orders := map[string]func(all []interval.Span){
		"up":   func([]interval.Span) {},
		"down": slices.Reverse[[]interval.Span],
		"mixed": func(all []interval.Span) {
			rand.New(rand.NewPCG(1, 0)).Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
		},
		"rotated": func(all []interval.Span) { slices.Reverse(all[:n/2]); slices.Reverse(all[n/2:]); slices.Reverse(all) },
	}
	for shape, span := range shapes {
		for order, arrange := range orders {
			t.Run(shape+"/"+order, func(t *testing.T) {
				all := make([]interval.Span, n)
				for i := range all {
					all[i] = span(uint64(i))
				}
				arrange(all)
				c := interval.NewCover(slices.Clone(all))
				for _, g := range c.ByOffset {
					for _, offset := range []uint64{g.From, g.To - 1} {
						var want []int
						for i, s := range all {
							if s.From <= offset && offset < s.To {
								want = append(want, i)
							}
						}
						compareHolders(t, c, offset, want)
					}
				}
			})
		}
	}
}

// compareHolders compares the segment at an offset, and the numbers that Each
// has for it, with the numbers of its spans.
func compareHolders(t *testing.T, c *interval.Cover, offset uint64, want []int) {
	t.Helper()
	var got []int
	whole := c.Each(offset, func(i int) bool {
		got = append(got, i)
		return true
	})
	if g := c.At(offset); !whole || !slices.Equal(got, want) || g.First != want[0] || g.Spans != uint64(len(want)) {
		t.Errorf("at %d: segment %v, spans %d, want %d", offset, *g, got, want)
	}
}

// TestInverted: a span that ends before it begins holds nothing.
func TestInverted(t *testing.T) {
	c := interval.NewCover(spans(9, 5, 0, 20, 30, 0))
	if diff := cmp.Diff([]interval.Segment{{From: 0, To: 20, First: 1, Spans: 1}}, c.ByOffset); diff != "" {
		t.Errorf("ByOffset (-want +got):\n%s", diff)
	}
	for offset := range uint64(20) {
		compareHolders(t, c, offset, []int{1})
	}
}

func TestCoverAllocs(t *testing.T) {
	var all []interval.Span
	for i := range uint64(100) {
		all = append(all, interval.Span{From: i, To: 200 - i})
	}
	c := interval.NewCover(all)
	c.Each(100, func(int) bool { return true }) // all spans: none needs more room
	sum := 0
	tests := []struct {
		name string
		f    func()
	}{
		{"At", func() { sum += c.At(77).First }},
		{"Each, the same segment", func() { c.Each(50, func(i int) bool { sum += i; return true }) }},
		{"Each, from one segment to another", func() {
			for offset := range uint64(200) {
				c.Each(offset, func(i int) bool { sum += i; return true })
			}
		}},
	}
	for _, tt := range tests {
		if n := testing.AllocsPerRun(10, tt.f); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// TestHas has spans that hold an offset, and those of which every byte is their own.
func TestHas(t *testing.T) {
	c := interval.NewCover(spans(10, 20, 15, 25, 30, 40, 50, 50, 60, 70))
	for offset, want := range map[uint64]bool{0: false, 9: false, 10: true, 24: true, 25: false, 30: true, 50: false, 69: true, 70: false, 100: false} {
		if got := c.Has(offset); got != want {
			t.Errorf("Has(%d) = %v, want %v", offset, got, want)
		}
	}
	for i, want := range []bool{false, false, true, true, true} {
		if got := c.Alone(i); got != want {
			t.Errorf("Alone(%d) = %v, want %v", i, got, want)
		}
	}
}
