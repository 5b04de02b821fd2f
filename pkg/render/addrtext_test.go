package render_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/qinspect/qinspect/pkg/render"
)

// TestAddrText holds the text that is kept against the one that is made anew:
// over every change of digits, jumps, repetitions and other cluster sizes.
func TestAddrText(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var a render.AddrText
	check := func(n uint64, clusterBits uint) {
		want := string(render.AppendAddr(nil, n, clusterBits))
		if got := string(a.Append([]byte("> "), n, clusterBits)); got != "> "+want {
			t.Fatalf("Append(%#x, %d) = %q, want %q", n, clusterBits, got, "> "+want)
		}
	}
	check(0, 0)
	check(1, 0)
	for _, clusterBits := range []uint{9, 10, 11, 12, 16, 21} {
		for _, start := range []uint64{0, 8 << clusterBits, 98 << clusterBits, 0xfffe << clusterBits, 999_999_990 << clusterBits, 1<<60 - 8<<clusterBits, random.Uint64() >> 1} {
			for i := range uint64(300) {
				check(start+i<<clusterBits, clusterBits)
			}
			check(start, clusterBits)
			check(start, clusterBits)
		}
	}
	check(math.MaxUint64&^511, 9)
	check(0, 9) // behind the last address
}

func TestAddrTextAllocs(t *testing.T) {
	var a render.AddrText
	dst := make([]byte, 0, 100)
	n := uint64(1 << 40)
	a.Append(dst, n, 16)
	if got := testing.AllocsPerRun(1000, func() { n += 1 << 16; a.Append(dst, n, 16) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}
