package sparse_test

import (
	"math"
	"runtime"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// TestNewBuilder: a builder is flat up to 24 MiB of words, and then hands out all
// words that it is asked for. Beyond that it hands out those of a page at most,
// however many clusters there are.
func TestNewBuilder(t *testing.T) {
	const flat = 24 << 20
	tests := []struct {
		word string
		run  func(n uint64) int
		n    uint64
		want int
	}{
		{"uint64", runLength[uint64], 0, 0},
		{"uint64", runLength[uint64], 1, 1},
		{"uint64", runLength[uint64], flat / 8, flat / 8},
		{"uint64", runLength[uint64], flat/8 + 1, 256},
		{"bool", runLength[bool], flat, flat},
		{"bool", runLength[bool], flat + 1, 256},
		{"bool", runLength[bool], math.MaxUint64, 256},
		{"[3]uint64", runLength[[3]uint64], flat / 24, flat / 24},
		{"[3]uint64", runLength[[3]uint64], flat/24 + 1, 256},
	}
	for _, tt := range tests {
		if got := tt.run(tt.n); got != tt.want {
			t.Errorf("of %d clusters, a word %s each: Run returns %d words, want %d", tt.n, tt.word, got, tt.want)
		}
	}
}

// runLength returns how many words a new Builder for n clusters hands out.
func runLength[W comparable](n uint64) int { return len(sparse.NewBuilder[W](n).Run(0, n)) }

// TestRun has how many words Run returns of a page with some words.
func TestRun(t *testing.T) {
	const page = 256
	tests := []struct {
		name     string
		words    uint64 // that the page has, from its first cluster on
		first, n uint64 // asked for
		want     int
	}{
		{"all of an empty page", 0, 0, page, page},
		{"more than a page", 0, 0, 1 << 40, page},
		{"the end of a page", 0, page - 1, 10, 1},
		{"from the middle", 0, 100, 1 << 40, page - 100},
		{"few of an empty page", 0, 5, 10, 1},
		{"one more than a page may have alone", 0, 5, 17, 17},
		{"the last place", 15, 15, 1, 1},
		{"no place left", 16, 16, 2, 2},
		{"a known word of a full page", 16, 15, 1, 1},
		{"a known word and another", 16, 15, 2, 2},
		{"a page that has all", page, 3, 7, 7},
	}
	for _, tt := range tests {
		b := sparse.NewScattered[uint64](1 << 55)
		for i := range tt.words {
			*b.At(i) = i + 1
		}
		run := b.Run(tt.first, tt.n)
		if len(run) != tt.want {
			t.Errorf("%s: %d words, want %d", tt.name, len(run), tt.want)
		}
		for i := range run {
			want := tt.first + uint64(i) + 1
			if want > tt.words {
				want = 0
			}
			if run[i] != want {
				t.Errorf("%s: word %d is %d, want %d", tt.name, i, run[i], want)
			}
		}
	}
}

// TestSetRun has how many clusters SetRun gives a word in one step. What it says of
// the words themselves is in TestModel.
func TestSetRun(t *testing.T) {
	const page = 256
	single := func(b *sparse.Builder[uint64]) { *b.At(100) = 1 }
	runs := func(n, length uint64) func(b *sparse.Builder[uint64]) {
		return func(b *sparse.Builder[uint64]) {
			for i := range n {
				b.SetRun(i*length, length, 1)
			}
		}
	}
	tests := []struct {
		name     string
		before   func(b *sparse.Builder[uint64])
		first, n uint64 // asked for
		want     uint64
	}{
		{"up to the end of a page", nil, 10, page, page - 10},
		{"fewer than there is room for", nil, 10, 20, 20},
		{"up to a word", single, 90, 20, 10},
		{"a word", single, 100, 20, 0},
		{"after a word", single, 101, 20, 20},
		{"in a run", runs(1, 10), 9, 20, 0},
		{"up to a fill", func(b *sparse.Builder[uint64]) { b.Fill(20, 10, 1) }, 10, 20, 10},
		{"a fill", func(b *sparse.Builder[uint64]) { b.Fill(20, 10, 1) }, 20, 20, 0},
		{"beside as many single words as there may be", runs(16, 1), 100, 20, 0},
		{"beside as many runs of eight", runs(16, 8), 200, 8, 8},
		{"beside a run for eight clusters each", runs(31, 8), 248, 8, 8},
		{"in a page with a place for each", func(b *sparse.Builder[uint64]) { b.Run(0, page) }, 0, 20, 0},
	}
	for _, tt := range tests {
		b := sparse.NewScattered[uint64](1 << 55)
		b.KeepRuns(func(word, n uint64) uint64 { return word + n })
		if tt.before != nil {
			tt.before(b)
		}
		if got := b.SetRun(tt.first, tt.n, 5); got != tt.want {
			t.Errorf("%s: SetRun(%d, %d) = %d, want %d", tt.name, tt.first, tt.n, got, tt.want)
		}
	}
	if got := sparse.NewScattered[uint64](1<<55).SetRun(0, 9, 1); got != 0 {
		t.Errorf("without KeepRuns: %d, want 0", got)
	}
}

// TestSpread sets the words of a page one after the other, in orders that insert
// in front, behind and between, so that it changes its form on the way.
func TestSpread(t *testing.T) {
	const page, filled = 256, 9
	for _, step := range []uint64{1, page - 1, 37, 101} { // each goes through all clusters
		b := sparse.NewScattered[uint64](1 << 55)
		b.Fill(0, 2*page-10, filled)
		want := map[uint64]uint64{}
		for i := range uint64(2 * page) {
			if i < 2*page-10 {
				want[i] = filled
			}
		}
		for k := range uint64(page) {
			i := page + k*step%page
			if got := *b.At(i); got != want[i] {
				t.Fatalf("step %d: cluster %d has %d before it is set, want %d", step, i, got, want[i])
			}
			want[i] = k % 5 // 0 as well
			*b.At(i) = want[i]
			for c := range uint64(2*page + 1) {
				if got := b.Word(c); got != want[c] {
					t.Fatalf("step %d, %d words set: cluster %d has %d, want %d", step, k+1, c, got, want[c])
				}
			}
		}
	}
}

// TestMemory holds the promise of Builder: of fills nothing for each cluster, some
// words for a run and for a word that lies alone, a word for each of a dense map.
func TestMemory(t *testing.T) {
	const words, word = 1 << 17, 8
	tests := []struct {
		name string
		set  func(b *sparse.Builder[uint64])
		most uint64 // bytes
	}{
		{"a fill", func(b *sparse.Builder[uint64]) { b.Fill(1, 1<<50, 1) }, 64 << 10},
		{"side by side", func(b *sparse.Builder[uint64]) {
			for i := range uint64(words) {
				*b.At(i + 1<<50) = i
			}
		}, words * word * 3 / 2},
		{"runs of a page", func(b *sparse.Builder[uint64]) {
			for i := range uint64(words / 256) {
				b.SetRun(i<<8+1<<50, 256, i<<8)
			}
		}, words * word / 8},
		{"runs of 16", func(b *sparse.Builder[uint64]) {
			for i := range uint64(words / 16) {
				b.SetRun(i<<4+1<<50, 16, i<<8)
			}
		}, words * word / 4},
		{"alone", func(b *sparse.Builder[uint64]) {
			for i := range uint64(words) {
				*b.At(i << 30) = i
			}
		}, words * word * 25},
		{"16 in each page", func(b *sparse.Builder[uint64]) {
			for i := range uint64(words) {
				*b.At(i<<4 + i%16) = i
			}
		}, words * word * 4},
	}
	for _, tt := range tests {
		b := sparse.NewScattered[uint64](1 << 55)
		b.KeepRuns(func(word, n uint64) uint64 { return word + n })
		before := heap()
		tt.set(b)
		if got := heap() - before; int64(got) > int64(tt.most) {
			t.Errorf("%s: %d bytes, want %d at most", tt.name, got, tt.most)
		}
		runtime.KeepAlive(b)
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	var s runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// TestBuilderAllocs: what has a place is changed without an allocation.
func TestBuilderAllocs(t *testing.T) {
	flat, scattered := sparse.NewBuilder[uint64](1000), sparse.NewScattered[uint64](1<<55)
	scattered.Fill(0, 1<<40, 1)
	scattered.Run(512, 256) // a place for each
	*scattered.At(1 << 30) = 2
	tests := []struct {
		name string
		f    func()
	}{
		{"At, flat", func() { *flat.At(77)++ }},
		{"Run, flat", func() { flat.Run(77, 100)[99]++ }},
		{"At, spread page", func() { *scattered.At(600)++ }},
		{"Run, spread page", func() { scattered.Run(600, 100)[99]++ }},
		{"At, compact page", func() { *scattered.At(1 << 30)++ }},
		{"Word, fill", func() { scattered.Word(9999) }},
	}
	for _, tt := range tests {
		if n := testing.AllocsPerRun(100, tt.f); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}
