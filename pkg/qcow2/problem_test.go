package qcow2_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestProblemNames(t *testing.T) {
	want := map[qcow2.Problems]string{
		qcow2.Unaligned:          "unaligned",
		qcow2.BeyondEOF:          "beyond-end-of-file",
		qcow2.ReservedBits:       "reserved-bits",
		qcow2.OverlapsMetadata:   "overlaps-metadata",
		qcow2.InvalidSubclusters: "invalid-subclusters",
		qcow2.OffsetMismatch:     "offset-mismatch",
		qcow2.NotAllowed:         "not-allowed",
		qcow2.CopiedFlag:         "copied-flag",
	}
	got := map[qcow2.Problems]string{}
	for i, name := range qcow2.ProblemNames() {
		got[1<<i] = name
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// problemImage has three data clusters at 0x3000, between the L2 table and the
// refcount table at 0x6000. Its file ends at 0x8000.
func problemImage() qcow2test.Image {
	return qcow2test.Image{ClusterBits: 12, Size: 3 << 12, Clusters: kinds{0: data, 1: data, 2: data}}
}

// wantBetween sets the entry of the middle one of three data clusters, and
// wants it to be the only one with a problem.
func wantBetween(t *testing.T, b *qcow2test.Built, entry uint64, want string) {
	t.Helper()
	b.Set("l2[0][1]", entry)
	img := open(t, b)
	rows := []string{"0x0+0x1000 data 0x3000", "0x1000+0x1000 " + want, "0x2000+0x1000 data 0x5000"}
	wantRows(t, img, qcow2.GuestOptions{}, rows...)
	wantRows(t, img, qcow2.GuestOptions{PerCluster: true}, rows...)
}

func TestProblems(t *testing.T) {
	for _, test := range []struct {
		entry uint64
		want  string
	}{
		{copied | 0x4200, "data 0x4200 unaligned"},
		{copied | 0x4201, "zero-allocated 0x4200 unaligned"},
		{copied | 0x7000, "data 0x7000"},
		{copied | 0x8000, "data 0x8000 beyond-end-of-file"},
		{copied | 0x00fffffffffff000, "data 0xfffffffffff000 beyond-end-of-file"},
		{copied | 0x1000, "data 0x1000 overlaps-metadata"},
		{copied | 0x2000, "data 0x2000 overlaps-metadata"}, // the L2 table that it is in
		{copied | 0x6000, "data 0x6000 overlaps-metadata"},
		{copied | 0x6001, "zero-allocated 0x6000 overlaps-metadata"},
		{0x200, "data 0x200 unaligned overlaps-metadata"},
		{0x200 | 1<<60, "data 0x200 unaligned reserved-bits overlaps-metadata"},
		{1<<40 | 0x1e00 | 4, "data 0x10000001e00 unaligned beyond-end-of-file reserved-bits"},
		{2, "unallocated reserved-bits"},
		{3, "zero reserved-bits"},
		{1 << 56, "unallocated reserved-bits"},
	} {
		t.Run(fmt.Sprintf("%#x", test.entry), func(t *testing.T) { wantBetween(t, problemImage().Build(), test.entry, test.want) })
	}
}

func TestReservedBits(t *testing.T) {
	for bit := range 64 {
		image := problemImage()
		want := "data 0x4000"
		switch {
		case bit == 0: // with a meaning in version 3 only
			image.Version = 2
			want += " reserved-bits"
		case bit <= 8 || bit >= 56 && bit <= 61:
			want += " reserved-bits"
		default:
			continue
		}
		t.Run(fmt.Sprint(bit), func(t *testing.T) { wantBetween(t, image.Build(), 0x4000|1<<bit, want) })
	}
}

// TestSnapshotTableProblem: the table is metadata if there are snapshots.
func TestSnapshotTableProblem(t *testing.T) {
	image := problemImage()
	wantBetween(t, image.Build().Set("snapshots_offset", 0x7000), 0x7000, "data 0x7000")
	image.Snapshots = []qcow2test.Snapshot{{ID: "1"}}
	table := image.Build().Get("snapshots_offset")
	wantBetween(t, image.Build(), table, fmt.Sprintf("data %#x overlaps-metadata", table))
}

// TestProblemsAtTheEndOfTheFile cuts the file inside the last data cluster and
// before it.
func TestProblemsAtTheEndOfTheFile(t *testing.T) {
	for size, want := range map[int][]string{
		0x5001: {"0x0+0x3000 data 0x3000"},
		0x5000: {"0x0+0x2000 data 0x3000", "0x2000+0x1000 data 0x5000 beyond-end-of-file"},
		0x4001: {"0x0+0x2000 data 0x3000", "0x2000+0x1000 data 0x5000 beyond-end-of-file"},
		0x4000: {"0x0+0x1000 data 0x3000", "0x1000+0x2000 data 0x4000 beyond-end-of-file"},
	} {
		wantRows(t, open(t, problemImage().Build().Truncate(size)), qcow2.GuestOptions{}, want...)
	}
}

// TestProblemsInsideRun moves the refcount table into the middle of a run of
// data clusters that is healthy at both ends.
func TestProblemsInsideRun(t *testing.T) {
	b := problemImage().Build().Set("refcount_table_offset", 0x4000)
	want := []string{"0x0+0x1000 data 0x3000", "0x1000+0x1000 data 0x4000 overlaps-metadata", "0x2000+0x1000 data 0x5000"}
	wantRows(t, open(t, b), qcow2.GuestOptions{}, want...)
	wantRows(t, open(t, b), qcow2.GuestOptions{PerCluster: true}, want...)
}

// compressedEntry returns a descriptor with clusters of 4 KiB.
func compressedEntry(offset, sectors uint64) uint64 { return 1<<62 | (sectors-1)<<58 | offset }

func TestCompressedProblems(t *testing.T) {
	for _, test := range []struct {
		entry uint64
		want  string
	}{
		{compressedEntry(0x4123, 3), "compressed 0x4123 3 sectors"},
		{compressedEntry(0x4123, 3) | copied, "compressed 0x4123 3 sectors copied-flag"},
		{compressedEntry(0x7fff, 1), "compressed 0x7fff 1 sectors"},
		// A structure may end less than a cluster past the end of the file: sectors are
		// rounded up, and what QEMU writes last ends where its data end.
		{compressedEntry(0x7fff, 8), "compressed 0x7fff 8 sectors"},
		{compressedEntry(0x7fff, 9), "compressed 0x7fff 9 sectors beyond-end-of-file"},
		{compressedEntry(0x8000, 1), "compressed 0x8000 1 sectors beyond-end-of-file"},
		{compressedEntry(1<<55, 16), "compressed 0x80000000000000 16 sectors beyond-end-of-file"},
		{compressedEntry(1<<56|0x4123, 1), "compressed 0x100000000004123 1 sectors beyond-end-of-file reserved-bits"},
		{compressedEntry(1<<57|0x4123, 1), "compressed 0x200000000004123 1 sectors beyond-end-of-file reserved-bits"},
		{compressedEntry(0, 1), "compressed 0x0 1 sectors overlaps-metadata"},
		{compressedEntry(0x5fff, 1), "compressed 0x5fff 1 sectors"},
		{compressedEntry(0x5fff, 2), "compressed 0x5fff 2 sectors overlaps-metadata"},
		{compressedEntry(0x6fff, 1), "compressed 0x6fff 1 sectors overlaps-metadata"},
		{compressedEntry(0x7000, 1), "compressed 0x7000 1 sectors"},
	} {
		t.Run(test.want, func(t *testing.T) { wantBetween(t, problemImage().Build(), test.entry, test.want) })
	}
}

// TestCompressedReservedBits: the bitmap of a compressed cluster is reserved.
func TestCompressedReservedBits(t *testing.T) {
	image := qcow2test.Image{
		ClusterBits: 14, Size: 2 << 14, IncompatibleFeatures: 1 << 4,
		Compressed: map[uint64]qcow2test.Compressed{0: {Sectors: 1}, 1: {Sectors: 1}},
	}
	want := []string{"0x0+0x4000 compressed 0x4000 1 sectors reserved-bits", "0x4000+0x4000 compressed 0x4000 1 sectors"}
	b := image.Build().Set("l2[0][0].bitmap", 1<<32)
	wantRows(t, open(t, b), qcow2.GuestOptions{}, want...)
	wantRows(t, open(t, b), qcow2.GuestOptions{PerCluster: true}, want...)
}

// TestInvalidSubclusters: the subclusters that have the problem report it, or the
// cluster as a whole.
func TestInvalidSubclusters(t *testing.T) {
	for _, test := range []struct {
		kind   qcow2test.Kind
		bitmap uint64
		want   []string
		each   string
	}{
		{data, 1<<32 | 1, []string{"0x0+0x200 data 0xc000 invalid-subclusters", "0x200+0x3e00 unallocated 0xc200"}, "data 0xc000"},
		{data, 1<<32 | 3, []string{"0x0+0x200 data 0xc000 invalid-subclusters", "0x200+0x200 data 0xc200", "0x400+0x3c00 unallocated 0xc400"}, "data 0xc000"},
		{data, 3<<32 | 1, []string{"0x0+0x200 data 0xc000 invalid-subclusters", "0x200+0x200 zero-allocated 0xc200", "0x400+0x3c00 unallocated 0xc400"}, "data 0xc000"},
		{data, 1<<63 | 0xffffffff, []string{"0x0+0x3e00 data 0xc000", "0x3e00+0x200 data 0xfe00 invalid-subclusters"}, "data 0xc000"},
		{data, 0xffffffffffffffff, []string{"0x0+0x4000 data 0xc000 invalid-subclusters"}, "data 0xc000"},
		{zero, 0xf, []string{"0x0+0x800 unallocated invalid-subclusters", "0x800+0x3800 unallocated"}, "unallocated"},
		{zero, 0xffffffff, []string{"0x0+0x4000 unallocated invalid-subclusters"}, "unallocated"},
		{zero, 2<<32 | 1, []string{"0x0+0x200 unallocated invalid-subclusters", "0x200+0x200 zero", "0x400+0x3c00 unallocated"}, "zero"},
		{zero, 1<<32 | 1, []string{"0x0+0x200 zero invalid-subclusters", "0x200+0x3e00 unallocated"}, "zero"},
	} {
		t.Run(fmt.Sprintf("%d %#x", test.kind, test.bitmap), func(t *testing.T) {
			img := open(t, qcow2test.Image{
				ClusterBits: 14, Size: 2 << 14, IncompatibleFeatures: 1 << 4,
				Clusters: kinds{0: test.kind, 1: zero}, Subclusters: map[uint64]uint64{0: test.bitmap},
			}.Build())
			neighbour := "0x4000+0x4000 zero"
			wantRows(t, img, qcow2.GuestOptions{}, append(slices.Clip(test.want), neighbour)...)
			each := fmt.Sprintf("0x0+0x4000 %s bitmap %#x invalid-subclusters", test.each, test.bitmap)
			wantRows(t, img, qcow2.GuestOptions{PerCluster: true}, each, neighbour+" bitmap 0xffffffff00000000")
		})
	}
}

// TestOtherProblemsOfSubclusters: a problem of the host offset is one of every
// subcluster.
func TestOtherProblemsOfSubclusters(t *testing.T) {
	b := qcow2test.Image{
		ClusterBits: 14, Size: 1 << 14, IncompatibleFeatures: 1 << 4,
		Clusters: kinds{0: data}, Subclusters: map[uint64]uint64{0: 1<<32 | 0xffff},
	}.Build()
	wantRows(t, open(t, b.Set("l2[0][0]", 0xc200)), qcow2.GuestOptions{},
		"0x0+0x200 data 0xc200 unaligned invalid-subclusters", "0x200+0x1e00 data 0xc400 unaligned", "0x2000+0x2000 unallocated 0xe200 unaligned")
}

func TestDataFileProblems(t *testing.T) {
	image := qcow2test.Image{ClusterBits: 14, Size: 4 << 14, IncompatibleFeatures: 1 << 2, Clusters: kinds{0: data, 1: data, 2: data, 3: data}}
	subclusters := image
	subclusters.IncompatibleFeatures |= 1 << 4
	tests := map[string]struct {
		patches map[string]uint64
		want    []string
	}{
		"none": {nil, []string{"0x0+0x10000 data 0x0"}},
		"another offset": {
			map[string]uint64{"l2[0][1]": copied | 0x8000},
			[]string{"0x0+0x4000 data 0x0", "0x4000+0x4000 data 0x8000 offset-mismatch", "0x8000+0x8000 data 0x8000"},
		},
		"offset 0": {
			map[string]uint64{"l2[0][2]": copied},
			[]string{"0x0+0x8000 data 0x0", "0x8000+0x4000 data 0x0 offset-mismatch", "0xc000+0x4000 data 0xc000"},
		},
		"offset 0 twice": {
			map[string]uint64{"l2[0][1]": copied},
			[]string{"0x0+0x4000 data 0x0", "0x4000+0x4000 data 0x0 offset-mismatch", "0x8000+0x8000 data 0x8000"},
		},
		"unaligned": {
			map[string]uint64{"l2[0][3]": 0xc200},
			[]string{"0x0+0xc000 data 0x0", "0xc000+0x4000 data 0xc200 unaligned offset-mismatch"},
		},
		"past the end": {
			map[string]uint64{"l2[0][3]": 1 << 50},
			[]string{"0x0+0xc000 data 0x0", "0xc000+0x4000 data 0x4000000000000 offset-mismatch"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for _, image := range []qcow2test.Image{image, subclusters} {
				image.Patches = test.patches
				img := open(t, image.Build())
				wantRows(t, img, qcow2.GuestOptions{}, test.want...)
				wantProblems(t, img, test.want)
			}
		})
	}
}

func TestCompressedWithDataFile(t *testing.T) {
	b := qcow2test.Image{
		ClusterBits: 12, Size: 2 << 12, IncompatibleFeatures: 1 << 2,
		Clusters: kinds{0: data}, Compressed: map[uint64]qcow2test.Compressed{1: {Sectors: 1}},
	}.Build()
	want := []string{"0x0+0x1000 data 0x0", "0x1000+0x1000 compressed 0x1000 1 sectors not-allowed"}
	wantRows(t, open(t, b), qcow2.GuestOptions{}, want...)
	wantRows(t, open(t, b), qcow2.GuestOptions{PerCluster: true}, want...)
}

// wantProblems checks that single clusters have the same problems as in rows, in
// which each row with problems is one cluster.
func wantProblems(t *testing.T, img *qcow2.Image, rows []string) {
	t.Helper()
	var want, got []string
	for _, row := range rows {
		if words := strings.Fields(row); strings.Contains(words[len(words)-1], "-") {
			want = append(want, row)
		}
	}
	for m, err := range img.Guest(t.Context(), qcow2.GuestOptions{PerCluster: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Problems != 0 {
			m.HasSubclusterBitmap = false
			got = append(got, row(m))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("clusters with problems (-want +got):\n%s", diff)
	}
}
