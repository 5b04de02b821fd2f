package qcow2

import (
	"context"

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

	counts *sparse.Builder[byte]   // a count for each cluster
	more   *sparse.Builder[uint64] // of those that are full
	// overlaps are clusters with metadata and something else.
	overlaps *sparse.Builder[bool]
	others   []interval.Span   // the clusters of refcount blocks that hold more than 0 and 1, or cannot be read
	mapped   map[uint64]uint64 // where the last L1 entry is that is not 0, by the start of its segment
	seen     map[errorKey]bool // errors that a second look can come across
	last     uint64            // the last cluster with a refcount or a reference, + 1
	reach    uint64            // the end of the last cluster that something needs, in bytes; 0: all are there
	doubt    string            // in words, for what looks leaked

	fragment uint64 // host offset where the next data cluster is no fragment; 0: anywhere
	table    uint64 // the L2 table that this is about, by its cluster

	found   Finding               // what Finding is given
	wrong   Finding               // clusters that are wrong alike, which can still grow; none when its length is 0
	entries []entryGroup          // the same of entries of one table
	rest    [findingKinds]Finding // by their kind, findings of which there were too many
	handed  [findingKinds]uint64  // by kind, how many findings there were
	index   *hostIndex            // knows who refers to clusters; nil until that is asked
	lookup  *refcounts
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

// hasRoom reports whether more references are a matter of adding them: the cluster
// holds no metadata, which they would overlap, and bits 0…5 have room.
func (w count) hasRoom(references uint64) bool {
	return uint64(w&(countMetadata|countFull))+references < uint64(countFull)
}

// An errorKey tells errors apart.
type errorKey struct {
	offset uint64
	detail string
}

func newChecker(w *referenceWalk, o CheckOptions) *checker {
	img, n := w.img, w.clusters
	return &checker{
		ctx: w.ctx, img: img, walk: w, options: o, result: CheckResult{TotalClusters: img.geometry.Clusters},
		counts: sparse.NewBuilder[byte](n), more: sparse.NewScattered[uint64](n),
		lookup: newRefcounts(img), overlaps: sparse.NewScattered[bool](n), mapped: map[uint64]uint64{}, seen: map[errorKey]bool{},
	}
}

// check checks the image. The walk has its sink.
func (c *checker) check() {
	c.checkImage()
	if !c.walk.begin(nil, c.options.Progress) {
		return
	}
	c.findOnes()
	if !c.walk.follow(nil) || c.stopped || c.ctx.Err() != nil {
		return
	}
	c.checkStructures()
	c.needStructures()
	c.flushEntries()
	c.setDoubt()
	c.compare()
	c.checkBeyond()
	c.handRest()
	c.result.ImageEndOffset = c.last << c.img.geometry.ClusterBits
	if c.reach > c.img.src.size {
		c.result.Missing.FileBytes = c.reach - c.img.src.size
	}
}

// findOnes notes which clusters have a refcount of 1, which is what COPIED flags are
// about, and of which others compare has to read the refcounts. It takes each
// refcount block once: a table can point to one block any number of times, for
// clusters that are not there.
func (c *checker) findOnes() {
	r := newRefcounts(c.img)
	seen := map[uint64]uint64{} // the first cluster of a block, by the offset of the block
	for cluster := uint64(0); cluster < c.img.geometry.HostClusters && c.ctx.Err() == nil; {
		refcount, n, _ := r.run(cluster, c.img.geometry.HostClusters-cluster) // compare reports the error
		again := false
		if refcount.value == 1 {
			if _, ok := seen[r.at]; !ok {
				seen[r.at] = r.first
			}
			again = seen[r.at] != r.first
		}
		switch {
		case again || refcount.value > 1 || !refcount.known:
			c.addOthers(cluster, n)
		case refcount.value == 1:
			c.markOnes(cluster, n)
		}
		if refcount.value > 0 {
			c.last = max(c.last, cluster+n)
		}
		cluster += n
	}
	c.lookup.repeats = r.repeats
}

// addOthers notes that compare has to read the refcounts of clusters, and with them
// those of the whole refcount block.
func (c *checker) addOthers(first, n uint64) {
	per := c.img.geometry.RefcountBlockEntries
	from, to := first-first%per, ceilDiv(first+n, per)*per
	if k := len(c.others); k > 0 && c.others[k-1].To >= from {
		c.others[k-1].To = to
		return
	}
	c.others = append(c.others, interval.Span{From: from, To: to})
}

// markOnes notes that n clusters from the first on have a refcount of 1.
func (c *checker) markOnes(first, n uint64) {
	for n > 0 {
		counts := c.counts.Run(first, n)
		markOnes(counts)
		first, n = first+uint64(len(counts)), n-uint64(len(counts))
	}
}

// isOne reports whether the refcount of a cluster is 1.
func (c *checker) isOne(cluster uint64) bool { return count(c.counts.Word(cluster))&countOne != 0 }

// addStructures implements referenceSink.
func (c *checker) addStructures(r *reference) bool {
	c.counts.Fill(r.first, r.n, byte(countMetadata|count(min(r.weight, uint64(countFull)))))
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
	for first, n := r.first, r.n; n > 0; {
		counts := c.counts.Run(first, n)
		for i := 0; i < len(counts); i++ {
			if !r.kind.Metadata() {
				i += addReferences(counts[i:], r.weight)
				if i += c.addMany(first+uint64(i), counts[i:], r.weight); i == len(counts) {
					break
				}
			}
			counts[i] = byte(c.addSlowly(first+uint64(i), count(counts[i]), r.kind, r.weight))
		}
		first, n = first+uint64(len(counts)), n-uint64(len(counts))
	}
	c.last = max(c.last, r.first+r.n)
	return true
}

// addMany adds as many references to each count, from the first on, as long as it
// has no room for them and its cluster holds no metadata. It returns to how many it
// did.
func (c *checker) addMany(first uint64, counts []byte, references uint64) int {
	n := 0
	for n < len(counts) && count(counts[n])&countMetadata == 0 && !count(counts[n]).hasRoom(references) {
		n++
	}
	for i := 0; i < n; {
		more := c.more.Run(first+uint64(i), uint64(n-i))
		for k := range more {
			more[k] += references - uint64(countFull-count(counts[i+k])&countFull)
			counts[i+k] |= byte(countFull)
		}
		i += len(more)
	}
	return n
}

// addData implements referenceSink.
func (c *checker) addData(d *dataBatch) bool {
	active := d.owner.owner == OwnerActive
	if active {
		c.countData(d)
	}
	for rest := d.entries; len(rest) > 0; rest = rest[1:] {
		if rest = rest[c.addUsual(rest, d.weight, active):]; len(rest) == 0 {
			break
		}
		e := rest[0].entry
		cluster := e.HostOffset() >> c.img.geometry.ClusterBits
		if active && c.isOne(cluster) != e.Copied() {
			f := entryFault{at: rest[0].place.offset(), host: e.HostOffset(), hasHost: true, holds: HostData}
			if !c.checkCopied(&f, e.Copied()) {
				return false
			}
		}
		word := c.counts.At(cluster)
		*word = byte(c.addSlowly(cluster, count(*word), HostData, d.weight))
		c.last = max(c.last, cluster+1)
	}
	return true
}

// addUsual adds the references of data entries, from the first on, as long as the
// counts have room and, in the active image, the COPIED flags are right. It returns
// how many it added. It waits for memory: the shorter the loop, the more loads are
// under way.
func (c *checker) addUsual(entries []dataEntry, references uint64, active bool) int {
	counts, last, toCluster := c.counts, c.last, c.img.geometry.ClusterBits&63
	judged := L2Entry(0)
	if active {
		judged = copiedBit
	}
	n := 0
	for _, e := range entries {
		cluster := e.entry.HostOffset() >> toCluster
		word := counts.At(cluster)
		w := count(*word)
		if !w.hasRoom(references) || (e.entry^L2Entry(w)<<57)&judged != 0 { // countOne, moved to the COPIED flag
			break
		}
		*word = byte(w) + byte(references)
		last = max(last, cluster+1)
		n++
	}
	c.last = last
	return n
}

// addSlowly returns the count of a cluster with weight references more.
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

// isShared reports whether a reference is that of one more L1 entry to an L2
// table that has the cluster for itself.
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
