package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestSharedStructures: L1 tables that share clusters with each other and with
// the refcount table are counted for each, listed for each, and belong to each.
func TestSharedStructures(t *testing.T) {
	const c = 512
	im := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, L1Size: 4 * c / 8, Snapshots: make([]qcow2test.Snapshot, 3)}
	for i := range im.Snapshots {
		im.Snapshots[i].ID = fmt.Sprint(i)
	}
	b := im.Build()
	l1 := b.Get("l1_table_offset")
	for i, first := range []uint64{1, 2, 4} { // clusters 0 to 3 are those of the active table
		b.Set(fmt.Sprintf("snapshot[%d].l1_table_offset", i), l1+first*c).Set(fmt.Sprintf("snapshot[%d].l1_size", i), 2*c/8)
	}
	b.Set("refcount_table_offset", l1+5*c)
	img := open(t, b)
	owners := map[uint64][]qcow2.Owner{}
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{Owners: true}) {
		if err == nil && r.HasReference {
			owners[r.Offset] = append(owners[r.Offset], r.Reference.Owner)
			if uint64(len(owners[r.Offset])) > r.References {
				t.Errorf("cluster %#x has more than its %d references", r.Offset, r.References)
			}
		}
	}
	for i, want := range []string{"[active]", "[active @0]", "[active @0 @1]", "[active @1]", "[@2]", "[image @2]"} {
		at := l1 + uint64(i)*c
		if got := fmt.Sprint(owners[at]); got != want {
			t.Errorf("cluster %d of the tables: owners %s, want %s", i, got, want)
		}
		for r := range img.Host(t.Context(), qcow2.HostOptions{Offset: at, Length: 1}) {
			if r != nil && r.References != uint64(len(owners[at])) || r != nil && (r.Problems != 0) != (r.References > 1) {
				t.Errorf("cluster %d of the tables: %d references, problems %v", i, r.References, r.Problems)
			}
		}
	}
	usage, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][2]uint64{{4, 1}, {2, 0}, {2, 0}, {2, 2}} { // the image itself owns nothing
		if o := usage.Owners[i]; o.Referenced != want[0]*c || o.Exclusive != want[1]*c {
			t.Errorf("%+v, want %d clusters, %d of them exclusive", o, want[0], want[1])
		}
	}
}

// TestOverlappingL1Tables: each cluster of L1 tables that overlap at random is
// listed for the tables that it is in, and counted for their owners.
func TestOverlappingL1Tables(t *testing.T) {
	const c, n, clusters = 512, 40, 64
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 4))
		b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, L1Size: clusters * c / 8, Snapshots: make([]qcow2test.Snapshot, n)}.Build()
		l1 := b.Get("l1_table_offset")
		var want [clusters][]qcow2.Owner
		referenced := make([]uint64, n)
		for cluster := range want {
			want[cluster] = []qcow2.Owner{qcow2.OwnerActive}
		}
		for i := range n {
			entries := 1 + r.Uint64N(clusters*c/8>>r.Uint64N(6))
			first := r.Uint64N(clusters - (entries*8-1)/c)
			b.Set(fmt.Sprintf("snapshot[%d].l1_table_offset", i), l1+first*c).Set(fmt.Sprintf("snapshot[%d].l1_size", i), entries)
			for k := range (entries*8-1)/c + 1 {
				want[first+k] = append(want[first+k], qcow2.Owner(i))
				referenced[i] += c
			}
		}
		img := open(t, b)
		var got [clusters][]qcow2.Owner
		for r := range img.Host(t.Context(), qcow2.HostOptions{Offset: l1, Length: clusters * c, Owners: true}) {
			if r != nil {
				cluster := (r.Offset - l1) / c
				got[cluster] = append(got[cluster], r.Reference.Owner)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("seed %d: owners (-want +got):\n%s", seed, diff)
		}
		usage, err := img.Usage(t.Context(), qcow2.UsageOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range usage.Owners[1:] {
			if o.Referenced != referenced[i] {
				t.Errorf("seed %d: %+v, want %d bytes", seed, o, referenced[i])
			}
		}
	}
}

// TestOneL1TableOfManySnapshots: the cost does not grow with snapshots times
// clusters.
func TestOneL1TableOfManySnapshots(t *testing.T) {
	const n, entries = 65536, 1 << 20 // 16384 clusters, which would be counted 1 << 30 times
	b := qcow2test.Image{ClusterBits: 9, Size: 512, L1Size: entries, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	l1, table := b.Get("l1_table_offset"), b.Get("snapshots_offset")
	b.Set("snapshot[0].l1_table_offset", l1).Set("snapshot[0].l1_size", entries)
	entry := b.Bytes[table:][:72]
	b.Set("snapshots_offset", uint64(len(b.Bytes))).Set("nb_snapshots", n)
	for range n {
		b.Bytes = append(b.Bytes, entry...)
	}
	img := open(t, b)
	var overlaps []string
	result, err := img.Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
		if f.Kind == qcow2.FindingOverlap {
			overlaps = append(overlaps, finding(f))
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("error overlaps-metadata %#x +%#x refcount 1 references %d l1-table of -1 from 0x28", l1, entries*8, n+1)}
	if diff := cmp.Diff(want, overlaps); diff != "" || result.Corruptions < entries*8/512 {
		t.Errorf("%d corruptions (-want +got):\n%s", result.Corruptions, diff)
	}
	usage, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil || len(usage.Owners) != n+1 || usage.Owners[n].Shared != entries*8 {
		t.Errorf("%d owners, %v", len(usage.Owners), err)
	}
}

// TestRefcountBlockManyTimes: one block for clusters all over a sparse file takes
// no memory for those clusters.
func TestRefcountBlockManyTimes(t *testing.T) {
	const n = 8192
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, RefcountBits: 1, Clusters: kinds{0: data}}.Build()
	block := b.Get("refcount_table[0]")
	for i := range b.Bytes[block:][:512] {
		b.Bytes[int(block)+i] = 0xff
	}
	b.Set("refcount_table_offset", uint64(len(b.Bytes))).Set("refcount_table_clusters", n*8/512)
	for range n {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, block)
	}
	img, err := qcow2.Open(holeReader(b.Bytes), n*4096*512)
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	result, err := img.Check(t.Context(), qcow2.CheckOptions{})
	runtime.ReadMemStats(&after)
	if err != nil || result.Leaks < n*4095 || result.ImageEndOffset != n*4096*512 {
		t.Errorf("%+v, %v", result, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 8<<20 {
		t.Errorf("%d bytes allocated for %d clusters", got, n*4096)
	}
}

// TestStructuresInHoles: L1 tables of terabytes in a hole, as snapshots can claim
// them, take no memory for their clusters, whether they overlap or not.
func TestStructuresInHoles(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("holes are not looked for")
	}
	const (
		n       = 1024
		entries = 4 << 20 // 32 MiB
		start   = 1 << 30
	)
	for name, distance := range map[string]uint64{"apart": entries * 8, "overlapping": entries * 4} {
		b := qcow2test.Image{ClusterBits: 9, Size: 1 << 15, Clusters: kinds{0: data}, Snapshots: make([]qcow2test.Snapshot, n)}.Build()
		for i := range uint64(n) {
			b.Set(fmt.Sprintf("snapshot[%d].l1_table_offset", i), start+i*distance).Set(fmt.Sprintf("snapshot[%d].l1_size", i), entries)
		}
		size := start + (n-1)*distance + entries*8
		img, err := qcow2.OpenFile(sparseFile(t, b, int64(size)))
		if err != nil {
			t.Fatal(err)
		}
		defer img.Close()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		claimed := uint64(0)
		result, err := img.Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
			if f.Offset >= start {
				claimed += f.Length
			}
			return true
		}})
		if err != nil || claimed != size-start || result.Corruptions < claimed/512 {
			t.Errorf("%s: %d bytes are wrong of %d, %+v, %v", name, claimed, size-start, result, err)
		}
		usage, err := img.Usage(t.Context(), qcow2.UsageOptions{})
		if err != nil || usage.Kinds[qcow2.HostL1Table].Bytes < size-start || len(usage.Owners) != n+1 {
			t.Errorf("%s: %+v, %v", name, usage.Kinds[qcow2.HostL1Table], err)
		}
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
			t.Errorf("%s: %d bytes allocated for %d clusters", name, got, (size-start)/512)
		}
	}
}
