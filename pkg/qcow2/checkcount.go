package qcow2

import (
	"context"
	"errors"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// A checker counts references and judges entries. It is the sink of a walk.
type checker struct {
	ctx     context.Context
	img     *Image
	options CheckOptions
	result  CheckResult
	walk    *referenceWalk
	stopped bool // Finding returned false

	counts *sparse.Builder[count]
	more   *sparse.Builder[uint64] // the references beyond countFull
	// overlaps are clusters with metadata and something else.
	overlaps *sparse.Builder[bool]
	mapped   map[uint64]uint64 // file offset of the last L1 entry that is not 0, by the start of its segment
	seen     map[errorKey]bool // errors that were found already
	last     uint64            // the last cluster with a refcount or a reference, + 1

	fragment uint64 // host offset at which the next data cluster is not fragmented; 0: any
	table    uint64 // the cluster of the L2 table that fragment is about

	found  Finding    // the argument of Finding
	wrong  Finding    // a finding about clusters that can still grow; none if its length is 0
	index  *hostIndex // what refers to each cluster; nil until it is needed
	lookup *refcounts
}

// A count is what is known of a cluster:
//
//	bit 7      it holds metadata
//	bit 6      its refcount is 1
//	bits 0…5   how many references it has; countFull: these, and those in more
type count uint8

const (
	countMetadata count = 1 << 7
	countOne      count = 1 << 6
	countFull     count = countOne - 1
)

// hasRoom reports whether one reference more is a matter of adding 1: the cluster
// holds no metadata, which the reference would overlap, and bits 0…5 have room.
func (w count) hasRoom() bool { return w&(countMetadata|countFull) < countFull-1 }

// An errorKey identifies an error.
type errorKey struct {
	offset uint64
	detail string
}

func newChecker(ctx context.Context, img *Image, o CheckOptions) *checker {
	n := img.geometry.HostClusters
	return &checker{
		ctx: ctx, img: img, options: o, result: CheckResult{TotalClusters: img.geometry.Clusters},
		counts: sparse.NewBuilder[count](n), more: sparse.NewScattered[uint64](n),
		lookup: newRefcounts(img), overlaps: sparse.NewScattered[bool](n), mapped: map[uint64]uint64{}, seen: map[errorKey]bool{},
	}
}

// check checks the image.
func (c *checker) check() {
	c.checkImage()
	c.walk = newReferenceWalk(c.ctx, c.img, c)
	c.walk.entry, c.walk.run = c.checkL1Entry, c.checkRun
	if !c.walk.begin(nil, c.options.Progress) {
		return
	}
	c.findOnes()
	if !c.walk.follow(nil) || c.stopped || c.ctx.Err() != nil {
		return
	}
	c.checkStructures()
	c.compare()
	c.checkBeyond()
	c.result.ImageEndOffset = c.last << c.img.geometry.ClusterBits
}

// report passes on a finding, and counts it.
func (c *checker) report(f Finding) bool {
	if c.stopped {
		return false
	}
	n := uint64(1)
	if f.Length > 0 {
		n = ceilDiv(f.Length, c.img.geometry.ClusterSize)
	}
	switch f.Severity {
	case SeverityError:
		c.result.Corruptions += n
	case SeverityLeak:
		c.result.Leaks += n
	}
	if c.options.Finding != nil {
		if f.HasRefcount {
			f.RefcountOffset, _, _ = c.lookup.locate(f.Offset >> c.img.geometry.ClusterBits) // compare reports the error
		}
		c.found = f
		c.stopped = !c.options.Finding(&c.found)
	}
	return !c.stopped
}

// fail implements referenceSink: an error is a finding.
func (c *checker) fail(err error) bool { return c.failAs(SeverityError, err) }

func (c *checker) failAs(severity Severity, err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok { // of the context
		return false
	}
	at := errorKey{e.Offset, e.Detail}
	if c.seen[at] {
		return !c.stopped
	}
	if len(c.seen) < maxSeen {
		c.seen[at] = true
	}
	if e.isRead() {
		c.result.CheckErrors++
	}
	return c.report(Finding{Severity: severity, Kind: findingOf[e.Section], Entry: e.Offset, HasEntry: true, Detail: e.Detail})
}

// maxSeen is how many errors are remembered. Only those of structures can come
// twice.
const maxSeen = 1000

// findOnes notes which clusters have a refcount of 1, to compare COPIED flags with.
// It marks clusters for the first entry that points to a refcount block: a table
// can point to one block any number of times, for clusters in holes.
func (c *checker) findOnes() {
	r := newRefcounts(c.img)
	seen := map[uint64]uint64{} // the first cluster of a block, by the offset of the block
	for cluster := uint64(0); cluster < c.img.geometry.HostClusters && c.ctx.Err() == nil; {
		refcount, n, _ := r.run(cluster, c.img.geometry.HostClusters-cluster) // compare reports the error
		if refcount.value == 1 {
			if _, ok := seen[r.at]; !ok {
				seen[r.at] = r.first
			}
			if seen[r.at] == r.first {
				c.markOnes(cluster, n)
			}
		}
		if refcount.value > 0 {
			c.last = max(c.last, cluster+n)
		}
		cluster += n
	}
}

// markOnes notes that n clusters from the first on have a refcount of 1.
func (c *checker) markOnes(first, n uint64) {
	for n > 0 {
		words := c.counts.Run(first, n)
		for i := range words {
			words[i] |= countOne
		}
		first, n = first+uint64(len(words)), n-uint64(len(words))
	}
}

// isOne reports whether the refcount of a cluster is 1.
func (c *checker) isOne(cluster uint64) bool { return c.counts.Word(cluster)&countOne != 0 }

// addStructures implements referenceSink.
func (c *checker) addStructures(r *reference) bool {
	c.counts.Fill(r.first, r.n, countMetadata|count(min(r.weight, uint64(countFull))))
	if r.weight > uint64(countFull) {
		c.more.Fill(r.first, r.n, r.weight-uint64(countFull))
	}
	if r.problems&OverlapsMetadata != 0 {
		c.overlaps.Fill(r.first, r.n, true)
	}
	c.last = max(c.last, r.first+r.n)
	return true
}

// add implements referenceSink: it counts.
func (c *checker) add(r *reference) bool {
	slow := r.weight > 1 || r.kind.Metadata()
	for first, n := r.first, r.n; n > 0; {
		words := c.counts.Run(first, n)
		for i, w := range words {
			if slow || !w.hasRoom() {
				words[i] = c.addSlowly(first+uint64(i), w, r.kind, r.weight)
			} else {
				words[i] = w + 1
			}
		}
		first, n = first+uint64(len(words)), n-uint64(len(words))
	}
	c.last = max(c.last, r.first+r.n)
	return true
}

// addData implements referenceSink.
func (c *checker) addData(d *dataBatch) bool {
	active := d.owner.owner == OwnerActive
	if active {
		c.countData(d)
	}
	shift := c.img.geometry.ClusterBits
	for _, e := range d.entries {
		cluster := e.entry.HostOffset() >> shift
		word := c.counts.At(cluster)
		w := *word
		if active && (w&countOne != 0) != e.entry.Copied() && !c.checkCopied(e.entry.HostOffset(), e.entry.Copied(), e.place.offset()) {
			return false
		}
		if d.weight > 1 || !w.hasRoom() {
			*word = c.addSlowly(cluster, w, HostData, d.weight)
		} else {
			*word = w + 1
		}
		c.last = max(c.last, cluster+1)
	}
	return true
}

// addSlowly returns the count of a cluster after weight more references.
func (c *checker) addSlowly(cluster uint64, w count, kind HostKind, weight uint64) count {
	if w&countMetadata != 0 && !c.isShared(cluster, w, kind, weight) {
		*c.overlaps.At(cluster) = true
	}
	if kind.Metadata() {
		w |= countMetadata
	}
	if room := uint64(countFull - w&countFull); weight > room {
		*c.more.At(cluster) += weight - room
		weight = room
	}
	return w + count(weight)
}

// isShared reports whether a reference is one more from an L1 entry, to a cluster
// that holds only this L2 table.
func (c *checker) isShared(cluster uint64, w count, kind HostKind, weight uint64) bool {
	tables := c.walk.tables // they count this one, too
	return kind == HostL2Table && tables.of(cluster) != 0 && c.references(cluster, w)+weight == tables.references(cluster)
}

// references returns how many references there are to a cluster.
func (c *checker) references(cluster uint64, w count) uint64 {
	n := uint64(w & countFull)
	if n == uint64(countFull) {
		n += c.more.Word(cluster)
	}
	return n
}

// checkL1Entry judges an L1 entry that the walk can follow.
func (c *checker) checkL1Entry(g *interval.Segment, at uint64, e L1Entry) bool {
	c.mapped[g.From] = at
	if e.Reserved() != 0 && e.L2Offset() != 0 && !c.report(Finding{
		Severity: SeverityError, Kind: FindingReservedBits, Entry: at, HasEntry: true,
		Offset: e.L2Offset() &^ (c.img.geometry.ClusterSize - 1), HasOffset: true,
		Detail: fmt.Sprintf("the L1 entry is %#x", uint64(e)),
	}) {
		return false
	}
	if e.L2Offset() == 0 { // in a snapshot, too: QEMU takes the header for its L2 table
		return c.checkCopied(0, e.Copied(), at)
	}
	if _, ok := c.img.tableCluster(e); !ok || c.walk.l1.tables[g.First].owner != OwnerActive {
		return true
	}
	return c.checkCopied(e.L2Offset(), e.Copied(), at)
}

// checkCopied judges a COPIED flag.
func (c *checker) checkCopied(host uint64, copied bool, at uint64) bool {
	cluster := host >> c.img.geometry.ClusterBits
	if copied == (host != 0 && c.isOne(cluster)) {
		return true
	}
	f := Finding{Severity: SeverityError, Kind: FindingCopiedFlag, Entry: at, HasEntry: true}
	if host == 0 {
		f.Detail = "COPIED is set, but there is no host offset"
		return c.report(f)
	}
	refcount, _ := c.lookup.one(cluster) // compare reports the error
	switch {
	case !refcount.known:
		return true // and the refcount of a cluster in use is reported as unknown
	case !copied:
		f.Detail = "COPIED is not set, but the refcount is 1"
	case refcount.value == 1:
		return true // findOnes marked other clusters for this block
	default:
		f.Detail = "COPIED is set, but the refcount is not 1"
	}
	f.Offset, f.HasOffset = cluster<<c.img.geometry.ClusterBits, true
	f.Refcount, f.HasRefcount = refcount.value, refcount.known
	return c.report(f)
}
