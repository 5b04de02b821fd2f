package qcow2

// compare compares the refcount of every cluster with its references.
func (c *checker) compare() {
	c.counts.seal()
	r, clusters := newRefcounts(c.img), c.img.geometry.HostClusters
	var scratch [pageClusters]count
	for cluster := uint64(0); cluster < clusters; {
		if c.ctx.Err() != nil {
			return
		}
		c.walk.tick.cluster(cluster, clusters)
		words, n := c.counts.view(cluster, clusters, &scratch)
		for n > 0 {
			refcount, k, err := r.run(cluster, n)
			if err != nil && !c.fail(err) || !c.compareRun(cluster, k, words, refcount) {
				return
			}
			cluster, n = cluster+k, n-k
			if words != nil {
				words = words[k:]
			}
		}
	}
	c.flushLeak()
}

// compareRun compares clusters that have the same refcount. Words are their
// counts, nil where there are none.
func (c *checker) compareRun(first, n uint64, words []count, refcount refcount) bool {
	if words == nil {
		return refcount.value == 0 || c.leak(first, n, refcount.value, 0)
	}
	for i, w := range words[:n] {
		if uint64(w&^countOne) == refcount.value && refcount.known && w&^countOne < countFull { // neither metadata nor full
			continue
		}
		if !c.compareOne(first+uint64(i), w, refcount) {
			return false
		}
	}
	return true
}

// compareOne compares one cluster.
func (c *checker) compareOne(cluster uint64, w count, refcount refcount) bool {
	n := c.references(cluster, w)
	overlap := w&countMetadata != 0 && c.overlaps.word(cluster)
	switch {
	case !refcount.known:
		return n == 0 || c.reportCluster(FindingRefcountUnknown, cluster, n, refcount)
	case overlap && !c.reportCluster(FindingOverlap, cluster, n, refcount):
		return false
	case refcount.value > n:
		return c.leak(cluster, 1, refcount.value, n)
	case refcount.value < n && !overlap:
		return c.reportCluster(FindingRefcountTooLow, cluster, n, refcount)
	}
	return true
}

// checkBeyond reports refcounts of clusters past the end of the file. It takes
// each refcount block once, for the first of its entries: a table can point to one
// block any number of times.
func (c *checker) checkBeyond() {
	g, size := &c.img.geometry, c.img.src.size
	per, seen, r := g.RefcountBlockEntries, map[uint64]bool{}, newRefcounts(c.img)
	newRefcounts(c.img).blocks(c.ctx, func(i, block uint64, _ error) bool {
		first := i * per
		end := first + per
		if block == 0 || end <= g.HostClusters || block%g.ClusterSize != 0 || block >= size || seen[block] {
			return true
		}
		seen[block] = true
		for cluster := max(first, g.HostClusters); cluster < end && cluster < 1<<(63-g.ClusterBits); {
			refcount, n, _ := r.run(cluster, end-cluster) // what cannot be read is said of clusters of the file
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

// reportCluster reports an error of a cluster that something refers to.
func (c *checker) reportCluster(kind FindingKind, cluster, references uint64, refcount refcount) bool {
	f := Finding{
		Severity: SeverityError, Kind: kind,
		Offset: cluster << c.img.geometry.ClusterBits, HasOffset: true, Length: c.img.geometry.ClusterSize,
		Refcount: refcount.value, HasRefcount: refcount.known, References: references, HasReferences: true,
	}
	return c.flushLeak() && c.who(&f, cluster) && c.report(f)
}

// who fills in who refers to a cluster. That takes a second walk, the first
// time.
func (c *checker) who(f *Finding, cluster uint64) bool {
	if c.options.Finding == nil {
		return true // nobody wants to know
	}
	if c.listing == nil {
		x := newHostIndex(c.ctx, c.img, HostOptions{}, func(error) bool { return c.ctx.Err() == nil }) // its errors are found already
		if x == nil {
			return false
		}
		c.listing = &hostListing{index: x}
	}
	var r HostRange
	c.listing.fill(&r, cluster, 1, []label{c.listing.index.labels.words.word(cluster)})
	f.Reference, f.HasReference, f.HostKind = r.Reference, r.HasReference, r.Kind
	return true
}

// leak adds clusters to the current leak, or reports it and begins a new one.
func (c *checker) leak(first, n, refcount, references uint64) bool {
	shift := c.img.geometry.ClusterBits
	f := &c.leaked
	if f.Length > 0 && f.Offset+f.Length == first<<shift && f.Refcount == refcount && f.References == references && references == 0 {
		f.Length += n << shift
		return true
	}
	if !c.flushLeak() {
		return false
	}
	*f = Finding{
		Severity: SeverityLeak, Kind: FindingLeak, Offset: first << shift, HasOffset: true, Length: n << shift,
		Refcount: refcount, HasRefcount: true, References: references, HasReferences: true,
	}
	return references == 0 || c.who(f, first)
}

// flushLeak reports the current leak.
func (c *checker) flushLeak() bool {
	f := c.leaked
	c.leaked = Finding{}
	return f.Length == 0 || c.report(f)
}
