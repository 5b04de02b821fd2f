package qcow2_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// threeTables has an L2 table of 128 entries at 0x800, 0xc00 and 0x1000, each
// of which begins with a zero cluster.
var threeTables = qcow2test.Image{ClusterBits: 10, Size: 3 << 17, Clusters: kinds{0: zero, 128: zero, 256: zero}}

func TestBrokenL1Entry(t *testing.T) {
	hole := "0x20000+0x20000 unallocated"
	for _, test := range []struct {
		entry uint64
		want  []string // between the first table and the third
	}{
		{0, []string{hole}},
		{copied, []string{hole}},
		{1, []string{"corrupt: L1 table at offset 0x408: entry 1 has reserved bits 0x1", hole}},
		{1 << 62, []string{"corrupt: L1 table at offset 0x408: entry 1 has reserved bits 0x4000000000000000", hole}},
		{0xff00000000000c00, []string{"corrupt: L1 table at offset 0x408: entry 1 has reserved bits 0x7f00000000000000", "0x20000+0x400 zero", "0x20400+0x1fc00 unallocated"}},
		{0xe00, []string{"corrupt: L1 table at offset 0x408: entry 1 leads to an L2 table at 0xe00, not a multiple of the cluster size 0x400"}},
		{0xe01, []string{
			"corrupt: L1 table at offset 0x408: entry 1 has reserved bits 0x1",
			"corrupt: L1 table at offset 0x408: entry 1 leads to an L2 table at 0xe00, not a multiple of the cluster size 0x400",
		}},
		{0x1c00, []string{"truncated: L1 table at offset 0x408: entry 1 leads to an L2 table at 0x1c00, but the file ends at 0x1c00"}},
		{copied | 0x00fffffffffffc00, []string{"truncated: L1 table at offset 0x408: entry 1 leads to an L2 table at 0xfffffffffffc00, but the file ends at 0x1c00"}},
	} {
		t.Run(fmt.Sprintf("%#x", test.entry), func(t *testing.T) {
			img := open(t, threeTables.Build().Set("l1[1]", test.entry))
			want := append([]string{"0x0+0x400 zero", "0x400+0x1fc00 unallocated"}, test.want...)
			if len(test.want) == 1 && test.want[0] == hole {
				want = []string{"0x0+0x400 zero", "0x400+0x3fc00 unallocated"}
			}
			want = append(want, "0x40000+0x400 zero", "0x40400+0x1fc00 unallocated")
			wantRows(t, img, qcow2.GuestOptions{}, want...)
			got := rows(t, img, qcow2.GuestOptions{PerCluster: true})
			isCluster := func(row string) bool { return strings.Contains(row, "+0x400 ") }
			if n := len(slices.DeleteFunc(slices.Clone(got), func(row string) bool { return !isCluster(row) })); n != 384 && n != 256 {
				t.Errorf("%d clusters", n)
			}
			errs := func(row string) bool { return strings.Contains(row, "+0x") }
			if diff := cmp.Diff(slices.DeleteFunc(want, errs), slices.DeleteFunc(got, errs)); diff != "" {
				t.Errorf("errors with every cluster by itself (-want +got):\n%s", diff)
			}
		})
	}
}

// TestL1Cut ends the file inside the L1 table, the last of the file: what the
// entries before the end lead to is there.
func TestL1Cut(t *testing.T) {
	b := threeTables.Build()
	l1, end := b.Get("l1_table_offset"), len(b.Bytes)
	b.Bytes = append(b.Bytes, b.Bytes[l1:][:24]...)
	b.Set("l1_table_offset", uint64(end))
	for n := range 24 + 1 {
		var want []string
		for i := range n / 8 {
			want = append(want, fmt.Sprintf("%#x+0x400 zero", i<<17), fmt.Sprintf("%#x+0x1fc00 unallocated", i<<17+0x400))
		}
		if i := n / 8; i < 3 {
			want = append(want, fmt.Sprintf("truncated: L1 table at offset %#x: the file ends at %#x, before entry %d of 3", end+i*8, end+n, i))
		}
		wantRows(t, open(t, &qcow2test.Built{Bytes: b.Bytes[:end+n]}), qcow2.GuestOptions{}, want...)
	}
}

// TestL2Cut ends the file inside the first of two L2 tables, the last of the
// file: the entries before the end and the other table are there.
func TestL2Cut(t *testing.T) {
	for _, entry := range []int{8, 16} {
		bits, features := uint(10), uint64(0)
		if entry == 16 {
			bits, features = 14, 1<<4
		}
		size := 1 << bits
		clusters := kinds{}
		for c := range uint64(size/entry) + 1 {
			clusters[c] = zeroAllocated
		}
		b := qcow2test.Image{ClusterBits: bits, Size: uint64(size/entry+1) << bits, IncompatibleFeatures: features, Clusters: clusters}.Build()
		first, end := b.Get("l2[0][0]")&^(copied|1), len(b.Bytes)
		b.Bytes = append(b.Bytes, b.Bytes[b.Get("l1[0]")&^copied:][:size]...)
		b.Set("l1[0]", uint64(end))
		other := fmt.Sprintf("%#x+%#x zero-allocated %#x", size/entry*size, size, b.Get(fmt.Sprintf("l2[1][0]"))&^(copied|1))
		for n := 0; n <= size; n += 8 {
			var want []string
			if i := n / entry; i > 0 {
				want = append(want, fmt.Sprintf("0x0+%#x zero-allocated %#x", i*size, first))
			}
			if n == 0 {
				want = append(want, fmt.Sprintf("truncated: L1 table at offset %#x: entry 0 leads to an L2 table at %#x, but the file ends at %#x", size, end, end))
			} else if n < size {
				want = append(want, fmt.Sprintf("truncated: L2 table at offset %#x: the file ends at %#x, inside the table", end, end+n))
			}
			wantRows(t, open(t, &qcow2test.Built{Bytes: b.Bytes[:end+n]}), qcow2.GuestOptions{}, append(want, other)...)
		}
	}
}

// TestL1TooShort: a table that is shorter than the disk needs.
func TestL1TooShort(t *testing.T) {
	b := threeTables.Build().Set("l1_size", 1)
	want := []string{"0x0+0x400 zero", "0x400+0x1fc00 unallocated", "corrupt: L1 table at offset 0x400: it has 1 entries, but the disk needs 3"}
	wantRows(t, open(t, b), qcow2.GuestOptions{}, want...)
	wantRows(t, open(t, b), qcow2.GuestOptions{VMState: true}, want...)
	wantRows(t, open(t, b), qcow2.GuestOptions{Offset: 1 << 18}, want[2])
	wantRows(t, open(t, b.Set("l1_size", 0)), qcow2.GuestOptions{}, "corrupt: L1 table at offset 0x400: it has 0 entries, but the disk needs 3")

	image := threeTables
	image.Snapshots = []qcow2test.Snapshot{{ID: "1", L1Size: 2, DiskSize: 1 << 20}}
	b = image.Build()
	s, err := open(t, b).FindSnapshot("1")
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, open(t, b), qcow2.GuestOptions{Snapshot: &s, Offset: 1 << 17},
		"0x20000+0x400 zero", "0x20400+0x1fc00 unallocated", fmt.Sprintf("corrupt: L1 table at offset %#x: it has 2 entries, but the disk needs 8", s.L1TableOffset))
}

// TestL1Loop leads L1 entries to the L1 table: its words are read as L2
// entries, once each.
func TestL1Loop(t *testing.T) {
	b := threeTables.Build().Set("l1[0]", copied|0x400).Set("l1[1]", 0x400)
	wantRows(t, open(t, b), qcow2.GuestOptions{},
		"0x0+0x400 data 0x400 overlaps-metadata", "0x400+0x400 data 0x400 overlaps-metadata", "0x800+0x400 data 0x1000", "0xc00+0x1f400 unallocated",
		"0x20000+0x400 data 0x400 overlaps-metadata", "0x20400+0x400 data 0x400 overlaps-metadata", "0x20800+0x400 data 0x1000", "0x20c00+0x1f400 unallocated",
		"0x40000+0x400 zero", "0x40400+0x1fc00 unallocated")
	b = threeTables.Build().Set("l2[0][0]", copied|0x400)
	wantRows(t, open(t, b), qcow2.GuestOptions{Length: 0x800}, "0x0+0x400 data 0x400 overlaps-metadata", "0x400+0x400 unallocated")
}

// A countingReader counts what is read through it.
type countingReader struct {
	io.ReaderAt
	calls, bytes int
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.calls++
	r.bytes += len(p)
	return r.ReaderAt.ReadAt(p, off)
}

// openCounted opens an image, and counts from then on.
func openCounted(t *testing.T, b *qcow2test.Built) (*qcow2.Image, *countingReader) {
	t.Helper()
	r := &countingReader{ReaderAt: b.Reader()}
	img, err := qcow2.Open(r, int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	r.calls, r.bytes = 0, 0
	return img, r
}

// TestOneL2TableManyTimes: 4096 L1 entries lead to one table, which is read
// once.
func TestOneL2TableManyTimes(t *testing.T) {
	const n = 4096
	b := qcow2test.Image{ClusterBits: 9, Size: n << 15, Clusters: kinds{5: data}}.Build()
	l1 := b.Get("l1_table_offset")
	for i := range uint64(n) {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], b.Get("l1[0]"))
	}
	img, r := openCounted(t, b)
	if got := rows(t, img, qcow2.GuestOptions{}); len(got) != 2*n+1 {
		t.Errorf("%d rows, want %d", len(got), 2*n+1)
	}
	if r.calls != 2 || r.bytes != n*8+512 {
		t.Errorf("%d reads of %d bytes, want 2 of %d", r.calls, r.bytes, n*8+512)
	}
}

// TestSequentialReads: tables that follow each other are read together, and no
// byte twice. A single cluster needs no more than what leads to it.
func TestSequentialReads(t *testing.T) {
	const n = 300
	clusters := kinds{}
	for i := range uint64(n) {
		clusters[i*512] = zero
	}
	img, r := openCounted(t, qcow2test.Image{ClusterBits: 12, Size: n << 21, Clusters: clusters}.Build())
	if got := rows(t, img, qcow2.GuestOptions{}); len(got) != 2*n {
		t.Errorf("%d rows, want %d", len(got), 2*n)
	}
	if r.calls != 3 || r.bytes != n*8+n*4096 {
		t.Errorf("%d reads of %d bytes, want 3 of %d", r.calls, r.bytes, n*8+n*4096)
	}
	r.calls = 0
	wantRows(t, img, qcow2.GuestOptions{Offset: 299 << 21, Length: 1}, fmt.Sprintf("%#x+0x1000 zero", 299<<21))
	if r.calls != 2 {
		t.Errorf("%d reads for one cluster, want 2", r.calls)
	}
}

// errBroken is what a brokenReader returns.
var errBroken = errors.New("bad sector")

// A brokenReader cannot read the byte at bad.
type brokenReader struct {
	io.ReaderAt
	bad int64
}

func (r brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off <= r.bad && r.bad < off+int64(len(p)) {
		return 0, errBroken
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestUnreadableTable: a sector that cannot be read hides its own table alone.
func TestUnreadableTable(t *testing.T) {
	b := threeTables.Build()
	table := []string{"0x0+0x400 zero", "0x400+0x1fc00 unallocated", "0x20000+0x400 zero", "0x20400+0x1fc00 unallocated", "0x40000+0x400 zero", "0x40400+0x1fc00 unallocated"}
	for i := range 3 {
		bad := 0x800 + i*0x400
		img, err := qcow2.Open(brokenReader{b.Reader(), int64(bad)}, int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range rows(t, img, qcow2.GuestOptions{}) {
			row, _, _ = strings.Cut(row, ": reading") // how much was tried
			got = append(got, row)
		}
		want := slices.Replace(slices.Clone(table), 2*i, 2*i+2, fmt.Sprintf("bad sector: L2 table at offset %#x", bad))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%#x cannot be read (-want +got):\n%s", bad, diff)
		}
	}
	img, err := qcow2.Open(brokenReader{b.Reader(), 0x408}, int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, img, qcow2.GuestOptions{}, "bad sector: L1 table at offset 0x400: reading 24 bytes: bad sector")
	for _, err := range img.Guest(qcow2.GuestOptions{}) {
		if !errors.Is(err, errBroken) {
			t.Errorf("%v does not wrap the error of the reader", err)
		}
	}
}

// TestFileBecomesShorter while it is open.
func TestFileBecomesShorter(t *testing.T) {
	b := threeTables.Build()
	img, err := qcow2.Open(b.Truncate(0xc10).Reader(), 0x1c00)
	if err != nil {
		t.Fatal(err)
	}
	got := rows(t, img, qcow2.GuestOptions{})
	if len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "truncated: L2 table at offset 0x") || !strings.HasSuffix(got[len(got)-1], "the file has become shorter while it was read") {
		t.Errorf("rows %q", got)
	}
}

func TestUnreadableMapping(t *testing.T) {
	tests := map[string]struct {
		field string
		value uint64
		want  string
	}{
		"unknown feature":  {"incompatible_features", 1 << 40, `unsupported: header at offset 0x48: the image has incompatible features that are not known: ["bit-40"]`},
		"no geometry":      {"cluster_bits", 63, "corrupt: header at offset 0x14: cluster_bits 63 is outside 9 to 21"},
		"L1 table astray":  {"l1_table_offset", 0x600, "corrupt: header at offset 0x28: l1_table_offset 0x600 is not a multiple of the cluster size 0x400"},
		"L1 table far off": {"l1_table_offset", 1<<64 - 1<<10, "corrupt: header at offset 0x28: l1_table_offset 0xfffffffffffffc00: the table of 24 bytes would reach beyond 2^63"},
		"L1 table at 0":    {"l1_table_offset", 0, "corrupt: header at offset 0x28: l1_table_offset is 0: the table would overlap the header"},
		"L1 table past":    {"l1_table_offset", 1 << 40, "truncated: L1 table at offset 0x10000000000: the file ends at 0x1c00, before entry 0 of 3"},
		"limit":            {"l1_size", 4<<20 + 1, "limit exceeded: header at offset 0x24: l1_size 4194305: a table of 33554440 bytes is above the limit of 33554432 (L1Bytes)"},
		"largest l1_size":  {"l1_size", math.MaxUint32, "limit exceeded: header at offset 0x24: l1_size 4294967295: a table of 34359738360 bytes is above the limit of 33554432 (L1Bytes)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			img := open(t, threeTables.Build().Set(test.field, test.value))
			wantRows(t, img, qcow2.GuestOptions{}, test.want)
			wantRows(t, img, qcow2.GuestOptions{VMState: true, PerCluster: true}, test.want)
		})
	}
}

// TestDamageAtTheDisksEnd: what lies under both the disk and the VM state is
// reported once.
func TestDamageAtTheDisksEnd(t *testing.T) {
	image := threeTables
	image.Size = 2<<17 + 0x800
	image.L1Size = 3
	all := qcow2.GuestOptions{VMState: true, Offset: 2 << 17}
	reserved := "corrupt: L1 table at offset 0x410: entry 2 has reserved bits 0x1"
	b := image.Build()
	wantRows(t, open(t, b.Set("l1[2]", b.Get("l1[2]")|1)), all, reserved, "0x40000+0x400 zero", "0x40400+0x400 unallocated", "0x40800+0x1f800 unallocated")
	unaligned := "corrupt: L1 table at offset 0x410: entry 2 leads to an L2 table at 0xe00, not a multiple of the cluster size 0x400"
	wantRows(t, open(t, image.Build().Set("l1[2]", 0xe00)), all, unaligned)
	b = image.Build()
	end := len(b.Bytes)
	b.Bytes = append(b.Bytes, b.Bytes[0x400:0x410]...)
	b.Set("l1_table_offset", uint64(end))
	wantRows(t, open(t, b), all, fmt.Sprintf("truncated: L1 table at offset %#x: the file ends at %#x, before entry 2 of 3", end+16, end+16))
}

// TestGuestNoLimits reads an L1 table that claims 32 GiB as far as the file reaches.
func TestGuestNoLimits(t *testing.T) {
	b := threeTables.Build()
	end := len(b.Bytes)
	b.Bytes = append(b.Bytes, b.Bytes[0x400:0x418]...)
	b.Set("l1_table_offset", uint64(end)).Set("l1_size", math.MaxUint32)
	table := []string{"0x0+0x400 zero", "0x400+0x1fc00 unallocated", "0x20000+0x400 zero", "0x20400+0x1fc00 unallocated", "0x40000+0x400 zero", "0x40400+0x1fc00 unallocated"}
	none := qcow2.WithLimits(qcow2.NoLimits())
	wantRows(t, open(t, b, none), qcow2.GuestOptions{}, table...)
	cut := fmt.Sprintf("truncated: L1 table at offset %#x: the file ends at %#x, before entry 3 of 4294967295", end+24, end+24)
	wantRows(t, open(t, b, none), qcow2.GuestOptions{VMState: true}, append(slices.Clone(table), cut)...)
	b.Set("size", math.MaxUint64)
	wantRows(t, open(t, b, none), qcow2.GuestOptions{}, append(table, cut)...)

	b.Set("l1_size", 3)
	short := fmt.Sprintf("corrupt: L1 table at offset %#x: it has 3 entries, but the disk needs 140737488355328", end)
	wantRows(t, open(t, b), qcow2.GuestOptions{}, append(table, short)...)
}

// A sparseReader is a file that ends in a large hole.
type sparseReader struct{ head []byte }

func (r sparseReader) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(r.head)) {
		copy(p, r.head[off:])
	}
	return len(p), nil
}

// TestLargestDisk holds that nothing wraps around at the end of a disk of
// 2^64−1 bytes, whose L1 table is a hole and goes on behind the disk.
func TestLargestDisk(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 21, L1Size: 1}.Build()
	b.Set("size", math.MaxUint64).Set("l1_table_offset", uint64(len(b.Bytes)))
	for _, entries := range []uint64{1 << 25, 1<<25 + 1<<10} {
		b.Set("l1_size", entries)
		img, err := qcow2.Open(sparseReader{b.Bytes}, 1<<40, qcow2.WithLimits(qcow2.NoLimits()))
		if err != nil {
			t.Fatal(err)
		}
		const offset = math.MaxUint64 &^ (1<<45 - 1)
		want := "0xffffe00000000000+0x1ffffffffe00 unallocated"
		wantRows(t, img, qcow2.GuestOptions{Offset: offset}, want)
		wantRows(t, img, qcow2.GuestOptions{Offset: math.MaxUint64, Length: math.MaxUint64}, "0xffffffffffe00000+0x1ffe00 unallocated")
		wantRows(t, img, qcow2.GuestOptions{Offset: math.MaxUint64, Length: 1, PerCluster: true}, "0xffffffffffe00000+0x1ffe00 unallocated")
		// Behind it there are no addresses left.
		wantRows(t, img, qcow2.GuestOptions{Offset: offset, VMState: true}, want)
	}
}

// TestSnapshotWithoutDiskSize: version 3 wants it in the extra data, but the
// mapping needs no more than the header's.
func TestSnapshotWithoutDiskSize(t *testing.T) {
	image := threeTables
	image.Snapshots = []qcow2test.Snapshot{{ID: "1", ExtraSize: -1}}
	img := open(t, image.Build())
	s, err := img.FindSnapshot("1")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Damage) != 1 {
		t.Errorf("damage %v, want an error about the extra data", s.Damage)
	}
	wantRows(t, img, qcow2.GuestOptions{Snapshot: &s, Length: 0x800}, "0x0+0x400 zero", "0x400+0x400 unallocated")
}

func TestDamagedSnapshotMapping(t *testing.T) {
	for field, want := range map[string]string{
		"snapshot[0].l1_table_offset": "corrupt: snapshot table at offset %#x: the L1 table offset 0x7fffffff of entry 0 is not a multiple of the cluster size 0x10000",
		"snapshot[0].l1_size":         "limit exceeded: snapshot table at offset %#x: the L1 table of entry 0 has 17179869176 bytes, above the limit of 33554432 (L1Bytes)",
	} {
		b := twoSnapshots().Build().Set(field, math.MaxInt32)
		img := open(t, b)
		s, err := img.FindSnapshot("1")
		if err != nil {
			t.Fatal(err)
		}
		wantRows(t, img, qcow2.GuestOptions{Snapshot: &s}, fmt.Sprintf(want, b.Field(field).Offset))
		wantRows(t, img, qcow2.GuestOptions{}, "0x0+0x100000 unallocated")
	}
}

// mixedImage has mappings of many kinds, problems, errors and VM state.
func mixedImage() *qcow2test.Built {
	b := qcow2test.Image{
		ClusterBits: 14, Size: 3100<<14 + 512, IncompatibleFeatures: 1 << 4,
		Clusters:    kinds{0: data, 1: data, 2: zero, 3: zeroAllocated, 5: data, 6: data, 1024: data, 2048: data, 3072: data, 3101: data},
		Compressed:  map[uint64]qcow2test.Compressed{8: {Sectors: 3}},
		Subclusters: map[uint64]uint64{1: 0xff, 3: 0xf << 32, 2048: 1<<32 | 1},
	}.Build()
	return b.Set("l2[0][6]", 0x200).Set("l1[1]", b.Get("l1[1]")|1).Set("l1[2]", 1<<40)
}

// TestGuestStops leaves the sequence after each of its first items: it must not
// go on, and can be begun again.
func TestGuestStops(t *testing.T) {
	img := open(t, mixedImage())
	for _, o := range []qcow2.GuestOptions{{VMState: true}, {VMState: true, PerCluster: true}} {
		all := rows(t, img, o)
		for n := range min(len(all), 50) {
			i := 0
			for m, err := range img.Guest(o) {
				if err == nil && row(m) != all[i] {
					t.Errorf("row %d of %d is %q, want %q", i, n, row(m), all[i])
				}
				if i++; i > n {
					break
				}
			}
		}
		if diff := cmp.Diff(all, rows(t, img, o)); diff != "" {
			t.Errorf("second time (-first +second):\n%s", diff)
		}
	}
}

// TestGuestAtOnce walks one image in several goroutines.
func TestGuestAtOnce(t *testing.T) {
	img := open(t, mixedImage())
	want := rows(t, img, qcow2.GuestOptions{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var got []string
			for m, err := range img.Guest(qcow2.GuestOptions{}) {
				if err == nil {
					got = append(got, row(m))
				} else {
					got = append(got, fmt.Sprintf("%v: %v", errors.Unwrap(err), err))
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	wg.Wait()
}

// denseImage returns an image of n full L2 tables, and the size of its file,
// whose data are not there. The i-th cluster has the host cluster i·stride of
// as many as there are guest clusters: stride is odd.
func denseImage(n, stride uint64) (b *qcow2test.Built, size int64) {
	const cluster, entries = 1 << 16, 1 << 13
	b = qcow2test.Image{Size: n * cluster * entries}.Build()
	first := uint64(len(b.Bytes))
	data := first + n*cluster
	for i := range n * entries {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, copied|data+i*stride%(n*entries)*cluster)
	}
	for i := range n {
		b.Set(fmt.Sprintf("l1[%d]", i), copied|first+i*cluster)
	}
	return b, int64(data + n*cluster*entries)
}

// TestGuestAllocs: what a walk allocates does not grow with what it yields.
func TestGuestAllocs(t *testing.T) {
	allocs := func(b *qcow2test.Built, size int64, o qcow2.GuestOptions) (n float64, mappings int) {
		img := openAs(t, b, size)
		n = testing.AllocsPerRun(5, func() {
			mappings = 0
			for _, err := range img.Guest(o) {
				if err != nil {
					t.Fatal(err)
				}
				mappings++
			}
		})
		return n, mappings
	}
	const random = 12345677
	for name, test := range map[string]struct {
		stride uint64
		o      qcow2.GuestOptions
	}{
		"per cluster": {1, qcow2.GuestOptions{PerCluster: true}},
		"random":      {random, qcow2.GuestOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			b, size := denseImage(16, test.stride)
			few := test.o
			few.Length = 1
			least, one := allocs(b, size, few)
			most, all := allocs(b, size, test.o)
			if one != 1 || all != 16<<13 || least != most || most > 20 {
				t.Errorf("%v allocations for %d mappings, %v for %d", least, one, most, all)
			}
		})
	}
}

func BenchmarkGuest(b *testing.B) {
	const tables = 64
	for _, bench := range []struct {
		name   string
		stride uint64
		o      qcow2.GuestOptions
	}{
		{"runs", 1, qcow2.GuestOptions{}},
		{"per-cluster", 1, qcow2.GuestOptions{PerCluster: true}},
		{"random", 12345677, qcow2.GuestOptions{}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			built, size := denseImage(tables, bench.stride)
			img, err := qcow2.Open(built.Reader(), size)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(tables << 16)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range img.Guest(bench.o) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(tables<<13), "ns/cluster")
		})
	}
}
