package interval_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// modelBytes is how many bytes the model has.
const modelBytes = 256

// holders returns, for each byte from base on, the numbers of the spans that
// hold it: what all of the package is held against.
func holders(spans []interval.Span, base uint64) [][]int {
	all := make([][]int, modelBytes)
	for at := range all {
		for i, s := range spans {
			if s.From <= base+uint64(at) && base+uint64(at) < s.To {
				all[at] = append(all[at], i)
			}
		}
	}
	return all
}

// segments returns the longest ranges of bytes with the same holders.
func segments(all [][]int, base uint64) []interval.Segment {
	var list []interval.Segment
	for at := 0; at < len(all); {
		from := at
		for at < len(all) && slices.Equal(all[at], all[from]) {
			at++
		}
		if h := all[from]; len(h) > 0 {
			list = append(list, interval.Segment{From: base + uint64(from), To: base + uint64(at), First: h[0], Spans: uint64(len(h))})
		}
	}
	return list
}

// compareCover compares a cover of spans with the model. The spans lie in the
// bytes from base on. Offsets are asked for in the order of the numbers in at.
func compareCover(t *testing.T, spans []interval.Span, base uint64, at []int) {
	t.Helper()
	c := interval.NewCover(slices.Clone(spans))
	all := holders(spans, base)
	want := segments(all, base)
	if diff := cmp.Diff(want, c.ByOffset); diff != "" {
		t.Errorf("%v: ByOffset (-want +got):\n%s", spans, diff)
		return
	}
	var bySpan []interval.Segment
	for i, s := range spans {
		if got := c.Span(i); got != s {
			t.Errorf("%v: Span(%d) = %v", spans, i, got)
		}
		for _, g := range want {
			if g.First == i {
				bySpan = append(bySpan, g)
			}
		}
	}
	if diff := cmp.Diff(bySpan, c.BySpan); diff != "" {
		t.Errorf("%v: BySpan (-want +got):\n%s", spans, diff)
	}
	for _, i := range at {
		if len(all[i]) > 0 {
			compareOffset(t, c, base+uint64(i), all[i])
		}
	}
}

// compareOffset compares what a cover says of an offset with its holders.
func compareOffset(t *testing.T, c *interval.Cover, offset uint64, holders []int) {
	t.Helper()
	g := c.At(offset)
	if offset < g.From || g.To <= offset || !slices.Contains(c.ByOffset, *g) {
		t.Errorf("At(%d) = %v, one of %v", offset, *g, c.ByOffset)
	}
	for stop := 1; stop <= len(holders)+1; stop++ { // the last one does not stop
		var got []int
		whole := c.Each(offset, func(i int) bool {
			got = append(got, i)
			return len(got) < stop
		})
		if want := holders[:min(stop, len(holders))]; !slices.Equal(got, want) || whole != (stop > len(holders)) {
			t.Errorf("Each(%d), stopped after %d: %d and %v, want %d", offset, stop, got, whole, want)
		}
	}
}

// TestModel compares covers of random spans with the model, at the lowest and at
// the highest offsets.
func TestModel(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			for _, base := range []uint64{0, 1 << 40, math.MaxUint64 - modelBytes} {
				compareCover(t, randomSpans(r, base), base, r.Perm(modelBytes))
			}
		})
	}
}

// randomSpans returns some spans: on a grid, so that edges meet, or anywhere.
func randomSpans(r *rand.Rand, base uint64) []interval.Span {
	grid := 1 << r.UintN(6)
	longest := 1 + r.IntN(modelBytes/grid)
	spans := make([]interval.Span, r.UintN(30))
	for i := range spans {
		from := r.IntN(modelBytes/grid + 1)
		to := min(from+r.IntN(longest+1), modelBytes/grid)
		spans[i] = interval.Span{From: base + uint64(from*grid), To: base + uint64(to*grid)}
	}
	return spans
}

// FuzzCover takes two bytes for each span.
func FuzzCover(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 2})
	f.Add([]byte{0, 10, 10, 20, 5, 15, 5, 15, 7, 7, 0, 255})
	f.Fuzz(func(t *testing.T, p []byte) {
		var spans []interval.Span
		for p := range slices.Chunk(p[:min(len(p)&^1, 100)], 2) {
			spans = append(spans, interval.Span{From: uint64(min(p[0], p[1])), To: uint64(max(p[0], p[1]))})
		}
		compareCover(t, spans, 0, rand.New(rand.NewPCG(uint64(len(p)), 0)).Perm(modelBytes))
	})
}
