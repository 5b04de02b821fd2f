package qcow2

import (
	"context"
	"iter"
)

// MappingKind is what guest clusters or subclusters are mapped to.
type MappingKind uint8

// The kinds of mappings (specification, section "L2 table entry").
const (
	MappingUnallocated   MappingKind = iota // reads the backing file, else zeros
	MappingData                             // a host cluster
	MappingZero                             // reads as zeros
	MappingZeroAllocated                    // reads as zeros, and has a host cluster
	MappingCompressed                       // compressed data
)

// MappingKindNames returns the names of the kinds in their order.
func MappingKindNames() []string {
	return []string{"unallocated", "data", "zero", "zero-allocated", "compressed"}
}

// String returns the name of the kind.
func (k MappingKind) String() string { return nameOf(MappingKindNames(), k, "unknown-") }

// A Mapping is a range of guest addresses that is mapped in one way. The range is
// one cluster (with extended L2 entries one subcluster, or several), or a run of
// them in which guest and host offsets continue without a gap.
type Mapping struct {
	Start  uint64 // guest offset in bytes
	Length uint64 // bytes
	Kind   MappingKind
	// HostOffset is where the host clusters or the compressed data begin, in bytes
	// from the start of the image file, or of the external data file; meaningful
	// when HasHost is true.
	HostOffset uint64
	HasHost    bool // an unallocated subcluster can have a host cluster, too
	// Sectors is the number of sectors of 512 bytes that compressed data
	// touch; 0 for other kinds.
	Sectors uint64
	// SubclusterBitmap is the second word of an extended L2 entry: allocated
	// subclusters in bits 0 to 31, those that read as zeros in bits 32 to 63;
	// meaningful when HasSubclusterBitmap is true, which takes PerCluster.
	SubclusterBitmap    uint64
	HasSubclusterBitmap bool
	Problems            Problems
	// More is the number of mappings that follow this one and are not yielded, because
	// they differ in their offsets alone: each begins where the one before ends, on the
	// disk and, if HasHost, in the file. It is 0 unless [GuestOptions.Batches] is set.
	More uint64
	// Copied is the COPIED flag: QEMU writes to the host cluster in place, as
	// nothing else refers to it. Meaningful with [GuestOptions].Copied.
	Copied bool
}

// GuestOptions selects what [Image.Guest] yields.
type GuestOptions struct {
	// Snapshot is the snapshot whose mapping is wanted; nil: the active image.
	Snapshot *Snapshot
	// Offset and Length select a range of guest addresses, in bytes; a Length of 0
	// goes to the end. Clusters that the range touches are yielded whole. Of one
	// whose subclusters differ, only the mappings that the range touches are
	// yielded.
	Offset, Length uint64
	// PerCluster yields every cluster by itself: without Mapped, even a small file
	// can have any number of them.
	PerCluster bool
	// Batches lets PerCluster yield clusters that differ in their offsets alone as one
	// Mapping, which has More.
	Batches bool
	// VMState also yields what is mapped past the end of the disk. VM state begins
	// at [Geometry.VMStateOffsetOf] the size of the disk.
	VMState bool
	// Mapped leaves out what is unallocated.
	Mapped bool
	// Copied tells clusters with the COPIED flag from others: they have mappings of
	// their own.
	Copied bool
}

// Guest yields the mapping of guest addresses in their order. Each Mapping begins
// where the one before ends, but for three kinds of gaps: a table that cannot be
// read, which is an [*Error] with a nil Mapping; what Mapped leaves out; and with
// VMState the rest of the disk's last cluster. A Mapping is valid until the next is
// yielded. When ctx is done the sequence ends with its error.
//
// The mapping of an image with unknown incompatible features cannot be known;
// see [Image.Supported].
func (img *Image) Guest(ctx context.Context, o GuestOptions) iter.Seq2[*Mapping, error] {
	return func(yield func(*Mapping, error) bool) {
		m, err := img.Mapper(ctx, o)
		if err != nil {
			yield(nil, err)
			return
		}
		m.Map(o.Offset, o.end(), yield)
	}
}

// end returns the guest address after the last that is wanted, in bytes.
func (o *GuestOptions) end() uint64 {
	if end := o.Offset + o.Length; o.Length > 0 && end >= o.Offset {
		return end
	}
	return maxGuestOffset
}
