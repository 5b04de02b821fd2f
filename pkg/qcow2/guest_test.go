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

const (
	data          = qcow2test.Data
	zero          = qcow2test.Zero
	zeroAllocated = qcow2test.ZeroAllocated
	copied        = 1 << 63
)

type kinds = map[uint64]qcow2test.Kind

// rows returns what Guest yields as text, a line a mapping or an error:
// "0x0+0x400 data 0x800", "corrupt: L1 table at offset 0x200: …".
func rows(t *testing.T, img *qcow2.Image, o qcow2.GuestOptions) []string {
	t.Helper()
	var all []string
	for m, err := range img.Guest(t.Context(), o) {
		all = append(all, rowOrError(t, m, err))
	}
	return all
}

// rowOrError returns what a walk yields as a text.
func rowOrError(t *testing.T, m *qcow2.Mapping, err error) string {
	t.Helper()
	switch {
	case err == nil:
		return row(m)
	case m != nil:
		t.Fatalf("mapping %+v together with the error %v", m, err)
	}
	return fmt.Sprintf("%v: %v", asError(t, err).Kind, err)
}

func row(m *qcow2.Mapping) string {
	words := []string{fmt.Sprintf("%#x+%#x", m.Start, m.Length), m.Kind.String()}
	if m.HasHost {
		words = append(words, fmt.Sprintf("%#x", m.HostOffset))
	}
	if m.Sectors > 0 {
		words = append(words, fmt.Sprintf("%d sectors", m.Sectors))
	}
	if m.HasSubclusterBitmap {
		words = append(words, fmt.Sprintf("bitmap %#x", m.SubclusterBitmap))
	}
	for i, name := range qcow2.ProblemNames() {
		if m.Problems&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return strings.Join(words, " ")
}

// wantRows compares what Guest yields with want.
func wantRows(t *testing.T, img *qcow2.Image, o qcow2.GuestOptions, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, rows(t, img, o)); diff != "" {
		t.Errorf("%+v (-want +got):\n%s", o, diff)
	}
}

// openAs opens a built image as a file of size bytes, of which those after
// the built ones cannot be read.
func openAs(t *testing.T, b *qcow2test.Built, size int64) *qcow2.Image {
	t.Helper()
	img, err := qcow2.Open(b.Reader(), size)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestGuestKinds(t *testing.T) {
	tests := map[string]struct {
		image qcow2test.Image
		want  []string
	}{
		"no disk":     {qcow2test.Image{L1Size: 1}, nil},
		"nothing":     {qcow2test.Image{Size: 1 << 20}, []string{"0x0+0x100000 unallocated"}},
		"one cluster": {qcow2test.Image{Size: 1 << 20, Clusters: kinds{15: data}}, []string{"0x0+0xf0000 unallocated", "0xf0000+0x10000 data 0x30000"}},
		"every kind": {
			qcow2test.Image{ClusterBits: 9, Size: 20 << 9, Clusters: kinds{0: data, 1: data, 2: zero, 3: zero, 4: zeroAllocated, 5: zeroAllocated, 8: data, 9: zeroAllocated, 10: data}},
			[]string{
				"0x0+0x400 data 0x600", "0x400+0x400 zero", "0x800+0x400 zero-allocated 0xa00", "0xc00+0x400 unallocated",
				"0x1000+0x200 data 0xe00", "0x1200+0x200 zero-allocated 0x1000", "0x1400+0x200 data 0x1200", "0x1600+0x1200 unallocated",
			},
		},
		"version 2": {
			qcow2test.Image{Version: 2, ClusterBits: 9, Size: 4 << 9, Clusters: kinds{1: data, 2: data}},
			[]string{"0x0+0x200 unallocated", "0x200+0x400 data 0x600", "0x600+0x200 unallocated"},
		},
		"compressed": {
			qcow2test.Image{ClusterBits: 9, Size: 6 << 9, Clusters: kinds{3: data},
				Compressed: map[uint64]qcow2test.Compressed{0: {Sectors: 1}, 1: {Offset: 0x200, Sectors: 1}, 2: {Offset: 0x3ff, Sectors: 2}, 4: {Offset: 0x400, Sectors: 1}}},
			[]string{
				"0x0+0x200 compressed 0x200 1 sectors", "0x200+0x200 compressed 0x400 1 sectors", "0x400+0x200 compressed 0x5ff 2 sectors",
				"0x600+0x200 data 0xc00", "0x800+0x200 compressed 0x600 1 sectors", "0xa00+0x200 unallocated",
			},
		},
		"partial last cluster":    {qcow2test.Image{Size: 0x30200, Clusters: kinds{2: data, 3: data}}, []string{"0x0+0x20000 unallocated", "0x20000+0x10200 data 0x30000"}},
		"partial last sector":     {qcow2test.Image{Size: 0x303ff, Clusters: kinds{3: zero}}, []string{"0x0+0x30000 unallocated", "0x30000+0x200 zero"}},
		"partial last compressed": {qcow2test.Image{Size: 0x200, Compressed: map[uint64]qcow2test.Compressed{0: {Offset: 5, Sectors: 3}}}, []string{"0x0+0x200 compressed 0x10005 3 sectors"}},
		"less than a sector":      {qcow2test.Image{Size: 511, L1Size: 1, Clusters: kinds{0: data}}, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { wantRows(t, open(t, test.image.Build()), qcow2.GuestOptions{}, test.want...) })
	}
}

// TestGuestClusterSizes maps two clusters, a hole, and the partial last cluster
// with every cluster size and version.
func TestGuestClusterSizes(t *testing.T) {
	for bits := uint(9); bits <= 21; bits++ {
		for _, version := range []uint32{2, 3} {
			c := uint64(1) << bits
			last := c/8 + 1 // in the second L2 table
			b := qcow2test.Image{Version: version, ClusterBits: bits, Size: last*c + 512, Clusters: kinds{0: data, 1: data, last: data}}.Build()
			hole := fmt.Sprintf("%#x+%#x unallocated", 2*c, (last-2)*c)
			end := fmt.Sprintf("%#x+0x200 data %#x", last*c, 6*c)
			wantRows(t, open(t, b), qcow2.GuestOptions{}, fmt.Sprintf("0x0+%#x data %#x", 2*c, 3*c), hole, end)
			o := qcow2.GuestOptions{PerCluster: true, Length: 3 * c}
			wantRows(t, open(t, b), o, fmt.Sprintf("0x0+%#x data %#x", c, 3*c), fmt.Sprintf("%#x+%#x data %#x", c, c, 4*c), fmt.Sprintf("%#x+%#x unallocated", 2*c, c))
		}
	}
}

// TestGuestJoins sets the entries on both sides of the border between two L2
// tables, and within one.
func TestGuestJoins(t *testing.T) {
	tests := map[string]struct {
		left, right uint64
		want        []string
	}{
		"data":                {0x8000, 0x8200, []string{"0x7e00+0x400 data 0x8000"}},
		"COPIED differs":      {copied | 0x8000, 0x8200, []string{"0x7e00+0x400 data 0x8000"}},
		"zero":                {1, 1, []string{"0x7e00+0x400 zero"}},
		"zero-allocated":      {0x8001, 0x8201, []string{"0x7e00+0x400 zero-allocated 0x8000"}},
		"kind":                {0x8000, 0x8201, []string{"0x7e00+0x200 data 0x8000", "0x8000+0x200 zero-allocated 0x8200"}},
		"zero and none":       {1, 0x8201, []string{"0x7e00+0x200 zero", "0x8000+0x200 zero-allocated 0x8200"}},
		"host":                {0x8000, 0x8400, []string{"0x7e00+0x200 data 0x8000", "0x8000+0x200 data 0x8400"}},
		"same host":           {0x8000, 0x8000, []string{"0x7e00+0x200 data 0x8000", "0x8000+0x200 data 0x8000"}},
		"host falls":          {0x8200, 0x8000, []string{"0x7e00+0x200 data 0x8200", "0x8000+0x200 data 0x8000"}},
		"problem, left":       {0x8002, 0x8200, []string{"0x7e00+0x200 data 0x8000 reserved-bits", "0x8000+0x200 data 0x8200"}},
		"problem, right":      {0x8000, 0x8202, []string{"0x7e00+0x200 data 0x8000", "0x8000+0x200 data 0x8200 reserved-bits"}},
		"same problem":        {0x8002, 0x8202, []string{"0x7e00+0x400 data 0x8000 reserved-bits"}},
		"problem without one": {2, 2, []string{"0x7e00+0x400 unallocated reserved-bits"}},
		"two problems":        {0x8002, 0x400002, []string{"0x7e00+0x200 data 0x8000 reserved-bits", "0x8000+0x200 data 0x400000 beyond-end-of-file reserved-bits"}},
		"past the end":        {0x400000, 0x400200, []string{"0x7e00+0x400 data 0x400000 beyond-end-of-file"}},
		"end of the file":     {0x3ffe00, 0x400000, []string{"0x7e00+0x200 data 0x3ffe00", "0x8000+0x200 data 0x400000 beyond-end-of-file"}},
		"compressed":          {1<<62 | 0x8000, 1<<62 | 0x8200, []string{"0x7e00+0x200 compressed 0x8000 1 sectors", "0x8000+0x200 compressed 0x8200 1 sectors"}},
		"same compressed":     {1<<62 | 0x8000, 1<<62 | 0x8000, []string{"0x7e00+0x200 compressed 0x8000 1 sectors", "0x8000+0x200 compressed 0x8000 1 sectors"}},
		"data and compressed": {0x8000, 1<<62 | 0x8200, []string{"0x7e00+0x200 data 0x8000", "0x8000+0x200 compressed 0x8200 1 sectors"}},
	}
	border := qcow2test.Image{ClusterBits: 9, Size: 128 << 9, Clusters: kinds{63: data, 64: data}}
	within := qcow2test.Image{ClusterBits: 12, Size: 16 << 12, Clusters: kinds{7: data, 8: data}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := border.Build().Set("l2[0][63]", test.left).Set("l2[1][0]", test.right)
			want := append(append([]string{"0x0+0x7e00 unallocated"}, test.want...), "0x8200+0x7e00 unallocated")
			wantRows(t, openAs(t, b, 4<<20), qcow2.GuestOptions{}, want...)

			scale := func(entry uint64) uint64 { return entry&^(1<<56-1<<9) | entry&(1<<56-1<<9)<<3 }
			b = within.Build().Set("l2[0][7]", scale(test.left)).Set("l2[0][8]", scale(test.right))
			if got := rows(t, openAs(t, b, 32<<20), qcow2.GuestOptions{}); len(got) != len(want) {
				t.Errorf("within a table: %q", got)
			}
		})
	}
}

// windowImage has data in the clusters 1, 2, 3 and 64 of 66 and a half.
func windowImage() *qcow2test.Built {
	return qcow2test.Image{ClusterBits: 10, Size: 66<<10 + 512, Clusters: kinds{1: data, 2: data, 3: data, 64: data}}.Build()
}

func TestGuestWindow(t *testing.T) {
	img := open(t, windowImage())
	all := []string{"0x0+0x400 unallocated", "0x400+0xc00 data 0xc00", "0x1000+0xf000 unallocated", "0x10000+0x400 data 0x1800", "0x10400+0x600 unallocated"}
	for _, test := range []struct {
		offset, length uint64
		want           []string
	}{
		{0, 0, all},
		{0, 0x10a00, all},
		{0, math.MaxUint64, all},
		{1, math.MaxUint64, all},             // wraps to 0
		{0x3ff, math.MaxUint64 - 1, all},     // wraps
		{0x200, math.MaxUint64 - 0x1fa, all}, // wraps
		{0x200, math.MaxUint64 / 2, all},     // does not
		{0, 1, []string{"0x0+0x400 unallocated"}},
		{0x3ff, 1, []string{"0x0+0x400 unallocated"}},
		{0x3ff, 2, []string{"0x0+0x400 unallocated", "0x400+0x400 data 0xc00"}},
		{0x400, 0x400, []string{"0x400+0x400 data 0xc00"}},
		{0x7ff, 2, []string{"0x400+0x800 data 0xc00"}},
		{0x800, 0x401, []string{"0x800+0x800 data 0x1000"}},
		{0xfff, 0, []string{"0xc00+0x400 data 0x1400", "0x1000+0xf000 unallocated", "0x10000+0x400 data 0x1800", "0x10400+0x600 unallocated"}},
		{0x2000, 0x800, []string{"0x2000+0x800 unallocated"}},
		{0xfc00, 0x800, []string{"0xfc00+0x400 unallocated", "0x10000+0x400 data 0x1800"}},
		{0x10800, 0, []string{"0x10800+0x200 unallocated"}},
		{0x109ff, 1, []string{"0x10800+0x200 unallocated"}},
		{0x10c00, 0, nil},
		{0x20000, 1, nil},
		{math.MaxUint64, 0, nil},
		{math.MaxUint64, 1, nil},
		{math.MaxUint64, math.MaxUint64, nil},
	} {
		wantRows(t, img, qcow2.GuestOptions{Offset: test.offset, Length: test.length}, test.want...)
	}
	o := qcow2.GuestOptions{Offset: 0x9ff, Length: 0x602, PerCluster: true}
	wantRows(t, img, o, "0x800+0x400 data 0x1000", "0xc00+0x400 data 0x1400", "0x1000+0x400 unallocated")
}

func TestGuestPerCluster(t *testing.T) {
	b := qcow2test.Image{
		ClusterBits: 10, Size: 10<<10 - 512,
		Clusters:   kinds{0: data, 1: data, 2: zero, 3: zero, 5: zeroAllocated, 7: data, 8: data, 9: data},
		Compressed: map[uint64]qcow2test.Compressed{6: {Sectors: 1}},
	}.Build()
	b.Set("l2[0][8]", b.Get("l2[0][8]")|2)
	wantRows(t, open(t, b), qcow2.GuestOptions{PerCluster: true},
		"0x0+0x400 data 0x1000", "0x400+0x400 data 0x1400", "0x800+0x400 zero", "0xc00+0x400 zero", "0x1000+0x400 unallocated",
		"0x1400+0x400 zero-allocated 0x1800", "0x1800+0x400 compressed 0x400 1 sectors", "0x1c00+0x400 data 0x1c00",
		"0x2000+0x400 data 0x2000 reserved-bits", "0x2400+0x200 data 0x2400")
}

// TestGuestVMState maps clusters past the end of the disk, which ends inside a
// cluster and inside an L2 table. VM state has whole clusters.
func TestGuestVMState(t *testing.T) {
	img := open(t, qcow2test.Image{
		ClusterBits: 10, Size: 130<<10 - 512, L1Size: 4,
		Clusters: kinds{129: data, 130: data, 131: data, 256: data, 257: data},
	}.Build())
	disk := []string{"0x0+0x20400 unallocated", "0x20400+0x200 data 0xc00"}
	behind := []string{"0x20800+0x800 data 0x1000", "0x21000+0x1f000 unallocated", "0x40000+0x800 data 0x1c00", "0x40800+0x3f800 unallocated"}
	wantRows(t, img, qcow2.GuestOptions{}, disk...)
	wantRows(t, img, qcow2.GuestOptions{VMState: true}, append(disk, behind...)...)
	wantRows(t, img, qcow2.GuestOptions{VMState: true, Offset: 0x20800}, behind...)
	wantRows(t, img, qcow2.GuestOptions{VMState: true, Offset: 0x40400, Length: 1}, "0x40400+0x400 data 0x2000")
	wantRows(t, img, qcow2.GuestOptions{VMState: true, Offset: 0x207ff, Length: 2}, "0x20400+0x200 data 0xc00", "0x20800+0x400 data 0x1000")
	wantRows(t, img, qcow2.GuestOptions{VMState: true, Offset: 0x80000})
}

// TestGuestVMStateWithoutTable: the disk ends where there is no L2 table.
func TestGuestVMStateWithoutTable(t *testing.T) {
	for _, features := range []uint64{0, 1 << 4} {
		img := open(t, qcow2test.Image{ClusterBits: 14, Size: 2<<14 - 512, L1Size: 1, IncompatibleFeatures: features}.Build())
		end := img.Header().Size
		wantRows(t, img, qcow2.GuestOptions{VMState: true, Length: 4 << 14}, fmt.Sprintf("0x0+%#x unallocated", end), "0x8000+0x8000 unallocated")
		wantRows(t, img, qcow2.GuestOptions{VMState: true, Length: 4 << 14, PerCluster: true},
			"0x0+0x4000 unallocated", "0x4000+0x3e00 unallocated", "0x8000+0x4000 unallocated", "0xc000+0x4000 unallocated")
	}
}

// TestGuestSnapshot maps snapshots with tables and disk sizes of their own.
func TestGuestSnapshot(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 64 << 9, Clusters: kinds{0: data, 1: zero}, Snapshots: []qcow2test.Snapshot{
		{ID: "shared"},
		{ID: "larger", DiskSize: 128<<9 + 700, Clusters: kinds{127: data, 128: data, 192: data}},
		{ID: "smaller", DiskSize: 600, L1Size: 2, Clusters: kinds{1: data, 2: data, 64: zeroAllocated}},
		{ID: "empty", DiskSize: 100, L1Size: 1, Clusters: kinds{}},
		{ID: "short L1", DiskSize: 128 << 9, L1Size: 1, Clusters: kinds{63: data}},
	}}.Build()
	img := open(t, b)
	entry := func(name string) string { return fmt.Sprintf("%#x", b.Get(name)&(1<<56-1<<9)) }
	active := []string{"0x0+0x200 data 0x600", "0x200+0x200 zero", "0x400+0x7c00 unallocated"}
	larger := []string{
		"0x0+0xfe00 unallocated", "0xfe00+0x200 data " + entry("snapshot[1].l2[1][63]"),
		"0x10000+0x200 data " + entry("snapshot[1].l2[2][0]"),
	}
	tests := []struct {
		id      string
		vmState bool
		want    []string
	}{
		{"shared", false, active},
		{"shared", true, active},
		{"larger", false, larger},
		{"larger", true, append(slices.Clip(larger), "0x10200+0x7e00 unallocated", "0x18000+0x200 data "+entry("snapshot[1].l2[3][0]"), "0x18200+0x7e00 unallocated")},
		{"smaller", false, []string{"0x0+0x200 unallocated"}},
		{"smaller", true, []string{
			"0x0+0x200 unallocated", "0x200+0x400 data " + entry("snapshot[2].l2[0][1]"),
			"0x600+0x7a00 unallocated", "0x8000+0x200 zero-allocated " + entry("snapshot[2].l2[1][0]"), "0x8200+0x7e00 unallocated",
		}},
		{"empty", false, nil},
		{"empty", true, []string{"0x0+0x8000 unallocated"}},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.id, test.vmState), func(t *testing.T) {
			s, err := img.FindSnapshot(test.id)
			if err != nil {
				t.Fatal(err)
			}
			wantRows(t, img, qcow2.GuestOptions{Snapshot: &s, VMState: test.vmState}, test.want...)
		})
	}
	wantRows(t, img, qcow2.GuestOptions{}, active...)
}

// TestGuestDataFile maps an image whose data lie in another file: offset 0 is
// a place there, and the end of the image file is none.
func TestGuestDataFile(t *testing.T) {
	image := qcow2test.Image{
		ClusterBits: 14, Size: 64 << 14, IncompatibleFeatures: 1 << 2,
		Clusters: kinds{0: data, 1: data, 2: zeroAllocated, 3: zero, 62: data, 63: data},
	}
	want := []string{"0x0+0x8000 data 0x0", "0x8000+0x4000 zero-allocated 0x8000", "0xc000+0x4000 zero", "0x10000+0xe8000 unallocated", "0xf8000+0x8000 data 0xf8000"}
	wantRows(t, open(t, image.Build()), qcow2.GuestOptions{}, want...)
	wantRows(t, open(t, image.Build().Set("l2[0][0]", copied|1)), qcow2.GuestOptions{Length: 1}, "0x0+0x4000 zero") // as in QEMU
	wantRows(t, open(t, image.Build().Set("l2[0][0]", 0)), qcow2.GuestOptions{Length: 1}, "0x0+0x4000 unallocated")
	wantRows(t, open(t, image.Build().Set("l2[0][0]", 1)), qcow2.GuestOptions{Length: 1}, "0x0+0x4000 zero")

	image.IncompatibleFeatures |= 1 << 4
	wantRows(t, open(t, image.Build()), qcow2.GuestOptions{}, want...)
	image.Subclusters = map[uint64]uint64{0: 0xffffffff << 32}
	wantRows(t, open(t, image.Build()), qcow2.GuestOptions{Length: 1}, "0x0+0x4000 zero-allocated 0x0")
	image.Subclusters = map[uint64]uint64{0: 0xff, 1: 0}
	wantRows(t, open(t, image.Build()), qcow2.GuestOptions{Length: 0x8000}, "0x0+0x1000 data 0x0", "0x1000+0x7000 unallocated 0x1000")
	wantRows(t, open(t, image.Build()), qcow2.GuestOptions{Length: 0x8000, PerCluster: true},
		"0x0+0x4000 data 0x0 bitmap 0xff", "0x4000+0x4000 unallocated 0x4000 bitmap 0x0")
}

// TestCopiedWithoutOffset: without an external data file that is no place.
func TestCopiedWithoutOffset(t *testing.T) {
	b := qcow2test.Image{Size: 2 << 16, Clusters: kinds{0: data}}.Build().Set("l2[0][0]", copied)
	wantRows(t, open(t, b), qcow2.GuestOptions{}, "0x0+0x20000 unallocated")
}

func TestUnknownMappingKind(t *testing.T) {
	if got := qcow2.MappingKind(5).String(); got != "unknown-5" {
		t.Errorf("MappingKind(5) = %q", got)
	}
}
