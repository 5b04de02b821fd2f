package qcow2

import (
	"context"
	"math/bits"
)

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
	Mapped          MappedUsage
	// Kinds has every kind of host clusters in their order. Their bytes add up
	// to FileSize.
	Kinds []KindUsage
	// Owners are the active image and the snapshots in the order of their table,
	// those whose L1 table can be read. It is nil where clusters are shared in
	// more ways than can be counted.
	Owners []OwnerUsage
	Free   FreeUsage
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
}

// OwnerUsage is how much of the file the active image or a snapshot takes, in
// bytes: its L1 table, L2 tables, and the clusters of its guest data.
type OwnerUsage struct {
	Owner      Owner
	Referenced uint64
	Exclusive  uint64 // of Referenced: nothing else refers to it, so deleting the owner frees it
	Shared     uint64 // of Referenced: the rest
	VMState    uint64 // of Referenced: what lies past the end of the disk
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

// UsageOptions changes how [Image.Usage] goes about it.
type UsageOptions struct {
	// Damage, if not nil, takes what hides references, which Usage knows nothing
	// of; see [Image.Host].
	Damage func(error)
	// Progress is called now and then with how much of the work is done.
	Progress func(done, total uint64)
}

// Usage adds up where the bytes of the image file went. Damage goes to o.Damage;
// the error is that of [Image.Supported], or that of a cancelled context.
func (img *Image) Usage(ctx context.Context, o UsageOptions) (*Usage, error) {
	u := &Usage{FileSize: img.src.size}
	if err := u.addHost(ctx, img, o); err != nil {
		return nil, err
	}
	u.Owners = countOwners(ctx, img, partOf(o.Progress, 1, 2))
	u.addMapped(ctx, img)
	return u, ctx.Err()
}

// addHost adds up the host clusters.
func (u *Usage) addHost(ctx context.Context, img *Image, o UsageOptions) error {
	for k := range HostUnknown + 1 {
		u.Kinds = append(u.Kinds, KindUsage{Kind: k})
	}
	var runs [64]FreeRuns
	size := img.geometry.ClusterSize
	for r, err := range img.Host(ctx, HostOptions{Progress: partOf(o.Progress, 0, 2)}) {
		if ctx.Err() != nil || err != nil && img.Supported() != nil {
			return err
		}
		if err != nil {
			if o.Damage != nil {
				o.Damage(err)
			}
			continue
		}
		n := ceilDiv(r.Length, size)
		u.Kinds[r.Kind].Clusters += n
		u.Kinds[r.Kind].Bytes += r.Length
		if r.Problems != 0 {
			u.DamagedClusters += n
		}
		if r.Kind != HostFree {
			u.ImageEndOffset = r.Offset + n*size
			continue
		}
		u.Free.LargestRun = max(u.Free.LargestRun, r.Length)
		h := &runs[bits.Len64(n)-1]
		h.Runs++
		h.Clusters += n
	}
	for i, h := range runs {
		if h.Runs > 0 {
			h.Min = 1 << i
			u.Free.Histogram = append(u.Free.Histogram, h)
		}
	}
	u.Free.Clusters, u.Free.Bytes = u.Kinds[HostFree].Clusters, u.Kinds[HostFree].Bytes
	u.Tail = u.FileSize - min(u.ImageEndOffset, u.FileSize)
	return nil
}
