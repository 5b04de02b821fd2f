package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// walkAll has every function that walks all references, by its name.
func walkAll(tb testing.TB, img *qcow2.Image) map[string]func() {
	tb.Helper()
	host := func(o qcow2.HostOptions) func() {
		return func() {
			for _, err := range img.Host(tb.Context(), o) {
				if err != nil {
					tb.Fatal(err)
				}
			}
		}
	}
	return map[string]func(){
		"host":             host(qcow2.HostOptions{}),
		"host per cluster": host(qcow2.HostOptions{PerCluster: true}),
		"check": func() {
			if r, err := img.Check(tb.Context(), qcow2.CheckOptions{}); err != nil || r.AllocatedClusters == 0 {
				tb.Fatal(r, err)
			}
		},
		"usage": func() {
			if _, err := img.Usage(tb.Context(), qcow2.UsageOptions{}); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

// TestHostOneL2TableManyTimes: 4096 L1 entries of each of 64 snapshots that share
// their L1 table point to one L2 table. Each table is read once, however often it
// counts.
func TestHostOneL2TableManyTimes(t *testing.T) {
	const entries, snapshots = 4096, 64
	b := qcow2test.Image{ClusterBits: 9, Size: entries << 15, RefcountBits: 64, Clusters: kinds{5: data}, Snapshots: make([]qcow2test.Snapshot, snapshots)}.Build()
	l1 := b.Get("l1_table_offset")
	for i := range uint64(entries) {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], b.Get("l1[0]")&^copied)
	}
	for i := range snapshots {
		b.Set(fmt.Sprintf("snapshot[%d].l1_table_offset", i), l1)
	}
	img, r := openCounted(t, b)
	table, cluster := b.Get("l1[0]")&^copied, b.Get("l2[0][5]")&^copied
	for _, test := range []struct{ offset, references uint64 }{
		{l1, 1 + snapshots}, {table, entries * (1 + snapshots)}, {cluster, entries * (1 + snapshots)},
	} {
		for h, err := range img.Host(t.Context(), qcow2.HostOptions{Offset: test.offset, Length: 1}) {
			if err == nil && h.References != test.references {
				t.Errorf("%d references to the cluster at %#x, want %d", h.References, test.offset, test.references)
			}
		}
	}
	for name, work := range walkAll(t, img) {
		r.bytes = 0
		work()
		// Everything but data is read, the L1 table once for its own entries and
		// once for the L2 table, refcounts twice by check.
		if most := 4 * len(b.Bytes); r.bytes > most {
			t.Errorf("%s reads %d bytes of a file of %d", name, r.bytes, len(b.Bytes))
		}
	}
}

// TestWalkAllocs: what a walk allocates beside its maps does not grow with the
// number of clusters, be they one after the other or all over the file.
func TestWalkAllocs(t *testing.T) {
	for name, stride := range map[string]uint64{"sequential": 1, "random": 12345677} {
		few, fewSize := denseImage(1, stride)
		many, manySize := denseImage(16, stride)
		one, all := walkAll(t, openAs(t, few, fewSize)), walkAll(t, openAs(t, many, manySize))
		for work := range one {
			least, most := testing.AllocsPerRun(3, one[work]), testing.AllocsPerRun(3, all[work])
			if grown := most - least; grown > 100 { // of 122880 clusters more
				t.Errorf("%s, %s: %v allocations for 1 L2 table, %v for 16", name, work, least, most)
			}
		}
	}
}

func BenchmarkWalk(b *testing.B) {
	const tables = 64
	for name, stride := range map[string]uint64{"sequential": 1, "random": 12345677} {
		built, size := denseImage(tables, stride)
		img, err := qcow2.Open(built.Reader(), size)
		if err != nil {
			b.Fatal(err)
		}
		for work, run := range walkAll(b, img) {
			b.Run(name+"/"+work, func(b *testing.B) {
				b.SetBytes(tables << 16)
				b.ReportAllocs()
				for b.Loop() {
					run()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(tables<<13), "ns/cluster")
			})
		}
	}
}
