package qcow2

// reportClusters reports an error of clusters that something refers to.
func (c *checker) reportClusters(kind FindingKind, first, n, references uint64, refcount refcount) bool {
	shift := c.img.geometry.ClusterBits
	return c.addClusters(&Finding{
		Severity: SeverityError, Kind: kind, Count: n, Offset: first << shift, HasOffset: true, Length: n << shift,
		Refcount: refcount.value, HasRefcount: refcount.known, References: references, HasReferences: true,
	})
}

// leak reports clusters whose refcount is higher than the number of references.
func (c *checker) leak(first, n, refcount, references uint64) bool {
	shift := c.img.geometry.ClusterBits
	return c.addClusters(&Finding{
		Severity: SeverityLeak, Kind: FindingLeak, Count: n, Offset: first << shift, HasOffset: true, Length: n << shift,
		Refcount: refcount, HasRefcount: true, References: references, HasReferences: true, Detail: c.doubt,
	})
}

// addClusters adds the clusters of a finding to the one in hand if they are alike,
// or reports that and keeps f.
func (c *checker) addClusters(f *Finding) bool {
	overlap := f.Kind == FindingOverlap
	if overlap && !c.nameReferences(f) {
		return false
	}
	if c.joins(f) {
		w := &c.wrong
		w.HasReferences = w.HasReferences && w.References == f.References
		w.Length, w.Count = w.Length+f.Length, w.Count+f.Count
		return true
	}
	if !overlap && f.References > 0 && !c.nameReferences(f) {
		return false
	}
	ok := c.flush()
	c.wrong = *f
	return ok
}

// joins reports whether f goes on where the finding in hand ends, and is wrong in
// the same way. An overlap goes on in one structure, with one other.
func (c *checker) joins(f *Finding) bool {
	w := &c.wrong
	if w.Length == 0 || w.Offset+w.Length != f.Offset || w.Kind != f.Kind || w.Refcount != f.Refcount || w.HasRefcount != f.HasRefcount {
		return false
	}
	if f.Kind == FindingRefcountUnknown {
		return true
	}
	return w.References == f.References && (f.Kind != FindingOverlap ||
		c.goesOn(w.HostKind, w.Reference, f.HostKind, f.Reference) && c.goesOn(w.WithKind, w.With, f.WithKind, f.With))
}

// goesOn reports whether a reference to the next cluster after those of the
// finding in hand is to the same structure, or follows in the same table.
func (c *checker) goesOn(kind HostKind, r Reference, nextKind HostKind, next Reference) bool {
	n := c.wrong.Length >> c.img.geometry.ClusterBits
	r.Index += n
	switch {
	case kind.structure():
	case kind.Metadata():
		return false
	default:
		r.Entry += n * c.img.geometry.L2EntrySize
		r.GuestOffset += n << c.img.geometry.ClusterBits
	}
	return kind == nextKind && r == next
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

// nameReferences fills in who refers to the first cluster. That takes a second
// walk, the first time.
func (c *checker) nameReferences(f *Finding) bool {
	if c.options.Finding == nil {
		return true // nobody wants to know
	}
	if c.index == nil {
		c.index = indexHost(c.ctx, c.img, HostOptions{}, func(error) bool { return c.ctx.Err() == nil }) // its errors are found already
		if c.index == nil {
			return false
		}
	}
	cluster := f.Offset >> c.img.geometry.ClusterBits
	word := c.index.labels.of(cluster)
	if word == 0 {
		return true
	}
	var r HostRange
	c.index.first(&r, cluster, word)
	f.Reference, f.HasReference, f.HostKind = r.Reference, r.HasReference, r.Kind
	if f.Kind == FindingOverlap {
		c.nameIntruder(f, cluster, word)
	}
	return true
}

// nameIntruder fills in what else refers to a cluster with metadata: the next
// structure, else the next reference.
func (c *checker) nameIntruder(f *Finding, cluster uint64, word label) {
	x, structures := c.index, 0
	if word.kind().structure() && !x.structuresOf(cluster, &f.With, func(kind HostKind) bool {
		structures++
		f.WithKind = kind
		return structures < 2
	}) {
		f.HasWith = true
		return
	}
	var r HostRange
	if intruder := x.intruders.Word(cluster); intruder != 0 {
		x.first(&r, cluster, intruder)
		f.HasWith = true
	}
	f.With, f.WithKind = r.Reference, r.Kind
}
