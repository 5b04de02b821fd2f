package qcow2_test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestHostSharedBitmapTable: an entry of a bitmap table that two bitmaps share
// is a reference of each.
func TestHostSharedBitmapTable(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 4 << 9, Bitmaps: []qcow2test.Bitmap{{Name: "one"}, {Name: "two"}}}.Build()
	data := uint64(len(b.Bytes))
	b.Bytes = append(b.Bytes, make([]byte, 512)...)
	table := b.Get("bitmap[0].table_offset")
	b.Set("bitmap[0].table[0]", data).Set("bitmap[1].table_offset", table)

	img := open(t, b)
	reference := qcow2.HostRange{
		Offset: data, Length: 512, Kind: qcow2.HostBitmapData, HasRefcount: true, References: 2,
		HasReference: true, Reference: qcow2.Reference{Owner: qcow2.OwnerImage, Entry: table},
	}
	at := qcow2.HostOptions{Offset: data, Length: 1}
	if diff := gocmp.Diff([]qcow2.HostRange{reference}, hostRanges(t, img, at)); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	second := reference
	second.Reference.Bitmap = 1
	at.Owners = true
	if diff := gocmp.Diff([]qcow2.HostRange{reference, second}, hostRanges(t, img, at)); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

// TestHostBitmapTables: clusters of two bitmap tables are two runs, even if the
// tables follow each other, and so do the clusters.
func TestHostBitmapTables(t *testing.T) {
	const entries = 64 // a cluster of them
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{{Name: "one"}, {Name: "two"}}}.Build()
	first := uint64(len(b.Bytes))
	b.Bytes = append(b.Bytes, make([]byte, 2*entries<<9)...)
	tables := [2]uint64{b.Get("bitmap[0].table_offset"), b.Get("bitmap[1].table_offset")}
	if tables[1] != tables[0]+1<<9 {
		t.Fatalf("tables at %#x", tables)
	}
	for i := range uint64(2 * entries) {
		binary.BigEndian.PutUint64(b.Bytes[tables[0]+i*8:], first+i<<9)
	}
	b.Set("bitmap[0].table_size", entries).Set("bitmap[1].table_size", entries)
	img := open(t, b)
	var want []qcow2.HostRange
	for i, table := range tables {
		want = append(want, qcow2.HostRange{
			Offset: first + uint64(i)*entries<<9, Length: entries << 9, Kind: qcow2.HostBitmapData, HasRefcount: true, References: 1,
			HasReference: true, Reference: qcow2.Reference{Owner: qcow2.OwnerImage, Entry: table, Bitmap: i},
		})
	}
	o := qcow2.HostOptions{Wanted: func(k qcow2.HostKind) bool { return k == qcow2.HostBitmapData }}
	if diff := gocmp.Diff(want, hostRanges(t, img, o)); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	o.PerCluster = true
	for i, r := range hostRanges(t, img, o) {
		if want := uint64(i % entries); r.Reference.Index != want || r.Reference.Entry != tables[0]+uint64(i)*8 {
			t.Errorf("cluster %d: %+v, want index %d", i, r.Reference, want)
		}
	}
}

// TestHostSnapshotFirst: if a snapshot comes first, the reference is its own, even
// if the L2 table has another index in its L1 table.
func TestHostSnapshotFirst(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 4 << 15, Clusters: kinds{3: data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	b.Set("snapshot[0].l1[2]", b.Get("snapshot[0].l1[0]")).Set("snapshot[0].l1[0]", 0)
	img := open(t, b)
	s, err := img.FindSnapshot("1")
	if err != nil {
		t.Fatal(err)
	}
	entry := b.Field("l2[0][3]").Offset
	for _, test := range []struct {
		first *qcow2.Snapshot
		want  qcow2.Reference
	}{
		{nil, qcow2.Reference{Owner: qcow2.OwnerActive, Entry: entry, Index: 3, GuestOffset: 3 << 9}},
		{&s, qcow2.Reference{Entry: entry, Index: 3, L1Index: 2, GuestOffset: 2<<15 + 3<<9}},
	} {
		got := hostRanges(t, img, qcow2.HostOptions{Snapshot: test.first, Offset: b.Get("l2[0][3]") &^ copied, Length: 1})
		if len(got) != 1 || got[0].Reference != test.want {
			t.Errorf("%+v, want %+v", got, test.want)
		}
	}
}

// TestHostPastAddressSpace: clusters that an L1 table maps past the last guest
// address are not data of the disk, and have no address.
func TestHostPastAddressSpace(t *testing.T) {
	const last = 1 << 25 // the L1 entry that begins at 1 << 64
	b := qcow2test.Image{ClusterBits: 21, Size: 1 << 21, Clusters: kinds{0: data, 1: data}}.Build()
	l1 := uint64(len(b.Bytes))
	entry := binary.BigEndian.AppendUint64(nil, b.Get("l1[0]"))
	b.Set("l1_table_offset", l1).Set("l1_size", last+1)
	file := filepath.Join(t.TempDir(), "image.qcow2")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at, p := range map[uint64][]byte{0: b.Bytes, l1 + last*8: entry} {
		if _, err := f.WriteAt(p, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	img, err := qcow2.OpenFile(file, qcow2.WithLimits(qcow2.NoLimits()))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	var want []qcow2.Reference
	for i := range uint64(2) {
		want = append(want, qcow2.Reference{Owner: qcow2.OwnerActive, Entry: b.Field("l2[0][0]").Offset + i*8, Index: i, L1Index: last, GuestOffset: 1<<64 - 1})
	}
	for _, each := range []bool{false, true} {
		var got []qcow2.Reference
		for _, r := range hostRanges(t, img.Image, qcow2.HostOptions{PerCluster: each, Wanted: func(k qcow2.HostKind) bool { return k == qcow2.HostVMState }}) {
			got = append(got, r.Reference)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("per cluster %v (-want +got):\n%s", each, diff)
		}
	}
}

// TestHostOwnersProblems: with Owners, a problem of one reference to a cluster is
// not reported for the others, except an overlap.
func TestHostOwnersProblems(t *testing.T) {
	const c = 512
	b := qcow2test.Image{ClusterBits: 9, Size: 64 * c, Clusters: kinds{0: data, 1: data, 2: data}}.Build()
	first, table := b.Get("l2[0][0]")&^copied, b.Field("l2[0][0]").Offset
	b.Set("l2[0][1]", first|1<<57).Set("l2[0][2]", table)
	for _, test := range []struct {
		offset uint64
		want   []string
	}{
		{first, []string{"data ", "data reserved-bits"}},
		{first + c, []string{"leaked "}},
		{table, []string{"l2-table overlaps-metadata", "data overlaps-metadata"}},
	} {
		var got []string
		for _, r := range hostRanges(t, open(t, b), qcow2.HostOptions{Owners: true, Offset: test.offset, Length: 1}) {
			got = append(got, fmt.Sprintf("%v %v", r.Kind, r.Problems))
		}
		if diff := gocmp.Diff(test.want, got); diff != "" {
			t.Errorf("cluster %#x (-want +got):\n%s", test.offset, diff)
		}
	}
}

// TestHostWanted: in a file with more free clusters than there is time for, the
// wanted clusters are yielded, and runs do not join across others.
func TestHostWanted(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 64 << 9, Clusters: kinds{0: data, 1: data, 2: zeroAllocated, 3: data}}.Build()
	img, err := qcow2.Open(holeReader(b.Bytes), 1<<50)
	if err != nil {
		t.Fatal(err)
	}
	first := b.Get("l2[0][0]") &^ copied
	for _, test := range []struct {
		each bool
		want []string
	}{
		{false, []string{fmt.Sprintf("%#x+0x400", first), fmt.Sprintf("%#x+0x200", first+3<<9)}},
		{true, []string{fmt.Sprintf("%#x+0x200", first), fmt.Sprintf("%#x+0x200", first+1<<9), fmt.Sprintf("%#x+0x200", first+3<<9)}},
	} {
		var got []string
		for _, r := range hostRanges(t, img, qcow2.HostOptions{PerCluster: test.each, Wanted: func(k qcow2.HostKind) bool { return k == qcow2.HostData }}) {
			got = append(got, fmt.Sprintf("%#x+%#x", r.Offset, r.Length))
		}
		if diff := gocmp.Diff(test.want, got); diff != "" {
			t.Errorf("per cluster %v (-want +got):\n%s", test.each, diff)
		}
	}
}

// TestHostModel compares Host with the model on small random images, healthy and
// damaged: cluster by cluster, in runs, and with all references.
func TestHostModel(t *testing.T) {
	for seed := range uint64(600) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			b := randomHostImage(r).Build()
			if seed%4 != 0 {
				damageTables(r, b)
				damage(r, b) // which may cut the file
			}
			size := int64(len(b.Bytes))
			if seed%8 == 7 {
				size += 2 << 30 // more clusters than have a place of their own
			}
			img, err := qcow2.Open(holeReader(b.Bytes), size)
			if err != nil {
				t.Fatal(err)
			}
			m := newHostModel(t, img, b.Bytes)
			if seed%8 == 7 {
				compareFar(t, img, m)
				return
			}
			want := m.ranges()
			if diff := gocmp.Diff(want, hostRanges(t, img, qcow2.HostOptions{PerCluster: true})); diff != "" {
				t.Fatalf("clusters (-want +got):\n%s", diff)
			}
			if diff := gocmp.Diff(merge(want, m.g), hostRanges(t, img, qcow2.HostOptions{})); diff != "" {
				t.Fatalf("runs (-want +got):\n%s", diff)
			}
			compareOwners(t, img, m)
			compareSnapshotFirst(t, img, m)
		})
	}
}

// compareFar compares the clusters that something refers to, in a file with too
// many to compare all.
func compareFar(t *testing.T, img *qcow2.Image, m *hostModel) {
	t.Helper()
	want := map[uint64]hostRef{}
	for c, refs := range m.refs {
		want[c] = refs[0]
	}
	got := map[uint64]hostRef{}
	end := uint64(0)
	for _, r := range hostRanges(t, img, qcow2.HostOptions{}) {
		if r.Offset != end {
			t.Errorf("a range begins at %#x, the one before ends at %#x", r.Offset, end)
		}
		end = r.Offset + r.Length
		for c := r.Offset / m.g.ClusterSize; r.HasReference && c*m.g.ClusterSize < end; c++ {
			got[c] = hostRef{r.Kind, r.Reference}
			r.Reference = following(r, m.g)
		}
	}
	if end != m.size {
		t.Errorf("the last range ends at %#x, the file at %#x", end, m.size)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}

// compareOwners compares all references of each cluster, in any order, each with
// its problems, and the first few with a limit.
func compareOwners(t *testing.T, img *qcow2.Image, m *hostModel) {
	t.Helper()
	type owned struct {
		Ref      hostRef
		Problems qcow2.Problems
	}
	want, got := map[uint64][]owned{}, map[uint64][]owned{}
	for c, refs := range m.refs {
		for i, ref := range refs {
			want[c] = append(want[c], owned{ref, m.own[c][i] | m.problems[c]&qcow2.OverlapsMetadata})
		}
	}
	for _, r := range hostRanges(t, img, qcow2.HostOptions{Owners: true}) {
		if r.HasReference {
			c := r.Offset / m.g.ClusterSize
			got[c] = append(got[c], owned{hostRef{r.Kind, r.Reference}, r.Problems})
		}
	}
	sorted := func(all map[uint64][]owned) map[uint64][]owned {
		for _, refs := range all {
			slices.SortFunc(refs, func(x, y owned) int {
				a, b := x.Ref, y.Ref
				return cmp.Or(cmp.Compare(a.Owner, b.Owner), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.GuestOffset, b.GuestOffset), cmp.Compare(a.Entry, b.Entry), cmp.Compare(a.L1Index, b.L1Index))
			})
		}
		return all
	}
	if diff := gocmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	limited := map[uint64]int{}
	for _, r := range hostRanges(t, img, qcow2.HostOptions{Owners: true, Limit: 2}) {
		if r.HasReference {
			limited[r.Offset/m.g.ClusterSize]++
		}
	}
	for c, refs := range m.refs {
		if want := min(len(refs), 2); limited[c] != want {
			t.Errorf("cluster %d: %d references with a limit of 2, want %d", c, limited[c], want)
		}
	}
}

// compareSnapshotFirst compares what Host yields for clusters of guest data if a
// snapshot comes first: one of its references, if it has any.
func compareSnapshotFirst(t *testing.T, img *qcow2.Image, m *hostModel) {
	t.Helper()
	for s, err := range img.Snapshots() {
		if err != nil {
			return
		}
		o := qcow2.HostOptions{Snapshot: &s, PerCluster: true, Wanted: func(k qcow2.HostKind) bool { return k >= qcow2.HostData && k <= qcow2.HostVMState }}
		for _, r := range hostRanges(t, img, o) {
			refs := m.refs[r.Offset/m.g.ClusterSize]
			own := slices.DeleteFunc(slices.Clone(refs), func(ref hostRef) bool { return ref.Owner != qcow2.Owner(s.Index) })
			if len(own) == 0 {
				own = refs
			}
			if got := (hostRef{r.Kind, r.Reference}); !slices.Contains(own, got) {
				t.Errorf("snapshot @%d, cluster %#x: %+v, want one of %+v", s.Index, r.Offset, got, own)
			}
		}
	}
}

// randomHostImage is randomImage with refcounts of any width, and snapshots that
// share tables.
func randomHostImage(r *rand.Rand) qcow2test.Image {
	im := randomImage(r)
	if im.Version == 3 {
		im.RefcountBits = 4 << r.UintN(5) // some clusters have up to 5 references
	}
	for i := range im.Snapshots {
		im.Snapshots[i].VMStateSize = r.Uint64N(2)
	}
	if len(im.Snapshots) > 0 && r.UintN(2) == 0 {
		im.Snapshots = append(im.Snapshots, qcow2test.Snapshot{ID: "shared too"})
	}
	return im
}

// damageTables lets L1 tables of snapshots overlap others, and changes refcounts
// and the entries of the refcount table.
func damageTables(r *rand.Rand, b *qcow2test.Built) {
	cluster := uint64(1) << b.Get("cluster_bits")
	values := []uint64{0, 1, 2, uint64(len(b.Bytes)), b.Get("l1_table_offset"), 0x1200}
	for _, f := range b.Fields {
		switch {
		case strings.HasSuffix(f.Name, "].l1_table_offset") && r.UintN(3) == 0:
			b.Set(f.Name, b.Get("l1_table_offset")+r.Uint64N(3)*cluster)
		case strings.HasPrefix(f.Name, "refcount[") && r.UintN(20) == 0, strings.HasPrefix(f.Name, "refcount_table[") && r.UintN(5) == 0:
			b.Set(f.Name, values[r.IntN(len(values))])
		}
	}
}

// TestHostBitmap: bitmap data and tables name their bitmap, also where two bitmaps
// have one table, and after one whose table is empty.
func TestHostBitmap(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{{Name: "none"}, {Name: "one"}, {Name: "two"}, {Name: "also two"}}}.Build()
	b.Set("bitmap[0].table_size", 0)
	b.Set("bitmap[3].table_offset", b.Get("bitmap[2].table_offset"))
	end := uint64(len(b.Bytes))
	b.Bytes = append(b.Bytes, make([]byte, 1024)...)
	b.Set("bitmap[1].table[0]", end).Set("bitmap[2].table[0]", end+512)
	one, two := b.Get("bitmap[1].table_offset"), b.Get("bitmap[2].table_offset")
	want := map[string]bool{
		fmt.Sprintf("%#x is bitmap-table of 1", one): true, fmt.Sprintf("%#x is bitmap-data of 1", end): true,
		fmt.Sprintf("%#x is bitmap-table of 2", two): true, fmt.Sprintf("%#x is bitmap-data of 2", end+512): true,
	}
	for _, owners := range []bool{false, true} {
		if owners {
			want[fmt.Sprintf("%#x is bitmap-table of 3", two)] = true
			want[fmt.Sprintf("%#x is bitmap-data of 3", end+512)] = true
		}
		got := map[string]bool{}
		for r, err := range open(t, b).Host(t.Context(), qcow2.HostOptions{Owners: owners}) {
			if err == nil && (r.Kind == qcow2.HostBitmapTable || r.Kind == qcow2.HostBitmapData) {
				got[fmt.Sprintf("%#x is %s of %d", r.Offset, r.Kind, r.Reference.Bitmap)] = true
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("owners %v (-want +got):\n%s", owners, diff)
		}
	}
}
