package sparse_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// TestModel does the same random things to builders of every kind and to a plain
// slice, and compares every word, before and after Seal.
func TestModel(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			runScript(t, randomScript(seed))
		})
	}
}

func FuzzBuilder(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 100, 1, 0, 1, 1, 0, 120, 2}) // a fill, then a word in it
	for seed := range uint64(8) {
		f.Add([]byte(randomScript(seed)))
	}
	f.Fuzz(func(t *testing.T, p []byte) { runScript(t, p) })
}

// modelClusters is how many clusters the model has: some pages, and a part of one.
const modelClusters = 6*256 + 37

// A script says what to do to the builders, by bytes that are random or the
// fuzzer's. All that follow its last one are 0.
type script []byte

// randomScript returns one of some hundred bytes, so that few pages get as many
// words as a whole one has, and few get none.
func randomScript(seed uint64) script {
	r := rand.New(rand.NewPCG(seed, 0))
	s := make(script, r.UintN(800))
	for i := range s {
		s[i] = byte(r.Uint32())
	}
	return s
}

// below takes two bytes for a number below n.
func (s *script) below(n uint64) uint64 {
	var number uint64
	for range 2 {
		number <<= 8
		if len(*s) > 0 {
			number, *s = number|uint64((*s)[0]), (*s)[1:]
		}
	}
	return number % n
}

// word takes one of few words, so that neighbours are often alike, and often 0.
func (s *script) word() uint16 { return uint16(s.below(3)) }

// clusters takes a range of clusters, often a short one.
func (s *script) clusters() (first, n uint64) {
	first, n = s.below(modelClusters), 1+s.below(1<<s.below(11))
	return first, min(n, modelClusters-first)
}

// A builder is one under test. The first cluster of the model has the number
// base in it.
type builder struct {
	*sparse.Builder[uint16]
	name string
	base uint64
}

func runScript(t *testing.T, s script) {
	t.Helper()
	model := make([]uint16, modelClusters)
	builders := []builder{
		{sparse.NewBuilder[uint16](modelClusters), "flat", 0},
		{sparse.NewScattered[uint16](modelClusters), "scattered", 0},
		{sparse.NewScattered[uint16](1 << 55), "scattered without a directory", 0},
		{sparse.NewScattered[uint16](1 << 55), "scattered far off", 1<<55 - 300},
		{sparse.NewScattered[uint16](modelClusters), "runs", 0},
		{sparse.NewScattered[uint16](1 << 55), "runs far off", 1<<55 - 300},
	}
	for _, b := range builders[4:] {
		b.KeepRuns(func(word uint16, n uint64) uint16 { return word + uint16(n) })
	}
	fillAll(&s, model, builders)
	for len(s) > 0 && !t.Failed() {
		changeAll(t, &s, model, builders)
	}
	for _, b := range builders {
		m := b.Seal()
		compareWords(t, model, b, m)
		for first := uint64(0); first < modelClusters; first += 61 {
			for _, end := range []uint64{first + 1, min(first+100, modelClusters), modelClusters} {
				compareViews(t, model[first:end], b.name, m, b.base+first)
			}
		}
	}
}

// fillAll makes some fills in the order of the clusters. Some are empty.
func fillAll(s *script, model []uint16, builders []builder) {
	fills, first := s.below(6), uint64(0)
	for range fills {
		first = min(first+s.below(3)*s.below(400), modelClusters)
		n := min(s.below(700), modelClusters-first)
		word := s.word()
		for i := range n {
			model[first+i] = word
		}
		for _, b := range builders {
			b.Fill(b.base+first, n, word)
		}
		first += n
	}
}

// changeAll sets, adds to or reads words, and checks what was there before.
func changeAll(t *testing.T, s *script, model []uint16, builders []builder) {
	t.Helper()
	op, word := s.below(4), s.word()
	first, n := s.clusters()
	if op == 0 {
		n = 1
	}
	for _, b := range builders {
		for i := first; i < first+n && op < 3; {
			words := []uint16{b.Word(b.base + i)}
			switch op {
			case 0:
				p := b.At(b.base + i)
				words = []uint16{*p}
				*p = word
			case 1:
				run := b.Run(b.base+i, first+n-i)
				words = slices.Clone(run)
				for k := range run {
					run[k] += word
				}
			}
			rest := model[i : first+n]
			if len(words) == 0 || len(words) > len(rest) || !slices.Equal(words, rest[:len(words)]) {
				t.Fatalf("%s: %d clusters from %d on, %d to change: words %d, want first ones of %d", b.name, n, first, len(rest), words, rest)
			}
			i += uint64(len(words))
		}
		if op == 3 {
			setRun(t, model, b, first, n, word)
		}
	}
	for i := first; i < first+n; i++ {
		switch op {
		case 0:
			model[i] = word
		case 1:
			model[i] += word
		case 3:
			if model[i] == 0 {
				model[i] = word + uint16(i-first)
			}
		}
	}
}

// setRun gives a run of words to clusters that have none, by SetRun where that does
// it.
func setRun(t *testing.T, model []uint16, b builder, first, n uint64, word uint16) {
	t.Helper()
	for i := first; i < first+n; {
		k := b.SetRun(b.base+i, first+n-i, word+uint16(i-first))
		for c := i; c < min(i+k, first+n); c++ {
			if model[c] != 0 {
				t.Fatalf("%s: SetRun gives cluster %d a word, which has %d", b.name, c, model[c])
			}
		}
		if k == 0 {
			if w := &b.Run(b.base+i, first+n-i)[0]; *w == 0 {
				*w = word + uint16(i-first)
			}
			k = 1
		}
		i += k
	}
}

// compareWords compares Word and Alike of every cluster.
func compareWords(t *testing.T, model []uint16, b builder, m *sparse.Map[uint16]) {
	t.Helper()
	for i, want := range model {
		if got := m.Word(b.base + uint64(i)); got != want {
			t.Fatalf("%s: Word(%d) = %d, want %d", b.name, i, got, want)
		}
		for _, n := range []int{1, min(100, len(model)-i), len(model) - i} {
			alike := 0
			for alike < n && model[i+alike] == want {
				alike++
			}
			if got := m.Alike(b.base+uint64(i), uint64(n)); got < 1 || got > uint64(alike) {
				t.Fatalf("%s: Alike(%d, %d) = %d, but %d are", b.name, i, n, got, alike)
			}
		}
	}
}

// compareViews goes from one view to the next, and compares each.
func compareViews(t *testing.T, want []uint16, name string, m *sparse.Map[uint16], first uint64) {
	t.Helper()
	for end := first + uint64(len(want)); len(want) > 0; {
		v := m.View(first, end)
		if v.Cluster != first || v.N < 1 || v.N > uint64(len(want)) {
			t.Fatalf("%s: View(%d, %d) is of %d clusters from %d on", name, first, end, v.N, v.Cluster)
		}
		if got := wordsOf(v); !slices.Equal(got, want[:v.N]) {
			t.Fatalf("%s: View(%d, %d) has %d, want %d", name, first, end, got, want[:v.N])
		}
		first, want = first+v.N, want[v.N:]
	}
}

// wordsOf returns the word of each cluster of a view.
func wordsOf[W comparable](v sparse.View[W]) []W {
	if v.Words != nil {
		return v.Words
	}
	return slices.Repeat([]W{v.Word}, int(v.N))
}
