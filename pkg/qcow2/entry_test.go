package qcow2_test

import (
	"math"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

func TestL1Entry(t *testing.T) {
	for _, test := range []struct {
		entry    qcow2.L1Entry
		offset   uint64
		copied   bool
		reserved qcow2.L1Entry
	}{
		{0, 0, false, 0},
		{0x8000000000040000, 0x40000, true, 0},
		{0x0000000000040000, 0x40000, false, 0},
		{0xff00000000040000, 0x40000, true, 0x7f00000000000000},
		{0x00000000000401ff, 0x40000, false, 0x1ff},
		{0x00fffffffffffe00, 0x00fffffffffffe00, false, 0},
		{math.MaxUint64, 0x00fffffffffffe00, true, 0x7f000000000001ff},
	} {
		e := test.entry
		if e.L2Offset() != test.offset || e.Copied() != test.copied || e.Reserved() != test.reserved {
			t.Errorf("%#x: offset %#x, copied %v, reserved %#x; want %#x, %v, %#x",
				uint64(e), e.L2Offset(), e.Copied(), uint64(e.Reserved()), test.offset, test.copied, uint64(test.reserved))
		}
	}
}

func TestL2Entry(t *testing.T) {
	for _, test := range []struct {
		entry                    qcow2.L2Entry
		offset                   uint64
		copied, compressed, zero bool
	}{
		{0, 0, false, false, false},
		{1, 0, false, false, true},
		{0x8000000000050000, 0x50000, true, false, false},
		{0x8000000000050001, 0x50000, true, false, true},
		{0x4000000000050000, 0x50000, false, true, false},
		{0x3f000000000501fe, 0x50000, false, false, false},
		{math.MaxUint64, 0x00fffffffffffe00, true, true, true},
	} {
		e := test.entry
		if e.HostOffset() != test.offset || e.Copied() != test.copied || e.Compressed() != test.compressed || e.Zero() != test.zero {
			t.Errorf("%#x: offset %#x, copied %v, compressed %v, zero %v; want %+v", uint64(e), e.HostOffset(), e.Copied(), e.Compressed(), e.Zero(), test)
		}
	}
}

// TestCompressed splits descriptors of every cluster size at both limits of
// each part. The number of sectors begins at bit 62 − (cluster_bits − 8).
func TestCompressed(t *testing.T) {
	for bits := uint(9); bits <= 21; bits++ {
		g := qcow2.Geometry{ClusterBits: bits}
		at := 62 - (bits - 8)
		most := uint64(1)<<at - 1
		for _, test := range []struct{ entry, offset, sectors uint64 }{
			{1 << 62, 0, 1},
			{1<<62 | 0x12345, 0x12345, 1},
			{1<<62 | most, most, 1},
			{1<<62 | 1<<at, 0, 2},
			{math.MaxUint64, most, 1 << (bits - 8)},
			{math.MaxUint64 &^ most, 0, 1 << (bits - 8)},
		} {
			if offset, sectors := g.Compressed(qcow2.L2Entry(test.entry)); offset != test.offset || sectors != test.sectors {
				t.Errorf("cluster_bits %d, %#x: offset %#x, %d sectors; want %#x, %d", bits, test.entry, offset, sectors, test.offset, test.sectors)
			}
		}
	}
}

func TestCompressedEnd(t *testing.T) {
	for _, test := range []struct{ offset, sectors, want uint64 }{
		{0x10000, 1, 0x10200},
		{0x10001, 1, 0x10200},
		{0x101ff, 1, 0x10200},
		{0x101ff, 2, 0x10400},
		{0x10200, 8192, 0x410200},
	} {
		if got := qcow2.CompressedEnd(test.offset, test.sectors); got != test.want {
			t.Errorf("CompressedEnd(%#x, %d) = %#x, want %#x", test.offset, test.sectors, got, test.want)
		}
	}
}
