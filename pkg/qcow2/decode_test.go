package qcow2_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// decoded returns the entries of a table, and what is wrong with it, as lines.
func decoded(t *testing.T, img *qcow2.Image, table *qcow2.Table, o qcow2.DecodeOptions) []string {
	t.Helper()
	var lines []string
	for e, err := range img.Decode(t.Context(), table, o) {
		if err != nil {
			lines = append(lines, err.Error())
			continue
		}
		lines = append(lines, entryLine(e))
	}
	return lines
}

// entryLine returns an entry in a line.
func entryLine(e *qcow2.TableEntry) string {
	line := fmt.Sprintf("%#x.%d [%d]*%d %#x+%#x", e.Offset, e.Bit, e.Index, e.Count, e.Value, e.Step)
	if e.Field != "" {
		return fmt.Sprintf("%s %s size %d %x %q", line, e.Field, e.Size, e.Bytes, e.Text)
	}
	line += fmt.Sprintf(" %s", e.Kind)
	if e.HasBitmap {
		line += fmt.Sprintf(" bitmap %#x", e.Bitmap)
	}
	if e.HasHost {
		line += fmt.Sprintf(" host %#x", e.HostOffset)
	}
	if e.Flags != 0 {
		line += fmt.Sprintf(" flags %#x", uint8(e.Flags))
	}
	if e.HasRefcount {
		line += fmt.Sprintf(" refcount %d", e.Refcount)
	}
	if e.HasGuest {
		line += fmt.Sprintf(" guest %#x", e.GuestOffset)
	}
	if e.HasLength {
		line += fmt.Sprintf(" length %d", e.Length)
	}
	if e.Sectors > 0 {
		line += fmt.Sprintf(" sectors %d", e.Sectors)
	}
	if e.HasDirty {
		line += fmt.Sprintf(" dirty %d", e.Dirty)
	}
	if e.Reserved != 0 {
		line += fmt.Sprintf(" reserved %#x", e.Reserved)
	}
	if e.Problems != 0 {
		line += " " + e.Problems.String()
	}
	return line
}

// find returns the table that a selector selects.
func find(t *testing.T, img *qcow2.Image, s qcow2.TableSelector) *qcow2.Table {
	t.Helper()
	table, err := img.FindTable(s)
	if err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return table
}

// TestDecode holds what the tables of an image that QEMU made say.
func TestDecode(t *testing.T) {
	img, err := qcow2.OpenFile("../../testdata/images/tables.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	one, err := img.FindSnapshot("one")
	if err != nil {
		t.Fatal(err)
	}
	b1, err := img.FindBitmap("b1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		s    qcow2.TableSelector
		o    qcow2.DecodeOptions
		want []string
	}{
		{"L1", qcow2.TableSelector{Kind: qcow2.HostL1Table}, qcow2.DecodeOptions{}, []string{
			"0x3000.0 [0]*1 0x8000000000018000+0x0 l2-table host 0x18000 flags 0x1 refcount 1 guest 0x0 length 2097152",
			"0x3008.0 [1]*1 0x800000000001c000+0x0 l2-table host 0x1c000 flags 0x1 refcount 1 guest 0x200000 length 2097152",
		}},
		{"L1 of a snapshot", qcow2.TableSelector{Kind: qcow2.HostL1Table, Snapshot: &one}, qcow2.DecodeOptions{Zeros: true}, []string{
			"0x16000.0 [0]*1 0x8000000000004000+0x0 l2-table host 0x4000 flags 0x1 refcount 1 guest 0x0 length 2097152",
			"0x16008.0 [1]*1 0x0+0x0 unallocated guest 0x200000 length 2097152",
		}},
		{"L2", qcow2.TableSelector{Kind: qcow2.HostL2Table}, qcow2.DecodeOptions{}, []string{
			"0x18000.0 [0]*1 0x5000+0x0 data host 0x5000 refcount 2 guest 0x0 length 4096",
			"0x18008.0 [1]*1 0x8000000000019000+0x0 data host 0x19000 flags 0x1 refcount 1 guest 0x1000 length 4096",
			"0x18010.0 [2]*1 0x7001+0x0 zero-allocated host 0x7000 flags 0x2 refcount 2 guest 0x2000 length 4096",
			"0x18018.0 [3]*13 0x8000+0x1000 data host 0x8000 refcount 2 guest 0x3000 length 53248",
			"0x18080.0 [16]*2 0x1+0x0 zero flags 0x2 guest 0x10000 length 8192",
			"0x18100.0 [32]*1 0x4000000000015000+0x0 compressed host 0x15000 flags 0x4 refcount 4 guest 0x20000 length 4096 sectors 1",
			"0x18108.0 [33]*1 0x4000000000015016+0x0 compressed host 0x15016 flags 0x4 refcount 4 guest 0x21000 length 4096 sectors 1",
		}},
		{"L2 of a snapshot", qcow2.TableSelector{Kind: qcow2.HostL2Table, Snapshot: &one}, qcow2.DecodeOptions{}, []string{
			"0x4000.0 [0]*1 0x5000+0x0 data host 0x5000 refcount 2 guest 0x0 length 4096",
			"0x4008.0 [1]*1 0x6000+0x0 data host 0x6000 refcount 1 guest 0x1000 length 4096",
			"0x4010.0 [2]*14 0x7000+0x1000 data host 0x7000 refcount 2 guest 0x2000 length 57344",
			"0x4080.0 [16]*2 0x1+0x0 zero flags 0x2 guest 0x10000 length 8192",
			"0x4100.0 [32]*1 0x4000000000015000+0x0 compressed host 0x15000 flags 0x4 refcount 4 guest 0x20000 length 4096 sectors 1",
			"0x4108.0 [33]*1 0x4000000000015016+0x0 compressed host 0x15016 flags 0x4 refcount 4 guest 0x21000 length 4096 sectors 1",
		}},
		{"refcount table", qcow2.TableSelector{Kind: qcow2.HostRefcountTable}, qcow2.DecodeOptions{Zeros: true}, []string{
			"0x1000.0 [0]*1 0x2000+0x0 refcount-block host 0x2000 refcount 1",
			"0x1008.0 [1]*511 0x0+0x0 unallocated",
		}},
		{"refcount block", qcow2.TableSelector{Kind: qcow2.HostRefcountBlock}, qcow2.DecodeOptions{}, []string{
			"0x2000.0 [0]*5 0x1+0x0 none host 0x0 refcount 1 length 20480",
			"0x200a.0 [5]*1 0x2+0x0 none host 0x5000 refcount 2 length 4096",
			"0x200c.0 [6]*1 0x1+0x0 none host 0x6000 refcount 1 length 4096",
			"0x200e.0 [7]*14 0x2+0x0 none host 0x7000 refcount 2 length 57344",
			"0x202a.0 [21]*1 0x4+0x0 none host 0x15000 refcount 4 length 4096",
			"0x202c.0 [22]*4 0x1+0x0 none host 0x16000 refcount 1 length 16384",
			"0x2038.0 [28]*5 0x1+0x0 none host 0x1c000 refcount 1 length 20480",
		}},
		{"bitmap table", qcow2.TableSelector{Kind: qcow2.HostBitmapTable, Bitmap: &b1}, qcow2.DecodeOptions{}, []string{
			"0x1f000.0 [0]*1 0x1e000+0x0 stored host 0x1e000 refcount 1 guest 0x0 length 4194304 dirty 4096",
		}},
		{"bitmap data", qcow2.TableSelector{Kind: qcow2.HostBitmapData, Bitmap: &b1}, qcow2.DecodeOptions{Zeros: true}, []string{
			"0x1e000.0 [0]*768 0x0+0x0 clean guest 0x0 length 3145728 dirty 0",
			"0x1e060.0 [768]*1 0x1+0x0 dirty guest 0x300000 length 4096 dirty 4096",
			"0x1e060.1 [769]*31999 0x0+0x0 clean guest 0x301000 length 1044480 dirty 0",
		}},
		{"bitmap directory", qcow2.TableSelector{Kind: qcow2.HostBitmapDirectory}, qcow2.DecodeOptions{}, []string{
			`0x20000.0 [0]*1 0x1f000+0x0 bitmap_table_offset size 8 000000000001f000 ""`,
			`0x20008.0 [0]*1 0x1+0x0 bitmap_table_size size 4 00000001 ""`,
			`0x2000c.0 [0]*1 0x2+0x0 flags size 4 00000002 ""`,
			`0x20010.0 [0]*1 0x1+0x0 type size 1 01 ""`,
			`0x20011.0 [0]*1 0xc+0x0 granularity_bits size 1 0c ""`,
			`0x20012.0 [0]*1 0x2+0x0 name_size size 2 0002 ""`,
			`0x20014.0 [0]*1 0x0+0x0 extra_data_size size 4 00000000 ""`,
			`0x20018.0 [0]*1 0x6231+0x0 name size 2 6231 "b1"`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			table := find(t, img.Image, tt.s)
			if diff := cmp.Diff(tt.want, decoded(t, img.Image, table, tt.o)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestDecodeRecords: the fields of the records are those that the builder wrote, and
// lie where it wrote them.
func TestDecodeRecords(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 16, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}, Snapshots: []qcow2test.Snapshot{
		{ID: "1", Name: "first", Seconds: 7, Nanoseconds: 8, VMClock: 9, VMStateSize: 10, ICount: 11},
		{ID: "22", Name: "second", UnknownExtra: []byte("12345678")},
	}}.Build()
	img := openAs(t, b, int64(len(b.Bytes)))
	names := map[string]string{"id_str_size": "id_size"} // the builder's word
	fields := map[string]qcow2.TableEntry{}
	for _, kind := range []qcow2.HostKind{qcow2.HostHeader, qcow2.HostSnapshotTable} {
		for e, err := range img.Decode(t.Context(), find(t, img, qcow2.TableSelector{Kind: kind}), qcow2.DecodeOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			name := e.Field
			if n, ok := names[name]; ok {
				name = n
			}
			if kind == qcow2.HostSnapshotTable {
				name = fmt.Sprintf("snapshot[%d].%s", e.Index, name)
			}
			fields[name] = *e
		}
	}
	n := 0
	for _, f := range b.Fields {
		if e, ok := fields[f.Name]; ok {
			n++
			if e.Offset != f.Offset || e.Size != uint64(f.Size) || e.Value != b.Get(f.Name) {
				t.Errorf("%s: %s, want %#x at %#x", f.Name, entryLine(&e), b.Get(f.Name), f.Offset)
			}
		}
	}
	if n < 40 {
		t.Errorf("%d fields compared", n)
	}
	for name, want := range map[string]string{"snapshot[0].id": "1", "snapshot[0].name": "first", "snapshot[1].id": "22", "snapshot[1].name": "second"} {
		if got := fields[name].Text; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if e := fields["snapshot[1].unknown_extra_data"]; e.Size != 8 || e.Value != 0x3132333435363738 {
		t.Errorf("unknown extra data: %s", entryLine(&e))
	}
}

// TestFindTable holds why a table is not found.
func TestFindTable(t *testing.T) {
	im := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 9}}}
	l2 := qcow2.TableSelector{Kind: qcow2.HostL2Table}
	at := func(s qcow2.TableSelector, i uint64) qcow2.TableSelector { s.Index = i; return s }
	tests := []struct {
		name   string
		change func(*qcow2test.Built)
		s      qcow2.TableSelector
		kind   error
		want   string
	}{
		{"no entry", nil, at(l2, 64), qcow2.ErrNoTable, "no such table: the L1 table has 32 entries"},
		{"entry 0", nil, at(l2, 1), qcow2.ErrNoTable, "no such table: entry 1 of the L1 table, at 0x608, is 0x0 and points to none"},
		{"past the end", func(b *qcow2test.Built) { b.Set("l1[0]", 1<<40) }, l2, qcow2.ErrTruncated, "L1 table at offset 0x600: entry 0 points to an L2 table at 0x10000000000, but the file ends at 0x1000"},
		{"no snapshots", nil, qcow2.TableSelector{Kind: qcow2.HostSnapshotTable}, qcow2.ErrNoTable, "no such table: the image has no snapshots"},
		{"no such kind", nil, qcow2.TableSelector{Kind: qcow2.HostData}, qcow2.ErrNoTable, "no such table: data cannot be decoded"},
		{"unaligned L1", func(b *qcow2test.Built) { b.Set("l1_table_offset", 0x201) }, qcow2.TableSelector{Kind: qcow2.HostL1Table}, qcow2.ErrCorrupt,
			"header at offset 0x28: l1_table_offset 0x201 is not a multiple of the cluster size 0x200"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := im.Build()
			if tt.change != nil {
				tt.change(b)
			}
			_, err := openAs(t, b, int64(len(b.Bytes))).FindTable(tt.s)
			if !errors.Is(err, tt.kind) || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

// TestDecodeAs decodes clusters as kinds that they are not.
func TestDecodeAs(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data}}.Build()
	data := b.Get("l2[0][0]") &^ (1 << 63)
	img := openAs(t, b, int64(len(b.Bytes)))
	copy(b.Bytes[data:], "\x80\x00\x00\x00\x00\x00\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x02")
	want := []string{
		fmt.Sprintf("%#x.0 [0]*1 0x8000000000000200+0x0 data host 0x200 flags 0x1 refcount 1 length 512 overlaps-metadata", data),
		fmt.Sprintf("%#x.0 [1]*1 0xffffffffffffffff+0x0 compressed host 0x1fffffffffffffff flags 0x5 length 512 sectors 2 reserved 0x1f00000000000000 beyond-end-of-file,reserved-bits,copied-flag", data+8),
		fmt.Sprintf("%#x.0 [2]*1 0x2+0x0 unallocated length 512 reserved 0x2 reserved-bits", data+16),
	}
	table, err := img.TableAs(qcow2.HostL2Table, data+100)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, decoded(t, img, table, qcow2.DecodeOptions{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, kind := range qcow2.TableKinds() {
		table, err := img.TableAs(kind, data)
		if err != nil {
			t.Fatal(err)
		}
		if len(decoded(t, img, table, qcow2.DecodeOptions{Zeros: true})) == 0 {
			t.Errorf("%s: nothing", kind)
		}
	}
	if _, err := img.TableAs(qcow2.HostL2Table, uint64(len(b.Bytes))); !errors.Is(err, qcow2.ErrNoTable) {
		t.Errorf("past the end of the file: %v", err)
	}
	if _, err := img.TableAs(qcow2.HostData, 0); !errors.Is(err, qcow2.ErrNoTable) {
		t.Errorf("as data: %v", err)
	}
	if kinds := qcow2.EntryKindNames(); !slices.Contains(kinds, qcow2.EntryStored.String()) || len(kinds) != int(qcow2.EntryStored)+1 {
		t.Errorf("the names of the kinds are %q", kinds)
	}
}

// TestDecodeLongTable: neighbours are joined across the pieces in which a long table
// is read, and rows cost no allocation.
func TestDecodeLongTable(t *testing.T) {
	const entries = 3 << 20 / 8
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 16, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}.Build()
	l2 := b.Get("l1[0]")
	b.Set("l1_table_offset", uint64(len(b.Bytes))).Set("l1_size", entries)
	start := len(b.Bytes)
	for range entries {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, l2)
	}
	img := openAs(t, b, int64(len(b.Bytes)))
	table := find(t, img, qcow2.TableSelector{Kind: qcow2.HostL1Table})
	want := []string{fmt.Sprintf("%#x.0 [0]*%d %#x+0x0 l2-table host %#x flags 0x1 refcount 1 guest 0x0 length %d", start, entries, l2, l2&^(1<<63), uint64(entries)*64*512)}
	if diff := cmp.Diff(want, decoded(t, img, table, qcow2.DecodeOptions{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	allocations := func(o qcow2.DecodeOptions) float64 {
		return testing.AllocsPerRun(1, func() {
			for _, err := range img.Decode(t.Context(), table, o) {
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	if run, each := allocations(qcow2.DecodeOptions{}), allocations(qcow2.DecodeOptions{PerEntry: true}); each > run+2 {
		t.Errorf("%v allocations for one row, %v for %d", run, each, entries)
	}
}

// TestDecodeDirtyBounded: entries of a bitmap table that point to one cluster again
// and again are not counted for ever.
func TestDecodeDirtyBounded(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 33, L1Size: 1}.Build()
	bitmap := qcow2.Bitmap{TableOffset: uint64(len(b.Bytes)), TableSize: 4096, GranularityBits: 9}
	for range bitmap.TableSize {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, 0x200)
	}
	img := openAs(t, b, int64(len(b.Bytes)))
	known, unknown := 0, 0
	for e, err := range img.Decode(t.Context(), find(t, img, qcow2.TableSelector{Kind: qcow2.HostBitmapTable, Bitmap: &bitmap}), qcow2.DecodeOptions{PerEntry: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.HasDirty {
			known++
		} else {
			unknown++
		}
	}
	if want := len(b.Bytes) / 512; known != want || unknown != int(bitmap.TableSize)-want {
		t.Errorf("%d entries counted and %d not, of %d in a file of %d clusters", known, unknown, bitmap.TableSize, want)
	}
}

// TestDecodeClusterSizes: the entries of every table add up, whatever the size of
// clusters and the width of refcounts.
func TestDecodeClusterSizes(t *testing.T) {
	for _, bits := range []uint{9, 12, 16, 21} {
		for _, width := range []uint64{1, 16, 64} {
			im := qcow2test.Image{ClusterBits: bits, RefcountBits: width, Size: 8 << bits, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 3: qcow2test.Zero}, Bitmaps: []qcow2test.Bitmap{{Name: "a"}}}
			b := im.Build()
			img := openAs(t, b, int64(len(b.Bytes)))
			bitmap, err := img.FindBitmap("a")
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []qcow2.HostKind{qcow2.HostL1Table, qcow2.HostL2Table, qcow2.HostRefcountTable, qcow2.HostRefcountBlock, qcow2.HostBitmapTable} {
				table := find(t, img, qcow2.TableSelector{Kind: kind, Bitmap: &bitmap})
				sum, rows := uint64(0), 0
				for e, err := range img.Decode(t.Context(), table, qcow2.DecodeOptions{Zeros: true}) {
					if err != nil {
						t.Fatal(err)
					}
					if e.Index != sum {
						t.Errorf("%d bits, %s: %s after %d", bits, kind, entryLine(e), sum)
					}
					sum += e.Count
					rows++
				}
				if sum != img.Entries(table) || rows > 8 {
					t.Errorf("%d bits, %s: %d entries in %d rows, want %d", bits, kind, sum, rows, img.Entries(table))
				}
			}
		}
	}
}

// TestDecodeBrokenL1: entries of an L2 table do not overlap an L1 table that is too
// large to be one.
func TestDecodeBrokenL1(t *testing.T) {
	b := qcow2test.Image{Size: 1 << 20, Clusters: kinds{0: data}}.Build()
	table := b.Get("l1[0]") &^ (1 << 63)
	b.Set("l1_size", 1<<31)
	img := open(t, b)
	l2, err := img.TableAs(qcow2.HostL2Table, table)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range img.Decode(t.Context(), l2, qcow2.DecodeOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; e.Problems != 0 {
			t.Errorf("entry %#x at %#x: %s, want no problems", e.Value, e.Offset, e.Problems)
		}
	}
	if n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}
