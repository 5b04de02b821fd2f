package qcow2

import (
	"context"
	"iter"
)

// A Reference is a table entry, header field or record that refers to a host
// cluster.
type Reference struct {
	// Owner is what the reference belongs to.
	Owner Owner
	// Entry is where the reference lies, in bytes from the start of the file: a
	// table entry, or the header field or record that points to a structure.
	Entry uint64
	// Index is the index of the entry in its table, or of the cluster in its
	// structure.
	Index uint64
	// L1Index is the index of the L1 entry that points to the L2 table of the
	// entry; meaningful for guest data and L2 tables.
	L1Index uint64
	// GuestOffset is the guest address in bytes; meaningful for guest data. It is
	// 1<<64 - 1 past the last address, which an L1 table longer than QEMU allows
	// can reach.
	GuestOffset uint64
	// Bitmap is the position of the bitmap in the bitmap directory, from 0;
	// meaningful for bitmap tables and bitmap data.
	Bitmap int
}

// A HostRange is a range of host clusters of one kind: a single cluster, or a run
// in which host offset, guest offset, index and entry continue without a gap.
type HostRange struct {
	Offset uint64 // bytes from the start of the file
	Length uint64 // bytes; the last cluster of a file is cut where the file ends
	Kind   HostKind
	// Reference refers to the first cluster; meaningful when HasReference is true.
	// If there are several, it is the first of the active image, else of the first
	// snapshot.
	Reference    Reference
	HasReference bool
	// References is the number of references to each cluster. An entry of an L2
	// table counts once for every L1 entry that points to the table.
	References uint64
	// Refcount is that of each cluster; meaningful when HasRefcount is true.
	Refcount    uint64
	HasRefcount bool
	// Shared reports whether both the active image and a snapshot refer to each
	// cluster; meaningful for guest data with the option Sharing.
	Shared bool
	// Problems are those of all references to the cluster. With Owners they are
	// those of this reference, and OverlapsMetadata if others make the cluster
	// overlap.
	Problems Problems
	// More is the number of clusters that follow this one and are not yielded, because
	// they differ in their offsets alone: guest offset, index and entry continue without
	// a gap. It is 0 unless [HostOptions.Batches] is set.
	More uint64
}

// HostOptions selects what [Image.Host] yields.
type HostOptions struct {
	// Offset and Length select a range of host addresses, in bytes; a Length of 0
	// goes to the end. Clusters that the range touches are yielded whole.
	Offset, Length uint64
	// PerCluster yields every cluster by itself.
	PerCluster bool
	// Batches lets PerCluster yield clusters of guest data, or without a reference,
	// that differ in their offsets alone as one HostRange, which has More.
	Batches bool
	// Wanted, if not nil, reports whether clusters (with Owners: references) of a
	// kind are wanted. Others take no time of their own, except structures with
	// Owners: a sparse file can have any number of free clusters.
	Wanted func(HostKind) bool
	// Owners yields every cluster once for each reference to it.
	Owners bool
	// Sharing tells what the active image shares with snapshots, if there are any, at a
	// byte more for each cluster. It does not go with Snapshot.
	Sharing bool
	// Limit is the most references to a cluster that Owners yields; 0 means all. It
	// bounds the memory that they take: 16 bytes for each table entry, after the
	// first, that refers to a cluster of the range, or to an L2 table.
	Limit int
	// Snapshot is a snapshot whose references to guest data come first, before
	// those of the active image.
	Snapshot *Snapshot
	// Progress, if not nil, is called now and then: done of total is the part of
	// the work that is done.
	Progress func(done, total uint64)
}

// Host yields what the host clusters of the image file hold, in their order and,
// unless some are not wanted, without a gap: the lengths add up to the size of the
// file. First it yields an [*Error], with a nil HostRange, for everything that
// hides references: what cannot be read, and entries that point past the end of the
// file. Refcounts that cannot be read are errors between the ranges. A HostRange is
// valid until the next is yielded. When ctx is done the sequence ends with its
// error.
//
// Memory is 8 bytes for each host cluster that something refers to, and much less
// where guest data lie in runs of 8 clusters or more.
//
// What the clusters of an image with unknown incompatible features hold cannot
// be known; see [Image.Supported].
func (img *Image) Host(ctx context.Context, o HostOptions) iter.Seq2[*HostRange, error] {
	return func(yield func(*HostRange, error) bool) {
		if err := img.Supported(); err != nil {
			yield(nil, err)
			return
		}
		if x := indexHost(ctx, img, o, func(err error) bool { return yield(nil, err) }); x != nil {
			l := &hostListing{index: x, options: o, refcounts: newRefcounts(img), yield: yield}
			l.listAll()
		}
	}
}

// clusters returns the host clusters that the options want, from one up to
// another.
func (o *HostOptions) clusters(img *Image) (from, to uint64) {
	size := img.geometry.ClusterSize
	to = img.geometry.HostClusters
	if end := o.Offset + o.Length; o.Length > 0 && end >= o.Offset {
		to = min(to, ceilDiv(end, size))
	}
	return o.Offset / size, to
}
