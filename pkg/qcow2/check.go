package qcow2

import (
	"context"
)

// CheckResult is what [Image.Check] counts. The last five mean what they mean
// in qemu-img check, except that an L2 table is counted once, however many L1
// entries point to it.
type CheckResult struct {
	// CheckErrors is how many parts of the file the system failed to read. Parts
	// past the end of the file do not count here, but as corruptions.
	CheckErrors uint64
	// Corruptions is the number of errors found. An error about several clusters
	// counts once for each of them.
	Corruptions uint64
	// Leaks is the number of clusters with a refcount higher than the number of
	// references.
	Leaks uint64
	// ImageEndOffset is the end of the last cluster of the file that has a refcount
	// or a reference, in bytes.
	ImageEndOffset uint64
	// TotalClusters is the number of guest clusters of the disk.
	TotalClusters uint64
	// AllocatedClusters counts the entries of the active image that have a host
	// cluster or are compressed, past the end of the disk too.
	AllocatedClusters uint64
	// FragmentedClusters counts those of them that do not lie right after the one
	// before in the same L2 table.
	FragmentedClusters uint64
	// CompressedClusters counts those of them that are compressed.
	CompressedClusters uint64
}

// CheckOptions are the options of [Image.Check].
type CheckOptions struct {
	// Finding, if not nil, is called with each finding: first those about
	// structures and entries, then those about clusters in their order. It must not
	// keep the Finding. If it returns false, the check ends.
	Finding func(*Finding) bool
	// Progress, if not nil, is called now and then: done of total is the part of
	// the work that is done.
	Progress func(done, total uint64)
}

// Check looks for what is wrong with the image: it counts the references to each
// host cluster and compares them with the refcounts, and judges every structure and
// every entry on the way. The error is that of [Image.Supported] or of a cancelled
// context, not what is wrong with the image.
//
// Memory is a byte for each host cluster and, as soon as one is wrong, 8 more for
// each.
func (img *Image) Check(ctx context.Context, o CheckOptions) (CheckResult, error) {
	if err := img.Supported(); err != nil {
		return CheckResult{}, err
	}
	c := newChecker(ctx, img, o)
	c.check()
	return c.result, ctx.Err()
}
