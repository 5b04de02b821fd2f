package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestUsageSharedTables: what is mapped through one L2 table counts for each L1
// entry that points there, but for what lies past the end of the disk.
func TestUsageSharedTables(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 6<<15 - 512, Clusters: kinds{0: data, 63: data, 70: zero, 127: zeroAllocated, 170: data}}.Build()
	b.Set("l1[2]", b.Get("l1[0]"))
	for i, from := range []uint64{3: 0, 4: 1, 5: 0} {
		if i >= 3 {
			binary.BigEndian.PutUint64(b.Bytes[b.Get("l1_table_offset")+uint64(i)*8:], b.Get(fmt.Sprintf("l1[%d]", from)))
		}
	}
	img := open(t, b)
	u, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Entries 0, 2, 3 and 5 point to one table, whose last cluster is past the
	// disk in the last; 1 and 4 to another.
	want := qcow2.MappedUsage{Bytes: 512 * (4*2 - 1 + 2*2), Preallocated: 512 * 2, Zero: 512 * 2}
	if u.Mapped != want {
		t.Errorf("mapped %+v, want %+v", u.Mapped, want)
	}
	if model := mappedModel(t, img); u.Mapped != model {
		t.Errorf("mapped %+v, guest says %+v", u.Mapped, model)
	}
}

func TestUsageMapped(t *testing.T) {
	im := qcow2test.Image{ClusterBits: 12, Size: 1<<20 + 512, Clusters: kinds{0: data, 2: zero, 3: zero, 9: zeroAllocated, 256: data},
		Compressed: map[uint64]qcow2test.Compressed{20: {Sectors: 3}}}
	u, err := open(t, im.Build()).Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := qcow2.MappedUsage{Bytes: 5*4096 + 512, Preallocated: 4096, Zero: 2 * 4096}
	if u.Mapped != want {
		t.Errorf("mapped %+v, want %+v", u.Mapped, want)
	}
}
