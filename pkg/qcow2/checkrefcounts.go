package qcow2

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// compare compares the refcount of every cluster with its references.
func (c *checker) compare() {
	counted := &countedClusters{counts: c.counts.Seal(), more: c.more.Seal(), overlaps: c.overlaps.Seal()}
	r, clusters := newRefcounts(c.img), c.img.geometry.HostClusters
	r.repeats = c.lookup.repeats // findOnes took all entries of the table, this does not
	for cluster := uint64(0); cluster < clusters; {
		v := counted.counts.View(cluster, clusters)
		cluster += v.N
		for steps := 0; v.N > 0; steps++ {
			if steps%aliveEvery == 0 {
				c.walk.tick.cluster(v.Cluster, clusters)
				if c.ctx.Err() != nil {
					return
				}
			}
			if n := c.agreeing(&v); n > 0 {
				v.Advance(n)
				continue
			}
			refcount, k, err := r.run(v.Cluster, v.N)
			if err != nil && !c.reportOnce(err) {
				return
			}
			alike := v.Head(k)
			v.Advance(k)
			if !c.compareView(counted, &alike, refcount) {
				return
			}
		}
	}
	c.flush()
}

// agreeing returns how many clusters of a view, from the first on, are known to have
// as many references as their refcount, without reading it: it is 0 or 1.
func (c *checker) agreeing(v *sparse.View[byte]) uint64 {
	for len(c.others) > 0 && c.others[0].To <= v.Cluster {
		c.others = c.others[1:]
	}
	n := v.N
	if len(c.others) > 0 {
		n = min(n, max(c.others[0].From, v.Cluster)-v.Cluster)
	}
	switch {
	case v.Words != nil:
		return uint64(countAgreeing(v.Words[:n]))
	case count(v.Word).agrees():
		return n
	}
	return 0
}

// countedClusters are the counts of all clusters, once all references are known.
type countedClusters struct {
	counts   *sparse.Map[byte]
	more     *sparse.Map[uint64] // of those that are full
	overlaps *sparse.Map[bool]
}

// references returns how many references there are to a cluster.
func (k *countedClusters) references(cluster uint64, w count) uint64 {
	n := uint64(w & countFull)
	if n == uint64(countFull) {
		n += k.more.Word(cluster)
	}
	return n
}

// matching returns how many clusters hold no metadata and have the given number of
// references, from the first on, whose counts are given.
func (k *countedClusters) matching(first uint64, counts []byte, references uint64) int {
	if references < uint64(countFull) {
		return countMatching(counts, ^countOne, count(references))
	}
	n := countMatching(counts, ^countOne, countFull)
	for i := 0; i < n; {
		v := k.more.View(first+uint64(i), first+uint64(n))
		if v.First() != references-uint64(countFull) {
			return i
		}
		i += int(v.Alike())
	}
	return n
}

// compareView compares clusters that have the same refcount.
func (c *checker) compareView(counted *countedClusters, v *sparse.View[byte], refcount refcount) bool {
	if v.Words == nil {
		return c.compareAlike(counted, v.Cluster, v.N, count(v.Word), refcount)
	}
	for i := 0; i < len(v.Words); i++ {
		if refcount.known {
			if i += counted.matching(v.Cluster+uint64(i), v.Words[i:], refcount.value); i == len(v.Words) {
				break
			}
		}
		if !c.compareRun(counted, v.Cluster+uint64(i), 1, count(v.Words[i]), refcount) {
			return false
		}
	}
	return true
}

// compareAlike compares clusters that have the same refcount, and the same count.
func (c *checker) compareAlike(counted *countedClusters, first, n uint64, w count, refcount refcount) bool {
	if w == 0 { // nothing refers to them
		return refcount.value == 0 || c.leak(first, n, refcount.value, 0)
	}
	for n > 0 {
		k := counted.overlaps.Alike(first, counted.more.Alike(first, n))
		if !c.compareRun(counted, first, k, w, refcount) {
			return false
		}
		first, n = first+k, n-k
	}
	return true
}

// compareRun compares clusters with as many references each.
func (c *checker) compareRun(counted *countedClusters, first, n uint64, w count, refcount refcount) bool {
	references := counted.references(first, w)
	overlap := w&countMetadata != 0 && counted.overlaps.Word(first)
	switch {
	case !refcount.known:
		return references == 0 || c.reportClusters(FindingRefcountUnknown, first, n, references, refcount)
	case overlap && !c.reportClusters(FindingOverlap, first, n, references, refcount):
		return false
	case refcount.value > references:
		return c.leak(first, n, refcount.value, references)
	case refcount.value < references && !overlap:
		return c.reportClusters(FindingRefcountTooLow, first, n, references, refcount)
	}
	return true
}

// checkBeyond reports refcounts of clusters past the end of the file, those of a
// refcount block together. It takes each block once, for the first of its entries:
// a table can point to one block any number of times, and to any number of them in
// a hole, where all refcounts are 0.
func (c *checker) checkBeyond() {
	g, holes := &c.img.geometry, holeFinder{src: &c.img.src}
	per, seen, r := g.RefcountBlockEntries, map[uint64]bool{}, newRefcounts(c.img)
	newRefcounts(c.img).blocks(c.ctx, func(i, block uint64, _ error) bool {
		first := i * per
		end := min(first+per, 1<<(63-g.ClusterBits))
		if block == 0 || end <= g.HostClusters || !c.img.isBlock(block) || holes.in(block, g.ClusterSize) || seen[block] {
			return c.ctx.Err() == nil
		}
		seen[block] = true
		return c.reportBeyond(r, max(first, g.HostClusters), end)
	})
}

// reportBeyond reports that clusters of a refcount block have a refcount: one
// finding, from the first that has to the last. How many references there are to
// them is not known, as clusters past the end of the file are not counted.
func (c *checker) reportBeyond(r *refcounts, from, end uint64) bool {
	shift := c.img.geometry.ClusterBits
	f := Finding{Severity: SeverityWarning, Kind: FindingRefcountBeyondEOF, HasOffset: true, HasRefcount: true}
	for cluster := from; cluster < end; {
		refcount, n, _ := r.run(cluster, end-cluster) // what cannot be read is said of clusters of the file
		if refcount.value > 0 {
			if f.Count == 0 {
				f.Offset, f.Refcount = cluster<<shift, refcount.value
			}
			f.HasRefcount = f.HasRefcount && refcount.value == f.Refcount
			f.Count += n
			f.Length = (cluster+n)<<shift - f.Offset
		}
		cluster += n
	}
	if f.Count == 0 {
		return true
	}
	if f.Count<<shift < f.Length {
		f.Detail = fmt.Sprintf("%d of these %d clusters have a refcount", f.Count, f.Length>>shift)
	}
	return c.report(f)
}
