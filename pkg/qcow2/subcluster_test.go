package qcow2_test

import (
	"fmt"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// subclusterImage has extended L2 entries of every uniform and mixed kind. The
// disk ends inside the last cluster.
func subclusterImage() qcow2test.Image {
	return qcow2test.Image{
		ClusterBits: 14, Size: 8<<14 + 5*512, IncompatibleFeatures: 1 << 4,
		Clusters:    kinds{0: data, 1: data, 2: data, 3: zero, 4: zero, 5: zeroAllocated, 7: data, 8: data},
		Subclusters: map[uint64]uint64{2: 0xffff, 4: 0xffff << 32, 5: 0xff | 0xff00<<32, 7: 0, 8: 1<<0 | 1<<1 | 1<<4},
	}
}

func TestGuestSubclusters(t *testing.T) {
	b := subclusterImage().Build()
	b.Set("l2[0][0]", b.Get("l2[0][0]")|1) // has no meaning here
	img := open(t, b)
	wantRows(t, img, qcow2.GuestOptions{},
		"0x0+0xa000 data 0xc000", "0xa000+0x2000 unallocated 0x16000", "0xc000+0x6000 zero", "0x12000+0x2000 unallocated",
		"0x14000+0x1000 data 0x18000", "0x15000+0x1000 zero-allocated 0x19000", "0x16000+0x2000 unallocated 0x1a000", "0x18000+0x4000 unallocated",
		"0x1c000+0x4000 unallocated 0x1c000", "0x20000+0x400 data 0x20000", "0x20400+0x400 unallocated 0x20400", "0x20800+0x200 data 0x20800")
	wantRows(t, img, qcow2.GuestOptions{PerCluster: true},
		"0x0+0x4000 data 0xc000 bitmap 0xffffffff", "0x4000+0x4000 data 0x10000 bitmap 0xffffffff", "0x8000+0x4000 data 0x14000 bitmap 0xffff",
		"0xc000+0x4000 zero bitmap 0xffffffff00000000", "0x10000+0x4000 zero bitmap 0xffff00000000",
		"0x14000+0x4000 data 0x18000 bitmap 0xff00000000ff", "0x18000+0x4000 unallocated bitmap 0x0",
		"0x1c000+0x4000 unallocated 0x1c000 bitmap 0x0", "0x20000+0xa00 data 0x20000 bitmap 0x13")
}

// TestGuestSubclusterWindow: if the subclusters of a cluster differ, the mappings
// that the range touches are yielded; otherwise the cluster is whole.
func TestGuestSubclusterWindow(t *testing.T) {
	img := open(t, subclusterImage().Build())
	data, zero, rest := "0x14000+0x1000 data 0x18000", "0x15000+0x1000 zero-allocated 0x19000", "0x16000+0x2000 unallocated 0x1a000"
	for _, test := range []struct {
		offset, length uint64
		want           []string
	}{
		{0x14000, 0x4000, []string{data, zero, rest}},
		{0x15000, 1, []string{zero}},
		{0x15fff, 1, []string{zero}},
		{0x14fff, 2, []string{data, zero}},
		{0x15fff, 2, []string{zero, rest}},
		{0x17fff, 2, []string{rest, "0x18000+0x4000 unallocated"}},
		{0x13fff, 2, []string{"0x12000+0x2000 unallocated", data}},
		{0x4001, 1, []string{"0x4000+0x4000 data 0x10000"}},
		{0x20700, 0, []string{"0x20400+0x400 unallocated 0x20400", "0x20800+0x200 data 0x20800"}},
	} {
		wantRows(t, img, qcow2.GuestOptions{Offset: test.offset, Length: test.length}, test.want...)
	}
}

// TestGuestSubclusterBitmaps gives two clusters that follow each other in guest
// and host the same bitmap.
func TestGuestSubclusterBitmaps(t *testing.T) {
	for _, test := range []struct {
		kind   qcow2test.Kind
		bitmap uint64
		want   []string
		each   string // what a cluster is as a whole
	}{
		{data, 0xffffffff, []string{"0x0+0x8000 data 0xc000"}, "data"},
		{data, 0, []string{"0x0+0x8000 unallocated 0xc000"}, "unallocated"},
		{zeroAllocated, 0xffffffff << 32, []string{"0x0+0x8000 zero-allocated 0xc000"}, "zero-allocated"},
		{data, 0xffff0000, []string{"0x0+0x2000 unallocated 0xc000", "0x2000+0x2000 data 0xe000", "0x4000+0x2000 unallocated 0x10000", "0x6000+0x2000 data 0x12000"}, "data"},
		{data, 1<<63 | 0x7fffffff, []string{"0x0+0x3e00 data 0xc000", "0x3e00+0x200 zero-allocated 0xfe00", "0x4000+0x3e00 data 0x10000", "0x7e00+0x200 zero-allocated 0x13e00"}, "data"},
		{data, 1 << 32, []string{"0x0+0x200 zero-allocated 0xc000", "0x200+0x3e00 unallocated 0xc200", "0x4000+0x200 zero-allocated 0x10000", "0x4200+0x3e00 unallocated 0x10200"}, "zero-allocated"},
		{zero, 1 << 63, []string{"0x0+0x3e00 unallocated", "0x3e00+0x200 zero", "0x4000+0x3e00 unallocated", "0x7e00+0x200 zero"}, "zero"},
		{zero, 0, []string{"0x0+0x8000 unallocated"}, "unallocated"},
	} {
		t.Run(fmt.Sprintf("%d %#x", test.kind, test.bitmap), func(t *testing.T) {
			img := open(t, qcow2test.Image{
				ClusterBits: 14, Size: 2 << 14, IncompatibleFeatures: 1 << 4,
				Clusters: kinds{0: test.kind, 1: test.kind}, Subclusters: map[uint64]uint64{0: test.bitmap, 1: test.bitmap},
			}.Build())
			wantRows(t, img, qcow2.GuestOptions{}, test.want...)
			first, second := " ", " "
			if test.kind != zero {
				first, second = " 0xc000 ", " 0x10000 "
			}
			bitmap := fmt.Sprintf("bitmap %#x", test.bitmap)
			wantRows(t, img, qcow2.GuestOptions{PerCluster: true}, "0x0+0x4000 "+test.each+first+bitmap, "0x4000+0x4000 "+test.each+second+bitmap)
		})
	}
}

// TestGuestSubclusterStripes has every other subcluster in another state.
func TestGuestSubclusterStripes(t *testing.T) {
	img := open(t, qcow2test.Image{
		ClusterBits: 14, Size: 1 << 14, IncompatibleFeatures: 1 << 4,
		Clusters: kinds{0: data}, Subclusters: map[uint64]uint64{0: 0x55555555 | 0xaaaaaaaa<<32},
	}.Build())
	var want []string
	for i := uint64(0); i < 32; i += 2 {
		want = append(want, fmt.Sprintf("%#x+0x200 data %#x", i*512, 0xc000+i*512), fmt.Sprintf("%#x+0x200 zero-allocated %#x", (i+1)*512, 0xc000+(i+1)*512))
	}
	wantRows(t, img, qcow2.GuestOptions{}, want...)
}

func TestGuestCompressedBesideSubclusters(t *testing.T) {
	img := open(t, qcow2test.Image{
		ClusterBits: 14, Size: 3 << 14, IncompatibleFeatures: 1 << 4,
		Clusters: kinds{0: data}, Compressed: map[uint64]qcow2test.Compressed{1: {Sectors: 9}},
	}.Build())
	want := []string{"0x0+0x4000 data 0x10000", "0x4000+0x4000 compressed 0x4000 9 sectors", "0x8000+0x4000 unallocated"}
	wantRows(t, img, qcow2.GuestOptions{}, want...)
	wantRows(t, img, qcow2.GuestOptions{PerCluster: true}, want[0]+" bitmap 0xffffffff", want[1], want[2]+" bitmap 0x0")
}
