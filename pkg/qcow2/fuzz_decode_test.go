package qcow2_test

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// FuzzDecode decodes clusters of a file as every kind of table: entries come in
// order, none twice, and runs taken apart are as many.
func FuzzDecode(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		g, err := img.Geometry()
		if err != nil || len(p) > 32<<10 {
			return
		}
		for _, kind := range qcow2.TableKinds() {
			for at := uint64(0); at < uint64(len(p)); at += max(g.ClusterSize, uint64(len(p))/8) {
				table, err := img.TableAs(kind, at)
				if err != nil {
					t.Fatal(err)
				}
				fuzzDecode(t, p, img, table)
			}
			table, err := img.FindTable(qcow2.TableSelector{Kind: kind, Bitmap: &qcow2.Bitmap{TableOffset: g.ClusterSize, TableSize: 1 << 20, GranularityBits: 9}})
			if err == nil {
				fuzzDecode(t, p, img, table)
			}
		}
	})
}

// fuzzDecode decodes one table in runs, and entry by entry.
func fuzzDecode(t *testing.T, p []byte, img *qcow2.Image, table *qcow2.Table) {
	t.Helper()
	var counts [2]uint64
	for i, each := range []bool{false, true} {
		last := table.First
		for e, err := range img.Decode(t.Context(), table, qcow2.DecodeOptions{PerEntry: each, Zeros: true}) {
			if err != nil {
				checkError(t, p, err)
				continue
			}
			if e.Offset >= uint64(len(p)) || e.Field == "" && (e.Index < last || e.Count == 0 || each && e.Count != 1) {
				t.Fatalf("%s at %#x: %s after %d", table.Kind, table.Offset, entryLine(e), last)
			}
			last = e.Index + e.Count
			counts[i] += e.Count
		}
	}
	if counts[0] != counts[1] {
		t.Errorf("%s at %#x: %d entries in runs, %d one by one", table.Kind, table.Offset, counts[0], counts[1])
	}
}
