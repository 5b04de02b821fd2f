package qcow2_test

import (
	"encoding/binary"
	"errors"
	"runtime/metrics"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// hostSeeds are images of every kind, small as fuzzing wants them.
func hostSeeds() [][]byte {
	var seeds [][]byte
	for _, image := range []qcow2test.Image{
		{ClusterBits: 9, Size: 80 << 9, Clusters: kinds{0: data, 1: data, 2: zero, 4: zeroAllocated, 63: data, 64: data, 90: data}},
		{ClusterBits: 9, Version: 2, Size: 1000, Clusters: kinds{0: data}, Compressed: map[uint64]qcow2test.Compressed{1: {Offset: 9, Sectors: 2}}},
		{ClusterBits: 9, Size: 4 << 9, RefcountBits: 4, Clusters: kinds{0: data}, Snapshots: []qcow2test.Snapshot{{ID: "1", VMStateSize: 1}, {ID: "2", DiskSize: 9 << 9, Clusters: kinds{8: data, 70: data}}}},
		{ClusterBits: 9, Size: 4 << 9, Bitmaps: []qcow2test.Bitmap{{Name: "b", GranularityBits: 9}}},
	} {
		b := image.Build()
		seeds = append(seeds, b.Bytes, image.Build().Set("l1[0]", b.Get("l1_table_offset")|1).Bytes)
	}
	oneBlock := qcow2test.Image{ClusterBits: 9, Size: 300 << 9, RefcountBits: 64}.Build()
	for i := range uint64(4) { // 64 clusters each
		binary.BigEndian.PutUint64(oneBlock.Bytes[oneBlock.Field("refcount_table[0]").Offset+i*8:], oneBlock.Get("refcount_table[0]"))
	}
	seeds = append(seeds, append(oneBlock.Bytes, make([]byte, 100<<9)...))
	return seeds
}

// FuzzHost: whatever the bytes, Host, Check, Usage and Survey end, and agree: lengths
// add up to the size of the file, a cluster has as many owners as references,
// two checks are equal, usage is the sum over host, and a survey is check and usage.
func FuzzHost(f *testing.F) {
	for _, seed := range hostSeeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		fuzzImage(t, p, img)
		if img := openStrict(t, p); endsEarly(t, img) {
			fuzzImage(t, p, img)
		}
	})
}

// endsEarly reports whether refcounts of an image are unknown as the refcount table
// leads to a block again.
func endsEarly(t *testing.T, img *qcow2.Image) bool {
	t.Helper()
	for _, err := range img.Host(t.Context(), qcow2.HostOptions{}) {
		if e, ok := errors.AsType[*qcow2.Error](err); ok && e.Section == qcow2.SectionRefcountTable && errors.Is(e, qcow2.ErrLimit) {
			return true
		}
	}
	return false
}

// What Host, Check and Usage may allocate for an image: a constant, and a number of
// bytes for each byte of the file. The constant is mostly the two windows of 1 MiB
// through which tables are read, and what the fuzzing process allocates meanwhile.
// The rest is the test's own notes: an entry of 8 bytes can have several findings,
// and the test keeps those of two checks as text.
const (
	allocatedBytes   = 3 << 20
	allocatedPerByte = 512
)

// bounded calls f, and compares what it allocates with the size of the file. It calls
// f again if that was too much: the fuzzer allocates some megabytes now and then.
func bounded(t *testing.T, img *qcow2.Image, what string, f func()) {
	t.Helper()
	most := allocatedBytes + allocatedPerByte*uint64(img.Size())
	for range 3 {
		before := allocated()
		f()
		if allocated()-before <= most {
			return
		}
	}
	t.Errorf("%s of a file of %d bytes allocates more than %d", what, img.Size(), most)
}

// allocated returns how many bytes the process has allocated so far.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// fuzzImage compares what Guest, Host, Check and Usage report about the image p.
func fuzzImage(t *testing.T, p []byte, img *qcow2.Image) {
	t.Helper()
	if img.Supported() != nil {
		return
	}
	bounded(t, img, "Host", func() { fuzzHost(t, p, img) })
	bounded(t, img, "Check", func() { fuzzCheck(t, img) })
	bounded(t, img, "Survey", func() {
		if _, _, err := img.Survey(t.Context(), qcow2.CheckOptions{}, qcow2.UsageOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	fuzzSurvey(t, img)
	bounded(t, img, "BitmapContents", func() { fuzzBitmaps(t, p, img) })
}

// fuzzHost compares what Host yields with itself, and with Usage.
func fuzzHost(t *testing.T, p []byte, img *qcow2.Image) {
	t.Helper()
	kinds := map[qcow2.HostKind]uint64{}
	references := map[uint64]uint64{}
	end := uint64(0)
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{PerCluster: true}) {
		if err != nil {
			checkError(t, p, err)
			continue
		}
		if r.Offset != end || r.Length == 0 {
			t.Fatalf("%+v, but the cluster before ends at %#x", r, end)
		}
		end += r.Length
		kinds[r.Kind] += r.Length
		references[r.Offset] = r.References
	}
	if end != uint64(img.Size()) {
		t.Fatalf("the last cluster ends at %#x, the file at %#x", end, img.Size())
	}
	fuzzOwners(t, img, references)
	fuzzUsage(t, img, kinds)
}

// fuzzOwners compares the references of each cluster with their number, up to a
// limit: an image can have more than there is time for.
func fuzzOwners(t *testing.T, img *qcow2.Image, references map[uint64]uint64) {
	t.Helper()
	const limit = 8
	owners := map[uint64]uint64{}
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{Owners: true, Limit: limit}) {
		if err == nil && r.HasReference {
			owners[r.Offset]++
		}
	}
	for offset, n := range references {
		if want := min(n, limit); owners[offset] != want {
			t.Errorf("%d owners of the cluster at %#x, which has %d references", owners[offset], offset, n)
		}
	}
}

func fuzzCheck(t *testing.T, img *qcow2.Image) {
	t.Helper()
	first, result := check(t, img)
	second, again := check(t, img)
	if !slices.Equal(first, second) || result != again {
		t.Errorf("two checks differ (-first +second):\n%s", cmp.Diff(first, second))
	}
}

// fuzzSurvey compares Survey with Check and Usage.
func fuzzSurvey(t *testing.T, img *qcow2.Image) {
	t.Helper()
	for _, wrong := range compareSurvey(t, img) {
		t.Error(wrong)
	}
}

func fuzzUsage(t *testing.T, img *qcow2.Image, kinds map[qcow2.HostKind]uint64) {
	t.Helper()
	u, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if mapped := mappedModel(t, img); u.Mapped != mapped {
		t.Errorf("usage says %+v, guest %+v", u.Mapped, mapped)
	}
	for _, k := range u.Kinds {
		if k.Bytes != kinds[k.Kind] {
			t.Errorf("usage has %d bytes of %s, host %d", k.Bytes, k.Kind, kinds[k.Kind])
		}
	}
	for _, o := range u.Owners {
		if o.Exclusive+o.Shared != o.Referenced || o.VMState > o.Referenced || o.Referenced > u.FileSize {
			t.Errorf("%+v of a file of %d bytes", o, u.FileSize)
		}
	}
}
