package qcow2_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// differences returns what Diff yields as text, a line a difference or an error,
// "0x1000+0x1000 written, from data 0x1a00, to data 0x3000 [data]", and the totals.
func differences(t *testing.T, img *qcow2.Image, o qcow2.DiffOptions) (all []string, totals qcow2.DiffTotals) {
	t.Helper()
	seq, sums := img.Diff(t.Context(), o)
	for d, err := range seq {
		if err != nil {
			all = append(all, rowOrError(t, nil, err))
			continue
		}
		words := fmt.Sprintf("%#x+%#x %v", d.Start, d.Length, d.Change)
		if d.HasFrom {
			_, mapping, _ := strings.Cut(row(&d.From), " ")
			words += ", from " + mapping
		}
		if d.HasTo {
			_, mapping, _ := strings.Cut(row(&d.To), " ")
			words += ", to " + mapping
		}
		if d.Data {
			words += " [data]"
		}
		if d.Zero {
			words += " [zero]"
		}
		all = append(all, words)
	}
	return all, *sums
}

// wantDifferences compares what Diff yields with want.
func wantDifferences(t *testing.T, img *qcow2.Image, o qcow2.DiffOptions, totals qcow2.DiffTotals, want ...string) {
	t.Helper()
	got, sums := differences(t, img, o)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%+v (-want +got):\n%s", o, diff)
	}
	if diff := cmp.Diff(totals, sums); diff != "" {
		t.Errorf("%+v: totals (-want +got):\n%s", o, diff)
	}
}

// diffSnapshot returns the snapshot with an id, nil for "".
func diffSnapshot(t *testing.T, img *qcow2.Image, id string) *qcow2.Snapshot {
	t.Helper()
	if id == "" {
		return nil
	}
	s, err := img.FindSnapshot(id)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

// TestDiffSnapshots has the differences between snapshots of two sizes.
func TestDiffSnapshots(t *testing.T) {
	f, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tests := []struct {
		from, to string
		totals   qcow2.DiffTotals
		want     []string
	}{
		{"1", "2", qcow2.DiffTotals{Changed: 8192, Data: 8192, Ranges: 2, Written: 8192, Dropped: 4096}, []string{
			"0x1000+0x1000 written, from data 0x1a00, to data 0x3000 [data]",
			"0x2000+0x1000 written, from unallocated, to data 0x4000 [data]",
		}},
		{"2", "3", qcow2.DiffTotals{Changed: 1 << 20, Data: 2048, Zero: 1<<20 - 2048, Ranges: 3, Written: 2048}, []string{
			"0x100000+0x80000 grown, to unallocated [zero]",
			"0x180000+0x800 grown, to data 0x5400 [data]",
			"0x180800+0x7f800 grown, to unallocated [zero]",
		}},
		{"3", "", qcow2.DiffTotals{Changed: 2048, Data: 2048, Ranges: 2, Written: 2048, Dropped: 1024}, []string{
			"0x0+0x400 written, from data 0xa00, to data 0x6000 [data]",
			"0x100000+0x400 written, from unallocated, to data 0x6600 [data]",
		}},
		{"1", "", qcow2.DiffTotals{Changed: 1057792, Data: 12288, Zero: 1045504, Ranges: 7, Written: 12288, Dropped: 5120}, []string{
			"0x0+0x400 written, from data 0xa00, to data 0x6000 [data]",
			"0x1000+0x1000 written, from data 0x1a00, to data 0x3000 [data]",
			"0x2000+0x1000 written, from unallocated, to data 0x4000 [data]",
			"0x100000+0x400 grown, to data 0x6600 [data]",
			"0x100400+0x7fc00 grown, to unallocated [zero]",
			"0x180000+0x800 grown, to data 0x5400 [data]",
			"0x180800+0x7f800 grown, to unallocated [zero]",
		}},
		{"", "1", qcow2.DiffTotals{Changed: 1057792, Data: 5120, Zero: 4096, Ranges: 7, Written: 5120, Dropped: 12288}, []string{
			"0x0+0x400 written, from data 0x6000, to data 0xa00 [data]",
			"0x1000+0x1000 written, from data 0x3000, to data 0x1a00 [data]",
			"0x2000+0x1000 zeroed, from data 0x4000, to unallocated [zero]",
			"0x100000+0x400 cut, from data 0x6600",
			"0x100400+0x7fc00 cut, from unallocated",
			"0x180000+0x800 cut, from data 0x5400",
			"0x180800+0x7f800 cut, from unallocated",
		}},
		{"2", "2", qcow2.DiffTotals{}, nil},
		{"", "", qcow2.DiffTotals{}, nil},
	}
	for _, tt := range tests {
		o := qcow2.DiffOptions{From: diffSnapshot(t, f.Image, tt.from), To: diffSnapshot(t, f.Image, tt.to)}
		wantDifferences(t, f.Image, o, tt.totals, tt.want...)
	}
}

// TestDiffRange: a range cuts differences to the byte.
func TestDiffRange(t *testing.T) {
	f, err := qcow2.OpenFile("../../testdata/images/snapshots.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := qcow2.DiffOptions{From: diffSnapshot(t, f.Image, "1"), To: diffSnapshot(t, f.Image, "2"), Offset: 0x1201, Length: 0xe02}
	wantDifferences(t, f.Image, o, qcow2.DiffTotals{Changed: 0xe02, Data: 0xe02, Ranges: 2, Written: 8 * 512, Dropped: 7 * 512},
		"0x1201+0xdff written, from data 0x1c01, to data 0x3201 [data]",
		"0x2000+0x3 written, from unallocated, to data 0x4000 [data]")
	o.Offset, o.Length, o.All = 0xfff, 2, true
	wantDifferences(t, f.Image, o, qcow2.DiffTotals{Changed: 1, Data: 1, Ranges: 1, Written: 512, Dropped: 512},
		"0xfff+0x1 same, from data 0x19ff, to data 0x19ff [data]",
		"0x1000+0x1 written, from data 0x1a00, to data 0x3000 [data]")
	o.Offset, o.Length = 1<<20, 0
	wantDifferences(t, f.Image, o, qcow2.DiffTotals{})
}

// TestDiffReads: of an image of 1 TiB whose snapshot shares all L2 tables but one,
// both L1 tables are read, and the two tables that differ. The others cannot be.
func TestDiffReads(t *testing.T) {
	const cluster, tables, changed = 1 << 16, 2048, 1234
	b := qcow2test.Image{
		Size: tables << 29, Clusters: kinds{changed<<13 + 9: data},
		Snapshots: []qcow2test.Snapshot{{ID: "1", DiskSize: tables << 29, Clusters: kinds{changed<<13 + 8: zero}}},
	}.Build()
	end := uint64(len(b.Bytes)+cluster-1) &^ (cluster - 1)
	for i := range uint64(tables) {
		if i != changed {
			b.Set(fmt.Sprintf("l1[%d]", i), end+i*cluster|copied).Set(fmt.Sprintf("snapshot[0].l1[%d]", i), end+i*cluster)
		}
	}
	r := &countingReader{ReaderAt: b.Reader()}
	img, err := qcow2.Open(r, int64(end+tables*cluster))
	if err != nil {
		t.Fatal(err)
	}
	s := diffSnapshot(t, img, "1")
	r.calls, r.bytes = 0, 0
	wantDifferences(t, img, qcow2.DiffOptions{From: s}, qcow2.DiffTotals{Changed: cluster, Data: cluster, Ranges: 1, Written: cluster},
		fmt.Sprintf("%#x+0x10000 written, from unallocated, to data %#x [data]", changed<<29+9<<16, b.Get("l2[1234][9]")&^copied))
	if r.calls != 4 || r.bytes != 2*tables*8+2*cluster {
		t.Errorf("%d reads of %d bytes, want 4 of %d", r.calls, r.bytes, 2*tables*8+2*cluster)
	}
}

// TestDiffVMState: VM state is no difference, but is counted.
func TestDiffVMState(t *testing.T) {
	const perTable = 64 // clusters
	b := qcow2test.Image{
		ClusterBits: 9, Size: 4 << 9, Clusters: kinds{0: data, perTable: data, perTable + 1: data, perTable + 2: data},
		Snapshots: []qcow2test.Snapshot{{ID: "vm", DiskSize: 4 << 9, Clusters: kinds{0: data, perTable: data}}, {ID: "all"}},
	}.Build()
	img := open(t, b)
	vm, all := diffSnapshot(t, img, "vm"), diffSnapshot(t, img, "all")
	row := fmt.Sprintf("0x0+0x200 written, from data %#x, to data %#x [data]", b.Get("snapshot[0].l2[0][0]")&^copied, b.Get("l2[0][0]")&^copied)
	wantDifferences(t, img, qcow2.DiffOptions{From: vm},
		qcow2.DiffTotals{Changed: 512, Data: 512, Ranges: 1, Written: 512, Dropped: 512, VMStateWritten: 3 * 512, VMStateDropped: 512}, row)
	wantDifferences(t, img, qcow2.DiffOptions{From: vm, Length: 512},
		qcow2.DiffTotals{Changed: 512, Data: 512, Ranges: 1, Written: 512, Dropped: 512}, row)
	wantDifferences(t, img, qcow2.DiffOptions{From: all}, qcow2.DiffTotals{})
}

// TestDiffDamage: what is damaged on either side is unknown, and said once. Tables
// that both sides share are not looked at.
func TestDiffDamage(t *testing.T) {
	const perTable, n = 64, 3
	base := func() *qcow2test.Built {
		return qcow2test.Image{
			ClusterBits: 9, Size: n * perTable << 9, Clusters: kinds{0: data, perTable: data, 2 * perTable: data},
			Snapshots: []qcow2test.Snapshot{{ID: "own", DiskSize: n * perTable << 9, Clusters: kinds{0: zero, perTable: zero}}, {ID: "all"}},
		}.Build()
	}
	at := func(b *qcow2test.Built, field string) uint64 { return b.Field(field).Offset }
	lostFrom := func(b *qcow2test.Built, err string) []string {
		all := []string{err}
		for i := range uint64(n) {
			all = append(all, fmt.Sprintf("%#x+0x200 unknown, to data %#x", i<<15, b.Get(fmt.Sprintf("l2[%d][0]", i))&^copied), fmt.Sprintf("%#x+0x7e00 unknown, to unallocated", i<<15+512))
		}
		return all
	}
	tests := map[string]struct {
		damage  func(b *qcow2test.Built)
		unknown uint64
		want    func(b *qcow2test.Built) []string
	}{
		"an entry": {
			func(b *qcow2test.Built) { b.Set("l2[1][0]", 0x201) }, 512,
			func(b *qcow2test.Built) []string {
				return []string{
					fmt.Sprintf("0x0+0x200 written, from zero, to data %#x [data]", b.Get("l2[0][0]")&^copied),
					"0x8000+0x200 unknown, from zero, to zero-allocated 0x200 overlaps-metadata",
					fmt.Sprintf("0x10000+0x200 written, from unallocated, to data %#x [data]", b.Get("l2[2][0]")&^copied),
				}
			},
		},
		"an L2 table of TO": {
			func(b *qcow2test.Built) { b.Set("l1[1]", 1<<40) }, perTable << 9,
			func(b *qcow2test.Built) []string {
				return []string{
					fmt.Sprintf("truncated: L1 table at offset %#x: entry 1 points to an L2 table at 0x10000000000, but the file ends at %#x", at(b, "l1[1]"), len(b.Bytes)),
					fmt.Sprintf("0x0+0x200 written, from zero, to data %#x [data]", b.Get("l2[0][0]")&^copied),
					"0x8000+0x200 unknown, from zero",
					"0x8200+0x7e00 unknown, from unallocated",
					fmt.Sprintf("0x10000+0x200 written, from unallocated, to data %#x [data]", b.Get("l2[2][0]")&^copied),
				}
			},
		},
		"the L1 table of FROM": {
			func(b *qcow2test.Built) { b.Set("snapshot[0].l1_table_offset", 1<<40) }, n * perTable << 9,
			func(b *qcow2test.Built) []string {
				return lostFrom(b, fmt.Sprintf("truncated: L1 table at offset %#x: the table lies at 0x10000000000, but the file ends at %#x", at(b, "snapshot[0].l1_table_offset"), len(b.Bytes)))
			},
		},
		"where the L1 table of FROM is": {
			func(b *qcow2test.Built) { b.Set("snapshot[0].l1_table_offset", 0x201) }, n * perTable << 9,
			func(b *qcow2test.Built) []string {
				return lostFrom(b, fmt.Sprintf("corrupt: snapshot table at offset %#x: the L1 table offset 0x201 of entry 0 is not a multiple of the cluster size 0x200", at(b, "snapshot[0].l1_table_offset")))
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := base()
			tt.damage(b)
			img := open(t, b)
			got, totals := differences(t, img, qcow2.DiffOptions{From: diffSnapshot(t, img, "own")})
			if diff := cmp.Diff(tt.want(b), got); diff != "" || totals.Unknown != tt.unknown {
				t.Errorf("%d bytes are unknown, want %d (-want +got):\n%s", totals.Unknown, tt.unknown, diff)
			}
		})
	}
	// The disk of FROM is smaller, and its L1 table is lost.
	seq, totals := open(t, base()).Diff(t.Context(), qcow2.DiffOptions{From: &qcow2.Snapshot{DiskSize: perTable << 9, L1TableOffset: 1, L1Size: 1}})
	for range seq {
	}
	if totals.Unknown != perTable<<9 || totals.Changed != n*perTable<<9 {
		t.Errorf("without the L1 table of a smaller disk: %+v", totals)
	}
	// It is said also where it would be of no use.
	got, totals2 := differences(t, open(t, base()), qcow2.DiffOptions{From: &qcow2.Snapshot{L1TableOffset: 1, L1Size: 1}, Offset: n * perTable << 9})
	if len(got) != 1 || !totals2.Incomplete || totals2.Changed != 0 {
		t.Errorf("without the L1 table of a disk of no size: %q, %+v", got, totals2)
	}
}

// TestDiffSharedDamage: damage in a table that both sides share is not looked at,
// unless all is wanted.
func TestDiffSharedDamage(t *testing.T) {
	b := qcow2test.Image{
		ClusterBits: 9, Size: 128 << 9, Clusters: kinds{64: data}, Snapshots: []qcow2test.Snapshot{{ID: "all"}},
		Patches: map[string]uint64{"l2[1][0]": 0x201},
	}.Build()
	img := open(t, b)
	all := diffSnapshot(t, img, "all")
	wantDifferences(t, img, qcow2.DiffOptions{From: all}, qcow2.DiffTotals{})
	got, totals := differences(t, img, qcow2.DiffOptions{From: all, All: true, Offset: 1 << 15, Length: 512})
	want := []string{"0x8000+0x200 unknown, from zero-allocated 0x200, to zero-allocated 0x200 overlaps-metadata"}
	if diff := cmp.Diff(want, got); diff != "" || totals.Unknown != 512 {
		t.Errorf("%+v (-want +got):\n%s", totals, diff)
	}
}

// TestDiffErrorsOnce: the error of an L1 entry whose table takes several looks is
// yielded once.
func TestDiffErrorsOnce(t *testing.T) {
	im := qcow2test.Image{ClusterBits: 17, Size: 1 << 32, Clusters: kinds{}, Subclusters: map[uint64]uint64{}, IncompatibleFeatures: 1 << 4, Snapshots: []qcow2test.Snapshot{{ID: "1", DiskSize: 1 << 32, Clusters: kinds{0: zero}}}}
	for i := range uint64(800) { // of 32 mappings each
		im.Clusters[i], im.Subclusters[i] = zero, 0x55555555<<32
	}
	b := im.Build()
	b.Set("l1[0]", b.Get("l1[0]")|1)
	img := open(t, b)
	got, totals := differences(t, img, qcow2.DiffOptions{From: diffSnapshot(t, img, "1"), All: true})
	want := fmt.Sprintf("corrupt, but readable: L1 table at offset %#x: entry 0 has reserved bits 0x1", b.Field("l1[0]").Offset)
	n := 0
	for _, s := range got {
		if strings.Contains(s, "L1 table") {
			if n++; s != want {
				t.Errorf("%s, want %s", s, want)
			}
		}
	}
	if n != 1 || len(got) < 25000 || totals != (qcow2.DiffTotals{Incomplete: true}) {
		t.Errorf("%d errors in %d lines, %+v", n, len(got), totals)
	}
}

// TestDiffLargestDisk: nothing wraps around at the end of a disk of 2^64−1 bytes,
// and what no L1 entry maps takes no time.
func TestDiffLargestDisk(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 21, L1Size: 1, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	b.Set("size", math.MaxUint64).Set("l1_table_offset", uint64(len(b.Bytes))).Set("l1_size", 1<<25+1<<10).Set("snapshot[0].disk_size", 1<<50)
	img, err := qcow2.Open(holeReader(b.Bytes), 1<<40, qcow2.WithLimits(qcow2.NoLimits()))
	if err != nil {
		t.Fatal(err)
	}
	const size = math.MaxUint64 &^ 511
	s := diffSnapshot(t, img, "1")
	s.L1TableOffset, s.L1Size = 1<<30, 1<<11
	wantDifferences(t, img, qcow2.DiffOptions{From: s}, qcow2.DiffTotals{Changed: size - 1<<50, Zero: size - 1<<50, Ranges: 1}, fmt.Sprintf("0x4000000000000+%#x grown, to unallocated [zero]", uint64(size-1<<50)))
	s.L1Size = 1
	// Without the L1 entries that the snapshot needs.
	got, totals := differences(t, img, qcow2.DiffOptions{From: s, Offset: 1 << 49})
	if want := uint64(size - 1<<49); totals.Changed != want || totals.Unknown != 1<<49 || len(got) != 3 {
		t.Errorf("%d lines, %+v: %.500q", len(got), totals, got)
	}
}

// TestDiffStops leaves the sequence after each of its first items, and ends it with
// the context.
func TestDiffStops(t *testing.T) {
	img := open(t, mixedImage())
	o := qcow2.DiffOptions{All: true}
	all, want := differences(t, img, o)
	for n := range len(all) {
		seq, _ := img.Diff(t.Context(), o)
		i := 0
		for range seq {
			if i++; i > n {
				break
			}
		}
	}
	again, totals := differences(t, img, o)
	if diff := cmp.Diff(all, again); diff != "" || totals != want {
		t.Errorf("second time %+v (-first +second):\n%s", totals, diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seq, _ := img.Diff(ctx, o)
	errs := 0
	for d, err := range seq {
		if cancel(); d == nil && err == context.Canceled { //nolint:errorlint // it is not wrapped
			errs++
		}
	}
	if errs != 1 {
		t.Errorf("the error of the context came %d times", errs)
	}
}

// TestDiffAllocs: what a diff allocates grows with the tables that it reads, not
// with what it yields.
func TestDiffAllocs(t *testing.T) {
	const tables = 16
	b, size := denseImage(tables, 12345677)
	img := openAs(t, b, size)
	for name, o := range map[string]qcow2.DiffOptions{
		"the same": {All: true},
		"grown":    {From: &qcow2.Snapshot{}},
	} {
		rows := 0
		n := testing.AllocsPerRun(3, func() {
			rows = 0
			seq, _ := img.Diff(t.Context(), o)
			for _, err := range seq {
				if err != nil {
					t.Fatal(err)
				}
				rows++
			}
		})
		if rows != tables<<13 || n > 8*tables+64 {
			t.Errorf("%s: %v allocations for %d rows of %d tables", name, n, rows, tables)
		}
	}
}
