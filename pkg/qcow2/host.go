package qcow2

import (
	"context"
	"iter"
)

// HostKind is what a host cluster holds.
type HostKind uint8

// The kinds of host clusters. Where references to one cluster differ in kind,
// it has the first of them in this order; among the kinds of guest data that of
// the owner that comes first.
const (
	HostHeader HostKind = iota
	HostRefcountTable
	HostL1Table
	HostSnapshotTable
	HostBitmapDirectory
	HostBitmapTable
	HostEncryptionHeader
	HostRefcountBlock
	HostBitmapData
	HostL2Table
	HostData
	HostZeroAllocated // reads as zeros
	HostCompressed    // data of one compressed cluster or of several
	HostVMState       // guest data past the end of the disk
	HostLeaked        // nothing refers to it, but its refcount is not 0
	HostFree          // nothing refers to it, and its refcount is 0
	HostUnknown       // nothing refers to it, and its refcount cannot be read
)

// HostKindNames returns the names of the kinds in their order.
func HostKindNames() []string {
	return []string{
		"header", "refcount-table", "l1-table", "snapshot-table", "bitmap-directory", "bitmap-table", "encryption-header",
		"refcount-block", "bitmap-data", "l2-table", "data", "zero-allocated", "compressed", "vm-state", "leaked", "free", "unknown",
	}
}

// String returns the name of the kind.
func (k HostKind) String() string { return nameOf(HostKindNames(), k, "unknown-") }

// Metadata reports whether clusters of the kind hold metadata: the header, a
// table, a directory or a bitmap.
func (k HostKind) Metadata() bool { return k <= HostL2Table }

// Referenced reports whether something refers to clusters of the kind. Nothing
// does to those that are leaked, free or unknown.
func (k HostKind) Referenced() bool { return k < HostLeaked }

// structure reports whether the kind is that of a structure in one piece.
func (k HostKind) structure() bool { return k <= HostEncryptionHeader }

// section returns the section that errors of a structure are about.
func (k HostKind) section() Section {
	return [...]Section{
		SectionHeader, SectionRefcountTable, SectionL1Table, SectionSnapshotTable,
		SectionBitmapDirectory, SectionBitmapTable, SectionEncryptionHeader,
	}[k]
}

// A Reference says from where something refers to a host cluster.
type Reference struct {
	// Owner is to what the reference belongs.
	Owner Owner
	// Entry is the file offset in bytes of what refers: a table entry, or the
	// header field or entry that points to a structure.
	Entry uint64
	// Index is that of the entry in its table; of a structure the number of the
	// cluster in it.
	Index uint64
	// L1Index is the index of the L1 entry that points to the L2 table of the
	// entry; meaningful for guest data and L2 tables.
	L1Index uint64
	// GuestOffset is the guest address in bytes; meaningful for guest data. It is
	// 1<<64 - 1 where an L1 table, longer than QEMU allows, goes on past the last
	// address.
	GuestOffset uint64
}

// A HostRange is a range of host clusters that hold the same: one cluster, or a
// run in which host offset, guest offset, index and entry go on without a gap.
type HostRange struct {
	Offset uint64 // bytes from the start of the file
	Length uint64 // bytes; the last cluster of a file is cut where the file ends
	Kind   HostKind
	// Reference is that of the first cluster; meaningful when HasReference is
	// true. Of several it is the first one of the active image, else of the first
	// snapshot.
	Reference    Reference
	HasReference bool
	// References is how many there are to each cluster, counted for every L1
	// table that points there.
	References uint64
	// Refcount is that of each cluster; meaningful when HasRefcount is true.
	Refcount    uint64
	HasRefcount bool
	// Problems are those of any reference to the cluster. With Owners they are
	// those of the reference, and OverlapsMetadata where other references make the
	// cluster overlap.
	Problems Problems
}

// HostOptions selects what [Image.Host] yields.
type HostOptions struct {
	// Offset and Length narrow the host addresses, in bytes, to the clusters
	// that the range touches. A Length of 0 goes to the end.
	Offset, Length uint64
	// PerCluster yields every cluster by itself.
	PerCluster bool
	// Wanted, if not nil, reports whether clusters (with Owners: references) of a
	// kind are wanted. What is not takes no time of its own, but for structures
	// with Owners: a sparse file can have any number of free clusters.
	Wanted func(HostKind) bool
	// Owners yields every cluster once for each reference to it.
	Owners bool
	// Limit is the most references to a cluster that Owners yields; 0: all. It
	// bounds the memory that they take: 16 bytes for each table entry that
	// refers to a cluster of the range, or to an L2 table.
	Limit int
	// Snapshot is a snapshot whose references to guest data come first, before
	// those of the active image.
	Snapshot *Snapshot
	// Progress is called now and then with how much of the work is done.
	Progress func(done, total uint64)
}

// Host yields what the host clusters of the image file hold, in their order and,
// unless some are not wanted, without a gap: the lengths add up to the size of the
// file. First it yields an [*Error], with a nil HostRange, for everything that
// hides references: what cannot be read, and entries that point past the end of
// the file. Refcounts that cannot be read are errors between the ranges. A
// HostRange is valid until the next. When ctx is done the sequence ends with its
// error.
//
// Memory is 8 bytes for each host cluster that something refers to.
//
// What the clusters of an image with unknown incompatible features hold cannot
// be known; see [Image.Supported].
func (img *Image) Host(ctx context.Context, o HostOptions) iter.Seq2[*HostRange, error] {
	return func(yield func(*HostRange, error) bool) {
		if err := img.Supported(); err != nil {
			yield(nil, err)
			return
		}
		if x := newHostIndex(ctx, img, o, func(err error) bool { return yield(nil, err) }); x != nil {
			l := &hostListing{index: x, options: o, refcounts: newRefcounts(img), yield: yield}
			l.run()
		}
	}
}
