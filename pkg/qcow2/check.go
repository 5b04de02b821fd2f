package qcow2

import (
	"context"
)

// CheckResult is what [Image.Check] counts. The numbers from ImageEndOffset to
// CompressedClusters mean what they mean in qemu-img check, except that an L2 table is
// counted once, however many L1 entries point to it.
type CheckResult struct {
	// CheckErrors is how many parts of the file the system failed to read. What
	// lies past the end of the file is not one of them, but an error that was found.
	CheckErrors uint64
	// Corruptions is the number of errors found. One about several clusters
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
	// FragmentedClusters counts those of them that do not follow the one before
	// in the same L2 table.
	FragmentedClusters uint64
	// CompressedClusters counts those of them that are compressed.
	CompressedClusters uint64
	// Missing is what the file lacks.
	Missing Missing
	// Unread are the kinds of the findings that hide references: what looks leaked
	// may be in use. AboveLimit reports whether one of them is about [Limits].
	Unread     FindingKinds
	AboveLimit bool
}

// Missing is by how much a file is too short.
type Missing struct {
	// FileBytes reaches from the end of the file to that of the last cluster that
	// something needs; 0: nothing is missing.
	FileBytes uint64
	// GuestBytes is how much of the active disk has its data, its L2 table or its
	// L1 entry past the end of the file. An L2 table that several L1 entries point
	// to is counted once.
	GuestBytes uint64
}

// CheckOptions changes how [Image.Check] goes about it.
type CheckOptions struct {
	// Finding, if not nil, is called for everything that is found: first what is
	// wrong with structures and entries, then with clusters in their order. It
	// must not keep the Finding. If it returns false, the check ends.
	Finding func(*Finding) bool
	// Name is that of the image file, for what can be said of the backing file;
	// no file is opened. It can be empty.
	Name string
	// Progress is called now and then with how much of the work is done.
	Progress func(done, total uint64)
}

// Check looks for what is wrong with the image: it counts the references to each
// host cluster and compares them with the refcounts, and judges every structure
// and every entry on the way. What it finds is the result, not the error: that
// is of [Image.Supported], or of a cancelled context.
//
// Memory is a byte for each host cluster and, as soon as one is wrong, 8 more for
// each.
func (img *Image) Check(ctx context.Context, o CheckOptions) (CheckResult, error) {
	if err := img.Supported(); err != nil {
		return CheckResult{}, err
	}
	w := newReferenceWalk(ctx, img)
	c := newChecker(w, o)
	w.sink, w.entry, w.run, w.beyond = c, c.checkL1Entry, c.checkRun, c.need
	c.check()
	return c.result, ctx.Err()
}
