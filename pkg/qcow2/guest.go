package qcow2

import (
	"context"
	"errors"
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

// A Mapping is a range of guest addresses that is mapped in one way. The
// range is one cluster (with extended L2 entries one subcluster, or several),
// or a run of them in which guest and host offsets go on without a gap.
type Mapping struct {
	Start  uint64 // guest offset in bytes
	Length uint64 // bytes
	Kind   MappingKind
	// HostOffset is where the bytes lie, in bytes from the start of the image
	// file, or of the external data file; meaningful when HasHost is true. For
	// compressed data it is where those begin.
	HostOffset uint64
	HasHost    bool // also an unallocated subcluster can have a host cluster
	// Sectors is the number of sectors of 512 bytes that compressed data
	// touch; 0 for other kinds.
	Sectors uint64
	// SubclusterBitmap is the second word of an extended L2 entry: allocated
	// subclusters in bits 0 to 31, those that read as zeros in bits 32 to 63;
	// meaningful when HasSubclusterBitmap is true, as it can be when every cluster
	// is by itself.
	SubclusterBitmap    uint64
	HasSubclusterBitmap bool
	Problems            Problems
}

// GuestOptions selects what [Image.Guest] yields.
type GuestOptions struct {
	// Snapshot is the snapshot whose mapping is wanted; nil: the active image.
	Snapshot *Snapshot
	// Offset and Length narrow the guest addresses, in bytes, to the clusters
	// that the range touches, and where the subclusters of one differ, to the
	// mappings of them that it touches. None is cut. A Length of 0 goes to the end.
	Offset, Length uint64
	// PerCluster yields every cluster by itself: without Mapped as many as the L1
	// table covers, whatever there is of them in the file.
	PerCluster bool
	// VMState goes on with what is mapped past the end of the disk.
	VMState bool
	// Mapped leaves out what is unallocated.
	Mapped bool
}

// Guest yields the mapping of guest addresses in their order, each Mapping where
// the one before ends. Where a table cannot be read it yields an [*Error], with a
// nil Mapping, and goes on after it. Other gaps are what Mapped leaves out, and
// with VMState the rest of the disk's last cluster. A Mapping is valid until the
// next. When ctx is done the sequence ends with its error.
//
// The mapping of an image with unknown incompatible features cannot be known;
// see [Image.Supported].
func (img *Image) Guest(ctx context.Context, o GuestOptions) iter.Seq2[*Mapping, error] {
	return func(yield func(*Mapping, error) bool) {
		if err := img.Supported(); err != nil {
			yield(nil, err)
			return
		}
		m := newMapper(ctx, img, o, yield)
		if err := img.l1Error(o.Snapshot); err != nil {
			yield(nil, err)
			return
		}
		m.run(o)
	}
}

// Supported returns an [*Error] of kind [ErrUnsupported] when the image has
// incompatible features that this package does not know, the error of
// [Image.Geometry] when there is no geometry, and else nil. With an error nothing
// beyond the header, the extensions and the snapshot table can be trusted.
func (img *Image) Supported() error {
	if img.geometryErr != nil {
		return img.geometryErr
	}
	if unknown := img.header.IncompatibleFeatures.Unknown(); unknown != 0 {
		return errorf(SectionHeader, fieldOffset("incompatible_features"), ErrUnsupported,
			"the image has incompatible features that are not known: %s", quotedList(unknown.Names(img.FeatureNames())))
	}
	return nil
}

// l1Error returns why the L1 table of a snapshot, or the active one, cannot be
// read.
func (img *Image) l1Error(s *Snapshot) error {
	if s != nil {
		for _, e := range s.Damage {
			if at := e.Offset - s.Offset; at == 0 || at == 8 { // where the L1 table is
				return e
			}
		}
		return nil
	}
	v := validity{img: img}
	v.l1Table()
	for _, e := range v.errs { // one that is too small is read as far as it goes
		if e.Offset == fieldOffset("l1_table_offset") || e.Offset == fieldOffset("l1_size") && errors.Is(e, ErrLimit) {
			return e
		}
	}
	return nil
}
