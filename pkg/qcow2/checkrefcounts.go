package qcow2

import "github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"

// compare compares the refcount of every cluster with its references.
func (c *checker) compare() {
	counted := &countedClusters{counts: c.counts.Seal(), more: c.more.Seal(), overlaps: c.overlaps.Seal()}
	r, clusters := newRefcounts(c.img), c.img.geometry.HostClusters
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
			refcount, k, err := r.run(v.Cluster, v.N)
			if err != nil && !c.fail(err) {
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

// countedClusters are the counts of all clusters after the walk.
type countedClusters struct {
	counts   *sparse.Map[count]
	more     *sparse.Map[uint64] // the references beyond countFull
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

// compareView compares clusters that have the same refcount.
func (c *checker) compareView(counted *countedClusters, v *sparse.View[count], refcount refcount) bool {
	if v.Words == nil {
		return c.compareAlike(counted, v.Cluster, v.N, v.Word, refcount)
	}
	for i, w := range v.Words {
		if uint64(w&^countOne) == refcount.value && refcount.known && w&^countOne < countFull { // neither metadata nor full
			continue
		}
		if !c.compareRun(counted, v.Cluster+uint64(i), 1, w, refcount) {
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

// compareRun compares clusters that have the same number of references.
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

// checkBeyond reports refcounts of clusters past the end of the file. It takes
// each refcount block once, for the first of its entries: a table can point to one
// block any number of times.
func (c *checker) checkBeyond() {
	g := &c.img.geometry
	per, seen, r := g.RefcountBlockEntries, map[uint64]bool{}, newRefcounts(c.img)
	newRefcounts(c.img).blocks(c.ctx, func(i, block uint64, _ error) bool {
		first := i * per
		end := first + per
		if block == 0 || end <= g.HostClusters || !c.img.isBlock(block) || seen[block] {
			return true
		}
		seen[block] = true
		for cluster := max(first, g.HostClusters); cluster < end && cluster < 1<<(63-g.ClusterBits); {
			refcount, n, _ := r.run(cluster, end-cluster) // compare reports blocks that cannot be read, for clusters of the file
			if refcount.value > 0 && !c.report(Finding{
				Severity: SeverityWarning, Kind: FindingRefcountBeyondEOF,
				Offset: cluster << g.ClusterBits, HasOffset: true, Length: n << g.ClusterBits,
				Refcount: refcount.value, HasRefcount: true, HasReferences: true,
			}) {
				return false
			}
			cluster += n
		}
		return true
	})
}

// reportClusters reports an error about clusters that something refers to.
func (c *checker) reportClusters(kind FindingKind, first, n, references uint64, refcount refcount) bool {
	shift := c.img.geometry.ClusterBits
	f := Finding{
		Severity: SeverityError, Kind: kind, Offset: first << shift, HasOffset: true, Length: n << shift,
		Refcount: refcount.value, HasRefcount: refcount.known, References: references, HasReferences: true,
	}
	return c.who(&f, first) && c.grow(&f)
}

// who fills in what refers to a cluster. The first call takes a second walk.
func (c *checker) who(f *Finding, cluster uint64) bool {
	if c.options.Finding == nil {
		return true // only the counts are wanted
	}
	if c.index == nil {
		c.index = indexHost(c.ctx, c.img, HostOptions{}, func(error) bool { return c.ctx.Err() == nil }) // its errors have been reported
		if c.index == nil {
			return false
		}
	}
	var r HostRange
	if word := c.index.labels.of(cluster); word != 0 {
		c.index.first(&r, cluster, word)
	}
	f.Reference, f.HasReference, f.HostKind = r.Reference, r.HasReference, r.Kind
	return true
}

// leak reports clusters whose refcount is higher than the number of references.
func (c *checker) leak(first, n, refcount, references uint64) bool {
	shift := c.img.geometry.ClusterBits
	f := Finding{
		Severity: SeverityLeak, Kind: FindingLeak, Offset: first << shift, HasOffset: true, Length: n << shift,
		Refcount: refcount, HasRefcount: true, References: references, HasReferences: true,
	}
	return (references == 0 || c.who(&f, first)) && c.grow(&f)
}

// grow lets the finding in hand grow by f, or reports it and keeps f.
func (c *checker) grow(f *Finding) bool {
	if c.joins(f) {
		c.wrong.Length += f.Length
		return true
	}
	ok := c.flush()
	c.wrong = *f
	return ok
}

// joins reports whether f continues the finding in hand: in clusters to which
// nothing refers, or in one structure.
func (c *checker) joins(f *Finding) bool {
	w := &c.wrong
	if w.Length == 0 || w.Offset+w.Length != f.Offset || w.Kind != f.Kind || w.HasReference != f.HasReference ||
		w.Refcount != f.Refcount || w.HasRefcount != f.HasRefcount || w.References != f.References {
		return false
	}
	if !w.HasReference {
		return true
	}
	next := w.Reference
	next.Index += w.Length >> c.img.geometry.ClusterBits
	return w.HostKind == f.HostKind && w.HostKind.structure() && next == f.Reference
}

// flush reports the finding in hand.
func (c *checker) flush() bool {
	if c.wrong.Length == 0 {
		return true
	}
	ok := c.report(c.wrong)
	c.wrong.Length = 0
	return ok
}
