package render

import (
	"io"
	"math/rand/v2"
	"testing"
)

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
