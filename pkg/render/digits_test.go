package render

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPutNumbers holds the numbers of batches against those of single rows: the
// first and the last of each length, and some between.
func TestPutNumbers(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var p room
	w := numbers{fourDigits()}
	check := func(n uint64) {
		if got, want := string(p[:w.putUint(&p, 0, n)]), string(appendUint(nil, n)); got != want {
			t.Errorf("putUint(%d) = %q, want %q", n, got, want)
		}
		if got, want := string(p[:w.putHex(&p, 0, n)]), string(appendHex(nil, n)); got != want {
			t.Errorf("putHex(%#x) = %q, want %q", n, got, want)
		}
		bits := uint(random.IntN(22))
		if got, want := string(p[:w.putAddr(&p, 0, n, bits)]), string(AppendAddr(nil, n, bits)); got != want {
			t.Errorf("putAddr(%#x, %d) = %q, want %q", n, bits, got, want)
		}
	}
	for _, base := range []uint64{10, 16} {
		for limit, more := uint64(1), true; more; limit *= base {
			check(limit - 1)
			check(limit)
			for range 1000 {
				check(random.Uint64N(limit))
			}
			more = limit <= math.MaxUint64/base
		}
	}
	for n := range uint64(1e4) { // every step has every value
		check(n*1e4 + n)
	}
	check(math.MaxUint64)
}
