package qcow2

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// The plain twins of what takes several words at a time.

func plainMatching(counts []byte, mask, want count) int {
	for i, c := range counts {
		if count(c)&mask != want {
			return i
		}
	}
	return len(counts)
}

func plainAgreeing(counts []byte) int {
	for i, c := range counts {
		refcount := count(0)
		if count(c)&countOne != 0 {
			refcount = 1
		}
		if count(c)&countFull != refcount {
			return i
		}
	}
	return len(counts)
}

func plainAdd(counts []byte, references uint64) int {
	for i, c := range counts {
		if count(c)&countMetadata != 0 || uint64(count(c)&countFull)+references >= uint64(countFull) {
			return i
		}
		counts[i] += byte(references)
	}
	return len(counts)
}

func plainMark(counts []byte) {
	for i := range counts {
		counts[i] |= byte(countOne)
	}
}

func plainRun(p []byte, word, step uint64) int {
	n := 0
	for ; len(p) >= 8 && be64(p) == word; p = p[8:] {
		word += step
		n++
	}
	return n
}

// someCounts returns up to 40 counts, mostly alike, some of which are not.
func someCounts(r *rand.Rand) []byte {
	usual := []byte{0, byte(countOne) + 1, 1, 17, byte(r.Uint32())}[r.IntN(5)]
	counts := slices.Repeat([]byte{usual}, r.IntN(40))
	for range r.IntN(3) {
		if len(counts) > 0 {
			counts[r.IntN(len(counts))] = byte(r.Uint32())
		}
	}
	return counts
}

// TestEight compares what takes eight counts at a time with its plain twin.
func TestEight(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		counts := someCounts(r)
		mask, want := count(r.Uint32()), count(0)
		if len(counts) > 0 {
			want = count(counts[0]) & mask
		}
		if got, plain := countMatching(counts, mask, want), plainMatching(counts, mask, want); got != plain {
			t.Fatalf("countMatching(%x, %x, %x) = %d, want %d", counts, mask, want, got, plain)
		}
		if got, plain := countAgreeing(counts), plainAgreeing(counts); got != plain {
			t.Fatalf("countAgreeing(%x) = %d, want %d", counts, got, plain)
		}
		references := r.Uint64N(80)
		a, b := slices.Clone(counts), slices.Clone(counts)
		if got, plain := addReferences(a, references), plainAdd(b, references); got != plain || !slices.Equal(a, b) {
			t.Fatalf("addReferences(%x, %d) = %d and %x, want %d and %x", counts, references, got, a, plain, b)
		}
		markOnes(a)
		plainMark(b)
		if !slices.Equal(a, b) {
			t.Fatalf("markOnes(%x) gives %x", b, a)
		}
	}
}

// TestRunLength compares it with its plain twin.
func TestRunLength(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		word, step := r.Uint64(), uint64(r.IntN(2))<<16
		var p []byte
		for i := range r.Uint64N(20) {
			p = binary.BigEndian.AppendUint64(p, word+i*step)
		}
		if len(p) > 0 && r.IntN(2) == 0 {
			p[r.IntN(len(p))] ^= 1 << r.IntN(8)
		}
		p = p[:len(p)-min(len(p), r.IntN(9))]
		if got, want := runLength(p, word, step), plainRun(p, word, step); got != want {
			t.Fatalf("runLength(%x, %#x, %#x) = %d, want %d", p, word, step, got, want)
		}
	}
}

// BenchmarkEight measures each beside its plain twin.
func BenchmarkEight(b *testing.B) {
	counts := slices.Repeat([]byte{byte(countOne) + 1}, 8192)
	words := make([]byte, 1<<16)
	for name, run := range map[string]func(){
		"matching/eight": func() { countMatching(counts, countOne, countOne) },
		"matching/plain": func() { plainMatching(counts, countOne, countOne) },
		"agreeing/eight": func() { countAgreeing(counts) },
		"agreeing/plain": func() { plainAgreeing(counts) },
		"add/eight":      func() { addReferences(counts, 0) },
		"add/plain":      func() { plainAdd(counts, 0) },
		"mark/eight":     func() { markOnes(counts) },
		"mark/plain":     func() { plainMark(counts) },
		"run/four":       func() { runLength(words, 0, 0) },
		"run/plain":      func() { plainRun(words, 0, 0) },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run()
			}
		})
	}
}
