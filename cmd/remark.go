package cmd

import (
	"fmt"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// What is worth a remark: so many percent of the file, or so many bytes.
const (
	notable      = 10
	notableBytes = 1 << 30
)

// A usageRemark is sentences about what stands out of the sums.
type usageRemark struct {
	usage     *qcow2.Usage
	holes     qcow2.HoleUsage
	unwritten uint64 // what the file system has reserved beyond what was written, in bytes
	snapshots bool   // there are some
	sentences []string
}

func newUsageRemark(rep *report, u *qcow2.Usage) *usageRemark {
	r := &usageRemark{usage: u, holes: u.Holes(), snapshots: rep.img.Header().NbSnapshots > 0}
	r.unwritten, _ = unwrittenBytes(rep.file, u)
	return r
}

// text returns the sentences, null if there are none. Each says how much it is
// about, and what follows from it.
func (r *usageRemark) text() render.Value {
	u := r.usage
	if u.TakenForFree > 0 {
		r.say("%s in use, but counted as free: repair the image before anything is written to it", counted(u.TakenForFree, "cluster is", "clusters are"))
	}
	if u.TooLow > 0 {
		r.say("%s a refcount that is too low: deleting a snapshot would free what is still in use", counted(u.TooLow, "cluster has", "clusters have"))
	}
	if n := u.SnapshotsOnly; r.notable(n) {
		r.say("%s are held by snapshots alone: deleting all of them frees that for reuse", render.SizeText(n))
	}
	r.free()
	r.preallocated()
	if n := u.Kinds[qcow2.HostLeaked].Bytes; r.notable(n) {
		r.say("%s are leaked: nothing refers to them, and nothing uses them again before a repair", render.SizeText(n))
	}
	for _, k := range u.Reclaim {
		if k.Kind == qcow2.ReclaimZeroAllocated && r.notable(k.Bytes) {
			r.say("%s of clusters read as zeros and keep their place: a discard gives it back", render.SizeText(k.Bytes))
		}
	}
	if len(r.sentences) == 0 {
		return render.Null
	}
	return render.Text(strings.Join(r.sentences, ". "))
}

// say adds a sentence.
func (r *usageRemark) say(format string, args ...any) {
	r.sentences = append(r.sentences, fmt.Sprintf(format, args...))
}

// notable reports whether a number of bytes is worth a remark.
func (r *usageRemark) notable(n uint64) bool {
	return n > 0 && (n >= notableBytes || float64(n)*100 >= notable*float64(r.usage.FileSize))
}

// free says what free clusters mean.
func (r *usageRemark) free() {
	u := r.usage
	n := u.Free.Bytes
	switch {
	case !r.notable(n):
	case u.HasOnDisk && r.holes.Free == n && !r.reserved():
		r.say("%s are free, and the gaps are holes: nothing to get back on this file system", render.SizeText(n))
	case u.HasCompact && !r.snapshots && u.CompactAtMost < u.FileSize:
		r.say("%s are free; a copy would have %s at most", render.SizeText(n), render.SizeText(u.CompactAtMost))
	default:
		r.say("%s are free: they are used again before the file grows", render.SizeText(n))
	}
}

// preallocated says what holes in place of data mean.
func (r *usageRemark) preallocated() {
	u := r.usage
	if !u.HasOnDisk || !r.notable(r.holes.Mapped) {
		return
	}
	holes := percent(u.FileSize-u.OnDisk(), u.FileSize)
	if r.reserved() {
		r.say("preallocated, not written: %s of the file is holes, and %s of it are reserved on the file system", holes, render.SizeText(r.unwritten))
	} else {
		r.say("preallocated, not written: %s of the file is holes", holes)
	}
}

// reserved reports whether a part of the holes takes space all the same. A little
// is what the file system takes to know where the blocks lie, and the rest of the
// last block.
func (r *usageRemark) reserved() bool {
	const little = 8 << 10
	return r.unwritten > max(little, (r.holes.Free+r.holes.Mapped)/100)
}

// percent returns a share in percent.
func percent(part, whole uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(whole, 1)))
}
