package qcow2

import "context"

// Usage is where the bytes of an image file went.
type Usage struct {
	FileSize uint64 // bytes
	// ImageEndOffset is the end of the last cluster that has a reference or a
	// refcount other than 0, or whose refcount cannot be read, in bytes. Tail is
	// the number of bytes after it, also part of Free.
	ImageEndOffset, Tail uint64
	// DamagedClusters is the number of clusters that have references with problems;
	// see [HostRange]. The clusters that these should point to may be missing from
	// the sums.
	DamagedClusters uint64
	// TakenForFree is the number of clusters that have references, but a refcount
	// of 0: QEMU may write something else there.
	TakenForFree uint64
	// TooLow is the number of clusters with a refcount lower than the number of
	// their owners, those in TakenForFree left out: deleting a snapshot frees what
	// others still use. More are too low where one owner refers to a cluster twice:
	// see [Image.Check].
	TooLow uint64
	Mapped MappedUsage
	// Kinds has every kind of host clusters in their order. Their bytes add up
	// to FileSize.
	Kinds []KindUsage
	// HasOnDisk reports whether the holes of the file are known, and so the values
	// called OnDisk: the number of bytes that do not lie in holes. See [WithHoles].
	HasOnDisk bool
	// Owners are the active image and the snapshots in the order of their table,
	// those whose L1 table can be read. It is nil if clusters are shared in more
	// ways than can be counted; SnapshotsOnly and Freed are then meaningless.
	Owners []OwnerUsage
	// SnapshotsOnly is the number of bytes to which only snapshots refer, including
	// L1 and L2 tables: what deleting all snapshots frees, except for the snapshot
	// table.
	SnapshotsOnly uint64
	// Freed is the number of these bytes that deleting the snapshots in
	// [UsageOptions.Without] frees.
	Freed uint64
	Free  FreeUsage
	// Reclaim has what can be given back to the file system, in the order of the
	// kinds. ReclaimFree is missing if TakenForFree is not 0, ReclaimSnapshots if
	// Owners is nil. Kinds may overlap. If tables are damaged, none of it can be
	// trusted.
	Reclaim []Reclaim
	// CompactAtMost is how large a copy of the active image is at most, in bytes,
	// as "qemu-img convert -O qcow2" makes it: clusters of 64 KiB, refcounts of 16
	// bits, no snapshots. The copy is smaller only if data turn out to be zeros
	// or lie in holes.
	// Meaningful when HasCompact is true: there is no backing file and no external
	// data file.
	CompactAtMost uint64
	HasCompact    bool
}

// MappedUsage is how much of the active disk is mapped, in guest bytes.
type MappedUsage struct {
	Bytes        uint64 // data, compressed data, and zeros
	Preallocated uint64 // of them those that read as zeros but have host clusters
	Zero         uint64 // of them those that read as zeros and have none
}

// KindUsage is how much of the file a kind of host clusters takes.
type KindUsage struct {
	Kind     HostKind
	Clusters uint64
	Bytes    uint64
	OnDisk   uint64 // bytes, if HasOnDisk
}

// OwnerUsage is how much of the file the active image or a snapshot takes, in
// bytes: its L1 table, L2 tables, and the clusters of its guest data.
type OwnerUsage struct {
	Owner      Owner
	Referenced uint64
	Exclusive  uint64 // of Referenced: nothing else refers to it, so deleting the owner frees it
	// ExclusiveWithOlder is what deleting this snapshot and all before it in the
	// table frees; 0 for the active image.
	ExclusiveWithOlder uint64
	Shared             uint64 // of Referenced: what is not exclusive
	VMState            uint64 // of Referenced: clusters of VM state, without their L2 tables
}

// FreeUsage is how the free clusters of the file lie.
type FreeUsage struct {
	Clusters   uint64
	Bytes      uint64
	LargestRun uint64 // bytes
	// Histogram counts the runs of free clusters by size, without sizes that do not
	// occur.
	Histogram []FreeRuns
}

// FreeRuns are the runs of at least Min free clusters, and fewer than twice as
// many.
type FreeRuns struct {
	Min      uint64 // clusters, a power of two
	Runs     uint64
	Clusters uint64
}

// HoleUsage is how much of the file lies in holes, in bytes. Holes in other
// clusters, such as compressed ones, are not counted.
type HoleUsage struct {
	Mapped   uint64 // clusters of data: they were never written, or are lost
	Metadata uint64
	Free     uint64 // free clusters, those of the tail too
}

// Holes returns how much of the file lies in holes; meaningful when HasOnDisk is
// true.
func (u *Usage) Holes() (h HoleUsage) {
	for _, k := range u.Kinds {
		n := k.Bytes - k.OnDisk
		switch {
		case k.Kind == HostData:
			h.Mapped += n
		case k.Kind == HostFree:
			h.Free += n
		case k.Kind.Metadata():
			h.Metadata += n
		}
	}
	return h
}

// OnDisk returns how many bytes of the file do not lie in holes; meaningful when
// HasOnDisk is true.
func (u *Usage) OnDisk() (n uint64) {
	for _, k := range u.Kinds {
		n += k.OnDisk
	}
	return n
}

// UsageOptions are the options of [Image.Usage].
type UsageOptions struct {
	// Without are snapshots; [Usage.Freed] is what deleting all of them frees.
	Without []Snapshot
	// Damage, if not nil, takes the errors that hide references, which are then
	// missing from the sums; see [Image.Host].
	Damage func(error)
	// Progress, if not nil, is called now and then: done of total is the part of
	// the work that is done.
	Progress func(done, total uint64)
}

// Usage adds up where the bytes of the image file went. Damage goes to o.Damage;
// the error is that of [Image.Supported], or that of a cancelled context.
//
// Memory is a byte for each host cluster that something refers to, 4 with snapshots,
// 12 for each L2 table, and some for each way in which owners share clusters, up to
// a limit.
func (img *Image) Usage(ctx context.Context, o UsageOptions) (*Usage, error) {
	if err := img.Supported(); err != nil {
		return nil, err
	}
	w := newReferenceWalk(ctx, img)
	c := newUsageCounter(w, o.Damage)
	w.sink, w.entry, w.run = c, c.mapped.addL1Entry, c.mapped.addRun
	w.walk(nil, o.Progress)
	return c.finish(o.Without)
}
