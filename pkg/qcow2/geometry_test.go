package qcow2_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestGeometry(t *testing.T) {
	tests := map[string]struct {
		image qcow2test.Image
		want  qcow2.Geometry
	}{
		"64 KiB clusters": {
			qcow2test.Image{Size: 1<<30 + 1000},
			qcow2.Geometry{
				ClusterBits: 16, ClusterSize: 65536, VirtualSize: 1<<30 + 512, Clusters: 16385, HostClusters: 4,
				RefcountBits: 16, RefcountBlockEntries: 32768, RefcountTableEntries: 8192,
				L2EntrySize: 8, L2Entries: 8192, SubclusterSize: 65536,
				L1Entries: 3, L2CacheSize: 3 * 65536, VMStateOffset: 3 << 29,
			},
		},
		"512 byte clusters, refcounts of 1 bit": {
			qcow2test.Image{ClusterBits: 9, RefcountBits: 1, Size: 32768},
			qcow2.Geometry{
				ClusterBits: 9, ClusterSize: 512, VirtualSize: 32768, Clusters: 64, HostClusters: 4,
				RefcountBits: 1, RefcountBlockEntries: 4096, RefcountTableEntries: 64,
				L2EntrySize: 8, L2Entries: 64, SubclusterSize: 512,
				L1Entries: 1, L2CacheSize: 512, VMStateOffset: 32768,
			},
		},
		"extended L2, refcounts of 64 bits": {
			qcow2test.Image{ClusterBits: 14, RefcountBits: 64, Size: 16<<20 + 1<<14, IncompatibleFeatures: 1 << 4},
			qcow2.Geometry{
				ClusterBits: 14, ClusterSize: 16384, VirtualSize: 16<<20 + 1<<14, Clusters: 1025, HostClusters: 4,
				RefcountBits: 64, RefcountBlockEntries: 2048, RefcountTableEntries: 2048,
				L2EntrySize: 16, L2Entries: 1024, SubclusterSize: 512,
				L1Entries: 2, L2CacheSize: 2 * 16384, VMStateOffset: 32 << 20,
			},
		},
		"no disk": {
			qcow2test.Image{L1Size: 1},
			qcow2.Geometry{
				ClusterBits: 16, ClusterSize: 65536, HostClusters: 4,
				RefcountBits: 16, RefcountBlockEntries: 32768, RefcountTableEntries: 8192,
				L2EntrySize: 8, L2Entries: 8192, SubclusterSize: 65536,
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := open(t, test.image.Build()).Geometry()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("geometry (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGeometryOfTheLargestDisk holds that nothing wraps around.
func TestGeometryOfTheLargestDisk(t *testing.T) {
	for _, bits := range []uint{9, 16, 21} {
		b := qcow2test.Image{ClusterBits: bits, L1Size: 1}.Build().Set("size", math.MaxUint64)
		g, err := open(t, b).Geometry()
		if err != nil {
			t.Fatal(err)
		}
		size := uint64(math.MaxUint64) &^ 511
		if g.VirtualSize != size || g.Clusters != size>>bits+min(1, size&(1<<bits-1)) || g.VMStateOffset != math.MaxUint64 {
			t.Errorf("cluster_bits %d: %+v", bits, g)
		}
	}
}

func TestClustersIn(t *testing.T) {
	for _, test := range []struct {
		bits        uint
		bytes, want uint64
	}{
		{9, 0, 0},
		{9, 1, 1},
		{9, 512, 1},
		{9, 513, 2},
		{16, 1 << 16, 1},
		{16, 1<<20 + 1, 17},
		{21, math.MaxUint64 - 1<<21 + 1, 1<<43 - 1},
		{21, math.MaxUint64, 1 << 43},
		{9, math.MaxUint64, 1 << 55},
	} {
		g := qcow2.Geometry{ClusterBits: test.bits, ClusterSize: 1 << test.bits}
		if got := g.ClustersIn(test.bytes); got != test.want {
			t.Errorf("%d bytes take %d clusters of %d bytes, want %d", test.bytes, got, g.ClusterSize, test.want)
		}
	}
}
