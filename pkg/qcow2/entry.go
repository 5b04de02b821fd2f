package qcow2

// entrySize is the size of an entry of an L1 table, the refcount table or a
// bitmap table, in bytes.
const entrySize = 8

// offsetMask is the offset in an L1 or L2 entry: bits 9 to 55.
const offsetMask = 1<<56 - 1<<9

// copiedBit is set if the refcount of the cluster that an entry points to is
// exactly 1.
const copiedBit = 1 << 63

// An L1Entry is an entry of an L1 table (specification, section "L1 table
// entry").
type L1Entry uint64

const l1Reserved = L1Entry(^uint64(offsetMask | copiedBit))

// L2Offset returns the offset of the L2 table in bytes, or 0 if there is none: all
// guest clusters of the entry are then unallocated.
func (e L1Entry) L2Offset() uint64 { return uint64(e) & offsetMask }

// Copied reports whether bit 63 is set: the refcount of the L2 table is
// exactly 1. It is accurate only in the active L1 table.
func (e L1Entry) Copied() bool { return e&copiedBit != 0 }

// Reserved returns the reserved bits that are set, none in a healthy image.
func (e L1Entry) Reserved() L1Entry { return e & l1Reserved }

// An L2Entry is the first (often only) word of an entry of an L2 table
// (specification, section "L2 table entry").
type L2Entry uint64

const (
	l2Zero       = L2Entry(1)
	l2Compressed = L2Entry(1 << 62)
	l2Reserved   = L2Entry(^uint64(offsetMask|copiedBit)) &^ (l2Zero | l2Compressed)
)

// Compressed reports whether bit 62 is set: the entry is a compressed cluster
// descriptor, see [Geometry.Compressed].
func (e L2Entry) Compressed() bool { return e&l2Compressed != 0 }

// Copied reports whether bit 63 is set: the refcount of the cluster is exactly
// 1. It is accurate only in L2 tables of the active image.
func (e L2Entry) Copied() bool { return e&copiedBit != 0 }

// Zero reports whether bit 0 is set: the cluster reads as zeros. The bit has
// no meaning in version 2 and in extended L2 entries.
func (e L2Entry) Zero() bool { return e&l2Zero != 0 }

// HostOffset returns the host offset of a standard entry in bytes.
func (e L2Entry) HostOffset() uint64 { return uint64(e) & offsetMask }

// Compressed splits a compressed cluster descriptor: where the compressed data
// begin, in bytes, and how many sectors of 512 bytes they touch, counting the
// one that holds the first byte.
func (g *Geometry) Compressed(e L2Entry) (offset, sectors uint64) {
	x := 62 - (g.ClusterBits - 8)
	return uint64(e) & (1<<x - 1), uint64(e&^(copiedBit|l2Compressed))>>x + 1
}

// CompressedEnd returns the first byte after compressed data that begin at offset
// and touch a number of sectors of 512 bytes.
func CompressedEnd(offset, sectors uint64) uint64 { return offset&^511 + sectors*512 }

// compressedReserved is the part of a descriptor's offset that must be 0.
const compressedReserved = ^uint64(1<<56 - 1)

// A bitmapEntry is an entry of a bitmap table (specification, section "Bitmap
// table").
type bitmapEntry uint64

// bitmapOnes is the entry of a cluster of bitmap data that is all ones, and not
// stored.
const bitmapOnes bitmapEntry = 1

// offset returns where the cluster of bitmap data lies, in bytes, or 0 if it is not
// stored.
func (e bitmapEntry) offset() uint64 { return uint64(e) & offsetMask }

// stored reports whether the entry says anything else than "all zeros" or "all
// ones".
func (e bitmapEntry) stored() bool { return e > bitmapOnes }

// reservedBits returns the bits that are set but must be 0. Bit 0 is one where there
// is an offset.
func (e bitmapEntry) reservedBits() uint64 {
	allowed := uint64(offsetMask)
	if e.offset() == 0 {
		allowed = uint64(bitmapOnes)
	}
	return uint64(e) &^ allowed
}

// A refcountEntry is an entry of the refcount table (specification, section
// "Host cluster management").
type refcountEntry uint64

// refcountReserved are bits 0 to 8.
const refcountReserved refcountEntry = 1<<9 - 1

// block returns the offset of the refcount block in bytes, or 0 if there is none:
// its refcounts are then 0.
func (e refcountEntry) block() uint64 { return uint64(e &^ refcountReserved) }

// runLength returns how many words at the start of p are word, word+step,
// word+2*step and so on. Four of them at a time are compared at once, after the
// first, as many runs end there.
func runLength(p []byte, word, step uint64) int {
	n := 0
	for len(p) >= 8 && be64(p) == word {
		p, word, n = p[8:], word+step, n+1
		for len(p) >= 32 && (be64(p)^word)|(be64(p[8:])^(word+step))|(be64(p[16:])^(word+2*step))|(be64(p[24:])^(word+3*step)) == 0 {
			p, word, n = p[32:], word+4*step, n+4
		}
	}
	return n
}

// runLength16 is runLength for entries of two words, the second always bitmap.
func runLength16(p []byte, word, bitmap, step uint64) int {
	n := 0
	for ; len(p) >= 16 && be64(p) == word && be64(p[8:]) == bitmap; p = p[16:] {
		word += step
		n++
	}
	return n
}
