package qcow2_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// threeTables has an L2 table of 128 entries at 0x800, 0xc00 and 0x1000, each
// of which begins with a zero cluster.
func threeTables() qcow2test.Image {
	return qcow2test.Image{ClusterBits: 10, Size: 3 << 17, Clusters: kinds{0: zero, 128: zero, 256: zero}}
}

func TestBrokenL1Entry(t *testing.T) {
	hole := "0x20000+0x20000 unallocated"
	for _, test := range []struct {
		entry uint64
		want  []string // between the first table and the third
	}{
		{0, []string{hole}},
		{copied, []string{hole}},
		{1, []string{"corrupt, but readable: L1 table at offset 0x408: entry 1 has reserved bits 0x1", hole}},
		{1 << 62, []string{"corrupt, but readable: L1 table at offset 0x408: entry 1 has reserved bits 0x4000000000000000", hole}},
		{0xff00000000000c00, []string{"corrupt, but readable: L1 table at offset 0x408: entry 1 has reserved bits 0x7f00000000000000", "0x20000+0x400 zero", "0x20400+0x1fc00 unallocated"}},
		{0xe00, []string{"corrupt: L1 table at offset 0x408: entry 1 points to an L2 table at 0xe00, not a multiple of the cluster size 0x400"}},
		{0xe01, []string{
			"corrupt, but readable: L1 table at offset 0x408: entry 1 has reserved bits 0x1",
			"corrupt: L1 table at offset 0x408: entry 1 points to an L2 table at 0xe00, not a multiple of the cluster size 0x400",
		}},
		{0x1c00, []string{"truncated: L1 table at offset 0x408: entry 1 points to an L2 table at 0x1c00, but the file ends at 0x1c00"}},
		{copied | 0x00fffffffffffc00, []string{"truncated: L1 table at offset 0x408: entry 1 points to an L2 table at 0xfffffffffffc00, but the file ends at 0x1c00"}},
	} {
		t.Run(fmt.Sprintf("%#x", test.entry), func(t *testing.T) {
			img := open(t, threeTables().Build().Set("l1[1]", test.entry))
			want := append([]string{"0x0+0x400 zero", "0x400+0x1fc00 unallocated"}, test.want...)
			if len(test.want) == 1 && test.want[0] == hole {
				want = []string{"0x0+0x400 zero", "0x400+0x3fc00 unallocated"}
			}
			want = append(want, "0x40000+0x400 zero", "0x40400+0x1fc00 unallocated")
			wantRows(t, img, qcow2.GuestOptions{}, want...)
			each := rows(t, img, qcow2.GuestOptions{PerCluster: true})
			if diff := cmp.Diff(errorRows(want), errorRows(each)); diff != "" {
				t.Errorf("errors with every cluster by itself (-want +got):\n%s", diff)
			}
			if got, want := mapped(each), mapped(want); got != want {
				t.Errorf("%#x bytes in clusters, want %#x", got, want)
			}
		})
	}
}

// errorRows returns the rows that are errors.
func errorRows(rows []string) []string {
	return slices.DeleteFunc(slices.Clone(rows), func(row string) bool { return strings.HasPrefix(row, "0x") })
}

// mapped returns how many bytes the rows map.
func mapped(rows []string) (sum uint64) {
	for _, row := range rows {
		var start, length uint64
		if n, _ := fmt.Sscanf(row, "0x%x+0x%x", &start, &length); n == 2 {
			sum += length
		}
	}
	return sum
}

// TestL1Cut ends the file inside the L1 table, the last of the file: the tables of
// the entries before the end are there.
func TestL1Cut(t *testing.T) {
	b := threeTables().Build()
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
		if n == 0 {
			want = []string{fmt.Sprintf("truncated: L1 table at offset 0x28: the table lies at %#x, but the file ends at %#[1]x", end)}
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
		other := fmt.Sprintf("%#x+%#x zero-allocated %#x", size/entry*size, size, b.Get("l2[1][0]")&^(copied|1))
		for n := 0; n <= size; n += 8 {
			var want []string
			if i := n / entry; i > 0 {
				want = append(want, fmt.Sprintf("0x0+%#x zero-allocated %#x", i*size, first))
			}
			if n == 0 {
				want = append(want, fmt.Sprintf("truncated: L1 table at offset %#x: entry 0 points to an L2 table at %#x, but the file ends at %#x", size, end, end))
			} else if n < size {
				want = append(want, fmt.Sprintf("truncated: L2 table at offset %#x: the file ends at %#x, inside the table", end, end+n))
			}
			wantRows(t, open(t, &qcow2test.Built{Bytes: b.Bytes[:end+n]}), qcow2.GuestOptions{}, append(want, other)...)
		}
	}
}

// TestL1TooShort: a table that is shorter than the disk needs.
func TestL1TooShort(t *testing.T) {
	b := threeTables().Build().Set("l1_size", 1)
	want := []string{"0x0+0x400 zero", "0x400+0x1fc00 unallocated", "corrupt: L1 table at offset 0x400: it has 1 entries, but the disk needs 3"}
	wantRows(t, open(t, b), qcow2.GuestOptions{}, want...)
	wantRows(t, open(t, b), qcow2.GuestOptions{VMState: true}, want...)
	wantRows(t, open(t, b), qcow2.GuestOptions{Offset: 1 << 18}, want[2])
	wantRows(t, open(t, b.Set("l1_size", 0)), qcow2.GuestOptions{}, "corrupt: L1 table at offset 0x400: it has 0 entries, but the disk needs 3")

	image := threeTables()
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
	b := threeTables().Build().Set("l1[0]", copied|0x400).Set("l1[1]", 0x400)
	wantRows(t, open(t, b), qcow2.GuestOptions{},
		"0x0+0x400 data 0x400 overlaps-metadata", "0x400+0x400 data 0x400 overlaps-metadata", "0x800+0x400 data 0x1000", "0xc00+0x1f400 unallocated",
		"0x20000+0x400 data 0x400 overlaps-metadata", "0x20400+0x400 data 0x400 overlaps-metadata", "0x20800+0x400 data 0x1000", "0x20c00+0x1f400 unallocated",
		"0x40000+0x400 zero", "0x40400+0x1fc00 unallocated")
	b = threeTables().Build().Set("l2[0][0]", copied|0x400)
	wantRows(t, open(t, b), qcow2.GuestOptions{Length: 0x800}, "0x0+0x400 data 0x400 overlaps-metadata", "0x400+0x400 unallocated")
}

func TestUnreadableMapping(t *testing.T) {
	tests := map[string]struct {
		field string
		value uint64
		want  string
	}{
		"unknown feature":  {"incompatible_features", 1 << 40, `unsupported: header at offset 0x48: the image has incompatible features that are not known: "bit-40"`},
		"no geometry":      {"cluster_bits", 63, "corrupt: header at offset 0x14: cluster_bits 63 is outside 9 to 21"},
		"L1 table astray":  {"l1_table_offset", 0x600, "corrupt: header at offset 0x28: l1_table_offset 0x600 is not a multiple of the cluster size 0x400"},
		"L1 table far off": {"l1_table_offset", 1<<64 - 1<<10, "corrupt: header at offset 0x28: l1_table_offset 0xfffffffffffffc00: the table of 24 bytes would reach beyond 2^63"},
		"L1 table at 0":    {"l1_table_offset", 0, "corrupt: header at offset 0x28: l1_table_offset is 0: the table would overlap the header"},
		"L1 table past":    {"l1_table_offset", 1 << 40, "truncated: L1 table at offset 0x28: the table lies at 0x10000000000, but the file ends at 0x1c00"},
		"limit":            {"l1_size", 4<<20 + 1, "limit exceeded: header at offset 0x24: l1_size 4194305: a table of 33554440 bytes is above the limit of 33554432 (L1Bytes)"},
		"largest l1_size":  {"l1_size", math.MaxUint32, "limit exceeded: header at offset 0x24: l1_size 4294967295: a table of 34359738360 bytes is above the limit of 33554432 (L1Bytes)"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			img := open(t, threeTables().Build().Set(test.field, test.value))
			wantRows(t, img, qcow2.GuestOptions{}, test.want)
			wantRows(t, img, qcow2.GuestOptions{VMState: true, PerCluster: true}, test.want)
		})
	}
}

// TestDamageAtTheDisksEnd: damage that affects both the disk and the VM state is
// reported once.
func TestDamageAtTheDisksEnd(t *testing.T) {
	image := threeTables()
	image.Size = 2<<17 + 0x800
	image.L1Size = 3
	all := qcow2.GuestOptions{VMState: true, Offset: 2 << 17}
	reserved := "corrupt, but readable: L1 table at offset 0x410: entry 2 has reserved bits 0x1"
	b := image.Build()
	wantRows(t, open(t, b.Set("l1[2]", b.Get("l1[2]")|1)), all, reserved, "0x40000+0x400 zero", "0x40400+0x400 unallocated", "0x40800+0x1f800 unallocated")
	unaligned := "corrupt: L1 table at offset 0x410: entry 2 points to an L2 table at 0xe00, not a multiple of the cluster size 0x400"
	wantRows(t, open(t, image.Build().Set("l1[2]", 0xe00)), all, unaligned)
	b = image.Build()
	end := len(b.Bytes)
	b.Bytes = append(b.Bytes, b.Bytes[0x400:0x410]...)
	b.Set("l1_table_offset", uint64(end))
	wantRows(t, open(t, b), all, fmt.Sprintf("truncated: L1 table at offset %#x: the file ends at %#x, before entry 2 of 3", end+16, end+16))
}

// TestGuestNoLimits reads an L1 table that claims 32 GiB as far as the file reaches.
func TestGuestNoLimits(t *testing.T) {
	b := threeTables().Build()
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

// TestSnapshotWithoutDiskSize: version 3 requires it in the extra data, but the
// mapping works with the header's.
func TestSnapshotWithoutDiskSize(t *testing.T) {
	image := threeTables()
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
