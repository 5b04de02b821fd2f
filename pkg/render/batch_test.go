package render

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// randomBatch returns a batch with numbers of all lengths in some columns, which can be
// the same in all rows, and nulls.
func randomBatch(random *rand.Rand) *Batch {
	b := &Batch{Row: guestRow(nil, random.IntN(8))}
	rows := 1 + random.IntN(2*fewRows)
	if random.IntN(2) == 0 {
		rows = 1 + random.IntN(300)
	}
	for c := range b.Row {
		switch b.Row[c].kind {
		case KindUint, KindSize, KindOffset, KindAddr, KindHex:
		default:
			if random.IntN(20) > 0 || b.Row[c].kind != KindBool {
				continue // rarely, rows differ in what no column of numbers can show
			}
		}
		if random.IntN(2) == 0 {
			continue
		}
		numbers := make([]uint64, rows)
		constant, shift := random.IntN(3) == 0, random.IntN(64)
		for i := range numbers {
			if numbers[i] = random.Uint64() >> (shift + random.IntN(64-shift)); constant {
				numbers[i] = numbers[0]
			}
		}
		if random.IntN(8) == 0 {
			b.Row[c] = Null
		}
		b.Columns, b.Numbers = append(b.Columns, c), append(b.Numbers, numbers)
	}
	if b.Columns == nil {
		b.Columns, b.Numbers = []int{0}, [][]uint64{make([]uint64, rows)}
	}
	return b
}

// TestBatch writes random batches, and the same rows one by one, in every format.
func TestBatch(t *testing.T) {
	for name, output := range looks() {
		for _, s := range []*Section{batchSection(), guestSection(), {Key: "guest", Layout: LayoutList, Columns: guestSection().Columns}} {
			var batched, single bytes.Buffer
			write := func(w io.Writer, push func(Renderer, *Batch) error) {
				random := rand.New(rand.NewPCG(3, 4))
				r := New(output.format, w, output.opts)
				r.Begin(testDocument)
				r.Section(s)
				for range 200 {
					if err := push(r, randomBatch(random)); err != nil {
						t.Fatal(err)
					}
				}
				if err := r.End(); err != nil {
					t.Fatal(err)
				}
			}
			write(&batched, func(r Renderer, b *Batch) error { return r.Batch(b) })
			write(&single, func(r Renderer, b *Batch) error { return b.each(r.Row) })
			if got, want := batched.Bytes(), single.Bytes(); !bytes.Equal(got, want) {
				i := 0
				for i < min(len(got), len(want)) && got[i] == want[i] {
					i++
				}
				t.Errorf("%s: batches differ from rows at byte %d of %d: …%q, want …%q", name, i, len(want),
					got[max(i-80, 0):min(i+80, len(got))], want[max(i-80, 0):min(i+80, len(want))])
			}
		}
	}
}

func TestBatchDoesNotAllocate(t *testing.T) {
	for name, output := range looks() {
		r, _ := longSection(output.format, batchSection(), output.opts)
		b := guestBatch(true)
		r.Batch(b)
		if n := testing.AllocsPerRun(100, func() { r.Batch(b) }); n != 0 {
			t.Errorf("%s: a batch takes %v allocations, want 0", name, n)
		}
	}
}

// guestBatch returns a batch of the section of [guestSection]: clusters of data that
// follow each other on the disk, and in the file unless it is scattered.
func guestBatch(scattered bool) *Batch {
	const rows = 256
	b := &Batch{Row: guestRow(nil, 0), Columns: []int{0, 7, 8}, Numbers: [][]uint64{make([]uint64, rows), make([]uint64, rows), nil}}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range rows {
		b.Numbers[0][i] = 77<<30 + uint64(i)*testCluster
		b.Numbers[1][i] = 78<<30 + uint64(i)*testCluster
		if scattered {
			b.Numbers[1][i] = random.Uint64N(1<<21) * testCluster
		}
	}
	b.Numbers[2] = b.Numbers[1]
	return b
}

// batchSection is guestSection with lines for batches.
func batchSection() *Section {
	s := guestSection()
	s.Write = func(l *Line) {
		if l.Num(1) == testCluster && !l.IsNull(12) {
			l.Text("one ")
		}
		l.Addr(0)
		l.Text(": ")
		l.Addr(8)
	}
	return s
}

// BenchmarkBatch has the time of a row in batches, beside that of one by itself.
func BenchmarkBatch(b *testing.B) {
	for name, output := range looks() {
		for order, batch := range map[string]*Batch{"sequential": guestBatch(false), "random": guestBatch(true)} {
			for _, how := range []string{"batch", "rows"} {
				b.Run(name+"/"+order+"/"+how, func(b *testing.B) {
					r := New(output.format, io.Discard, output.opts)
					r.Begin(testDocument)
					r.Section(batchSection())
					for range 3 {
						r.Batch(batch)
					}
					b.ReportAllocs()
					for b.Loop() {
						if how == "batch" {
							r.Batch(batch)
						} else {
							batch.each(r.Row)
						}
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Len()), "ns/row")
				})
			}
		}
	}
}
