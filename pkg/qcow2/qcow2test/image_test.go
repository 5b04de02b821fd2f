package qcow2test_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestHealthy checks with qemu-img that images built without patches are
// consistent.
func TestHealthy(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	clusters := map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 3: qcow2test.Data, 100: qcow2test.Data}
	withZeros := map[uint64]qcow2test.Kind{0: qcow2test.Data, 2: qcow2test.Zero, 3: qcow2test.ZeroAllocated}
	compressed := map[uint64]qcow2test.Compressed{4: {Sectors: 3}, 5: {Offset: 0x5ff, Sectors: 1}, 6: {Offset: 0x600, Sectors: 2}, 200: {Offset: 0xa00, Sectors: 1}}
	snapshots := []qcow2test.Snapshot{{ID: "1", Name: "one", Seconds: 1700000000}, {ID: "2", Name: "two", VMStateSize: 5}}
	tests := map[string]qcow2test.Image{
		"empty":            {Size: 1 << 20},
		"v2":               {Version: 2, Size: 16 << 20, Clusters: clusters},
		"512 bytes":        {ClusterBits: 9, Size: 1 << 20, Clusters: clusters},
		"2 MiB":            {ClusterBits: 21, Size: 1 << 30, Clusters: clusters},
		"refcount 1":       {ClusterBits: 9, RefcountBits: 1, Size: 1 << 20, Clusters: clusters},
		"refcount 4":       {ClusterBits: 9, RefcountBits: 4, Size: 1 << 20, Clusters: clusters, Snapshots: snapshots},
		"refcount 64":      {ClusterBits: 9, RefcountBits: 64, Size: 1 << 20, Clusters: clusters},
		"zeros":            {Size: 1 << 20, Clusters: withZeros},
		"snapshots":        {ClusterBits: 12, Size: 1 << 20, Clusters: withZeros, Snapshots: snapshots},
		"v2 snapshot":      {Version: 2, ClusterBits: 12, Size: 1 << 20, Clusters: clusters, Snapshots: snapshots[:1]},
		"bitmaps":          {ClusterBits: 12, Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{{Name: "a"}, {Name: "bb", GranularityBits: 9, Flags: 2}}},
		"extended L2":      {ClusterBits: 14, Size: 1 << 20, IncompatibleFeatures: 1 << 4, Clusters: withZeros},
		"compressed":       {ClusterBits: 9, Size: 1 << 20, Clusters: clusters, Compressed: compressed, Snapshots: snapshots},
		"2 MiB compressed": {ClusterBits: 21, Size: 1 << 30, Clusters: clusters, Compressed: compressed},
		"v2 compressed":    {Version: 2, Size: 16 << 20, Clusters: clusters, Compressed: compressed},
		"subclusters": {
			ClusterBits: 14, Size: 16 << 20, IncompatibleFeatures: 1 << 4, Clusters: withZeros, Compressed: compressed,
			Subclusters: map[uint64]uint64{0: 0xff, 2: 0xff << 40, 3: 1<<63 | 1},
		},
		"data file": {
			ClusterBits: 12, Size: 1 << 20, IncompatibleFeatures: 1 << 2, Clusters: withZeros,
			Extensions: []qcow2test.Extension{{Type: 0x44415441, Data: []byte("data.raw")}},
		},
		"data file with subclusters": {
			ClusterBits: 14, Size: 1 << 20, IncompatibleFeatures: 1<<2 | 1<<4, Clusters: withZeros,
			Extensions: []qcow2test.Extension{{Type: 0x44415441, Data: []byte("data.raw")}},
		},
		"past the end of the disk": {ClusterBits: 9, Size: 1<<20 - 512, Clusters: map[uint64]qcow2test.Kind{1: qcow2test.Data, 2048: qcow2test.Data, 2111: qcow2test.Data}},
		"snapshots of their own": {ClusterBits: 12, Size: 1 << 20, Clusters: withZeros, Snapshots: []qcow2test.Snapshot{
			{ID: "1", DiskSize: 4 << 20, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 1023: qcow2test.ZeroAllocated}},
			{ID: "2", L1Size: 9},
			{ID: "3", DiskSize: 512, Clusters: map[uint64]qcow2test.Kind{512: qcow2test.Data}},
		}},
		"shorter L1 in a snapshot": {ClusterBits: 9, Size: 1 << 20, Clusters: clusters, Snapshots: []qcow2test.Snapshot{{ID: "1", DiskSize: 32768, L1Size: 1}}},
		"zstd":                     {Size: 1 << 20, IncompatibleFeatures: 1 << 3, CompressionType: 1},
		"extension":                {Size: 1 << 20, Extensions: []qcow2test.Extension{{Type: 0x12345678, Data: []byte("what is this")}}},
	}
	for name, image := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "image.qcow2")
			if err := os.WriteFile(file, image.Build().Bytes, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "data.raw"), make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			check := exec.CommandContext(t.Context(), "qemu-img", "check", "-f", "qcow2", file)
			check.Dir = dir // where QEMU looks for the data file
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("qemu-img check: %v\n%s", err, out)
			}
		})
	}
}

func TestSet(t *testing.T) {
	b := qcow2test.Image{Size: 1 << 20, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	b.Set("cluster_bits", 63).Set("snapshot[0].name_size", 0xffff)
	if got := b.Bytes[20:24]; string(got) != "\x00\x00\x00\x3f" {
		t.Errorf("cluster_bits is stored as %x", got)
	}
	if got := b.Get("snapshot[0].name_size"); got != 0xffff {
		t.Errorf("Get after Set = %#x, want 0xffff", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("Set of an unknown field does not panic")
		}
	}()
	b.Set("no such field", 0)
}
