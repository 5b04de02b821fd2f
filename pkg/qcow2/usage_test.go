package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

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

// TestUsageDailies: three snapshots that share what the active image has
// overwritten since. Each has its L1 table for itself; together they hold half of
// the file.
func TestUsageDailies(t *testing.T) {
	const size, guest = 4096, 256
	all := kinds{}
	for i := range uint64(guest) {
		all[i] = data
	}
	b := qcow2test.Image{ClusterBits: 12, Size: guest * size, Clusters: all, Snapshots: []qcow2test.Snapshot{
		{ID: "1", Clusters: all}, {ID: "2", Clusters: kinds{}}, {ID: "3", Clusters: kinds{}},
	}}.Build()
	for _, l1 := range []string{"snapshot[1].l1_table_offset", "snapshot[2].l1_table_offset"} {
		binary.BigEndian.PutUint64(b.Bytes[b.Get(l1):], b.Get("snapshot[0].l1[0]"))
	}
	img := open(t, b)
	usage := func(without ...string) *qcow2.Usage {
		var o qcow2.UsageOptions
		for _, name := range without {
			s, err := img.FindSnapshot(name)
			if err != nil {
				t.Fatal(err)
			}
			o.Without = append(o.Without, s)
		}
		u, err := img.Usage(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	u := usage()
	want := []qcow2.OwnerUsage{
		{Owner: qcow2.OwnerActive, Referenced: 258 * size, Exclusive: 258 * size},
		{Owner: 0, Referenced: 258 * size, Exclusive: size, ExclusiveWithOlder: size, Shared: 257 * size},
		{Owner: 1, Referenced: 258 * size, Exclusive: size, ExclusiveWithOlder: 2 * size, Shared: 257 * size},
		{Owner: 2, Referenced: 258 * size, Exclusive: size, ExclusiveWithOlder: 260 * size, Shared: 257 * size},
	}
	if diff := gocmp.Diff(want, u.Owners); diff != "" || u.SnapshotsOnly != 260*size || u.Freed != 0 {
		t.Errorf("%d bytes of snapshots, %d freed (-want +got):\n%s", u.SnapshotsOnly, u.Freed, diff)
	}
	for _, test := range []struct {
		without []string
		freed   uint64
	}{{[]string{"1"}, size}, {[]string{"1", "3"}, 2 * size}, {[]string{"3", "2", "1", "2"}, 1064960}} {
		if u := usage(test.without...); u.Freed != test.freed {
			t.Errorf("without %q: %d bytes are freed, want %d", test.without, u.Freed, test.freed)
		}
	}
}

// TestUsageZeroAllocated: what is zero-allocated for one owner can be data for
// another, and then it is not to be given back.
func TestUsageZeroAllocated(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: kinds{0: zeroAllocated, 1: zeroAllocated, 2: data},
		Snapshots: []qcow2test.Snapshot{{ID: "1", Clusters: kinds{0: data, 1: zeroAllocated}}}}.Build()
	reclaimed := func() (clusters uint64) {
		u, err := open(t, b).Usage(t.Context(), qcow2.UsageOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range u.Reclaim {
			if r.Kind == qcow2.ReclaimZeroAllocated {
				clusters += r.Clusters
			}
		}
		return clusters
	}
	if n := reclaimed(); n != 3 {
		t.Errorf("%d clusters are zero-allocated for all, want 3", n)
	}
	b.Set("snapshot[0].l2[0][0]", b.Get("l2[0][0]")&^1) // data, where the active image has zeros
	if n := reclaimed(); n != 2 {
		t.Errorf("with one that is data for a snapshot: %d, want 2", n)
	}
	b.Set("snapshot[0].l2[0][1]", b.Get("l2[0][1]"))
	if n := reclaimed(); n != 1 {
		t.Errorf("with one that both have: %d, want 1", n)
	}
}

// TestUsageTakenForFree: an image that would hand out a cluster that is in use has
// nothing free.
func TestUsageTakenForFree(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: kinds{0: data, 1: data}}.Build()
	cluster := b.Get("l2[0][1]") &^ copied >> 12
	b.Set(fmt.Sprintf("refcount[%d]", cluster), 0)
	u, err := open(t, b).Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if u.TakenForFree != 1 || u.Reclaim[0].Kind != qcow2.ReclaimTail {
		t.Errorf("%d clusters are taken for free, %+v comes first", u.TakenForFree, u.Reclaim[0])
	}
}

// TestUsageTooLow: a cluster that a snapshot shares needs a refcount of 2.
func TestUsageTooLow(t *testing.T) {
	for refcount, want := range map[uint64]uint64{0: 0, 1: 1, 2: 0, 3: 0} {
		b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: kinds{0: data}, Snapshots: []qcow2test.Snapshot{{ID: "1", Clusters: kinds{}}}}.Build()
		snapshot := b.Get("snapshot[0].l1_table_offset")
		binary.BigEndian.PutUint64(b.Bytes[snapshot:], b.Get("l1[0]")&^copied)
		table := b.Get("l1[0]") &^ copied >> 12
		b.Set(fmt.Sprintf("refcount[%d]", table), 2).Set(fmt.Sprintf("refcount[%d]", b.Get("l2[0][0]")&^copied>>12), refcount)
		u, err := open(t, b).Usage(t.Context(), qcow2.UsageOptions{})
		if err != nil || u.TooLow != want || (u.TakenForFree == 1) != (refcount == 0) {
			t.Errorf("refcount %d: %d too low, %d taken for free, %v; want %d too low", refcount, u.TooLow, u.TakenForFree, err, want)
		}
	}
}
