package qcow2

import "context"

// Usage is where the bytes of an image file went.
type Usage struct {
	FileSize uint64 // bytes
	// ImageEndOffset is the end of the last cluster of the file that has a refcount
	// or a reference, or may have, as its refcount cannot be read, in bytes; Tail is
	// what lies after it, also part of Free.
	ImageEndOffset, Tail uint64
	// DamagedClusters is how many clusters have references with problems; see
	// [HostRange]. What those entries should point to may be missing from the sums.
	DamagedClusters uint64
	// TakenForFree is how many clusters have references, but a refcount of 0: QEMU
	// may write something else there.
	TakenForFree uint64
	Mapped       MappedUsage
	// Kinds has every kind of host clusters in their order. Their bytes add up
	// to FileSize.
	Kinds []KindUsage
	// HasOnDisk reports whether holes of the file are known, and so what is called
	// OnDisk here: the bytes that do not lie in holes. See [WithHoles].
	HasOnDisk bool
	// Owners are the active image and the snapshots in the order of their table,
	// those whose L1 table can be read. It is nil where clusters are shared in
	// more ways than can be counted; SnapshotsOnly and Freed then mean nothing.
	Owners []OwnerUsage
	// SnapshotsOnly is how many bytes have references of snapshots alone, L1 and L2
	// tables among them: what deleting all snapshots frees, but for their table.
	SnapshotsOnly uint64
	// Freed is how many of these bytes deleting those snapshots frees that
	// [UsageOptions.Without] names.
	Freed uint64
	Free  FreeUsage
	// Reclaim has what can be given back to the file system, in the order of the
	// kinds. ReclaimFree is missing where TakenForFree is not 0, ReclaimSnapshots
	// where Owners is nil. Kinds may overlap. Where tables are damaged none of it
	// can be trusted.
	Reclaim []Reclaim
	// CompactAtMost is how large a copy of the active image is at most, in bytes,
	// as "qemu-img convert -O qcow2" makes it: clusters of 64 KiB, refcounts of 16
	// bits, no snapshots. The copy is as large unless data turn out to be zeros. It
	// means something when HasCompact is true: there is no backing file and no
	// external data file.
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
	// Histogram counts the runs of free clusters by size, without those that
	// there are none of.
	Histogram []FreeRuns
}

// FreeRuns are the runs of at least Min free clusters, and fewer than twice as
// many.
type FreeRuns struct {
	Min      uint64 // clusters, a power of two
	Runs     uint64
	Clusters uint64
}

// HoleUsage is how much of the file lies in holes, in bytes. Holes of other
// clusters, such as compressed ones, are not among them.
type HoleUsage struct {
	Mapped   uint64 // clusters of data: they were never written, or are lost
	Metadata uint64
	Free     uint64 // free clusters, those of the tail too
}

// Holes returns what of the file lies in holes, if HasOnDisk.
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

// OnDisk returns how many bytes of the file do not lie in holes, if HasOnDisk.
func (u *Usage) OnDisk() (n uint64) {
	for _, k := range u.Kinds {
		n += k.OnDisk
	}
	return n
}

// UsageOptions changes how [Image.Usage] goes about it.
type UsageOptions struct {
	// Without are snapshots of which [Usage.Freed] tells what deleting all of them
	// frees.
	Without []Snapshot
	// Damage, if not nil, takes what hides references, which Usage knows nothing
	// of; see [Image.Host].
	Damage func(error)
	// Progress is called now and then with how much of the work is done.
	Progress func(done, total uint64)
}

// Usage adds up where the bytes of the image file went. Damage goes to o.Damage;
// the error is that of [Image.Supported], or that of a cancelled context.
//
// Memory is 4 bytes for each host cluster that something refers to, 12 for each L2
// table, and some for each way in which owners share clusters, up to a limit.
func (img *Image) Usage(ctx context.Context, o UsageOptions) (*Usage, error) {
	if err := img.Supported(); err != nil {
		return nil, err
	}
	c := newUsageCounter(ctx, img, o.Damage)
	if c.walk.walk(nil, o.Progress) {
		c.mapped.addEnd(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s := newUsageSum(c, o.Without)
	if !s.addClusters() {
		return nil, ctx.Err()
	}
	return s.finish(), nil
}
