package qcow2

// A hostListing turns the labels of clusters into ranges.
type hostListing struct {
	index     *hostIndex
	options   HostOptions
	refcounts *refcounts
	yield     func(*HostRange, error) bool

	to   uint64    // the end of the clusters that are wanted
	next HostRange // of the clusters that are listed next
	cur  HostRange // what can still grow; none if its length is 0
	out  HostRange // the argument of yield
}

// listAll lists the clusters that the options want.
func (l *hostListing) listAll() {
	from, to := l.options.clusters(l.index.img)
	l.to = to
	for c := from; c < to; {
		if !l.alive(c) {
			return
		}
		v := l.index.labels.words.View(c, to)
		c += v.N
		if !l.list(&v) {
			return
		}
	}
	l.flush()
}

// alive reports the progress, and whether the context is not done.
func (l *hostListing) alive(c uint64) bool {
	l.index.walk.tick.cluster(c, l.to)
	return l.index.walk.alive()
}

// list lists clusters by their labels.
func (l *hostListing) list(v *labelView) bool {
	for steps := 1; v.N > 0; steps++ {
		if steps%aliveEvery == 0 && !l.alive(v.Cluster) {
			return false
		}
		refcount, k, err := l.refcounts.run(v.Cluster, v.N)
		if err != nil && (!l.flush() || !l.yield(nil, err)) {
			return false
		}
		alike := v.Head(k)
		v.Advance(k)
		if !l.listAlike(&alike, refcount) {
			return false
		}
	}
	return true
}

// listAlike is list for clusters that have the same refcount.
func (l *hostListing) listAlike(v *labelView, refcount refcount) bool {
	r := &l.next
	for v.N > 0 {
		k := l.nextRange(r, v)
		if l.index.sharing != nil {
			k = l.setShared(r, v.Cluster, k)
		}
		r.Refcount, r.HasRefcount = refcount.value, refcount.known
		if !r.HasReference {
			r.Kind = unusedKind(refcount)
		}
		if !l.emit(r, v.Cluster, k) {
			return false
		}
		v.Advance(k)
	}
	return true
}

// setShared sets Shared of r, and returns how many of k clusters from c on, at least
// one, are shared alike.
func (l *hostListing) setShared(r *HostRange, c, k uint64) uint64 {
	v := l.index.sharing.View(c, c+k)
	r.Shared = v.First() == shared
	return v.Alike()
}

// unusedKind returns the kind of a cluster to which nothing refers.
func unusedKind(r refcount) HostKind {
	switch {
	case !r.known:
		return HostUnknown
	case r.value > 0:
		return HostLeaked
	}
	return HostFree
}

// nextRange sets r to what the first cluster of a view holds, and returns how many
// clusters from it on continue without a gap.
func (l *hostListing) nextRange(r *HostRange, v *labelView) uint64 {
	x := l.index
	word := v.First()
	if word == 0 {
		*r = HostRange{Offset: v.Cluster << x.img.geometry.ClusterBits}
		return unlabelled(v)
	}
	n := min(v.N, x.first(r, v.Cluster, word))
	switch {
	case v.Words == nil: // clusters of structures
		return x.problems.Alike(v.Cluster, x.labels.more.Alike(v.Cluster, n))
	case r.Kind == HostCompressed, r.Problems != 0 && !r.Kind.structure(), x.labels.count(word) == x.labels.full():
		return 1
	}
	k, step := uint64(1), l.step(r.Kind)
	for ; k < n; k++ {
		if word = x.labels.next(word, step); v.Words[k] != word || x.damaged && x.problems.Word(v.Cluster+k) != r.Problems {
			break
		}
	}
	return k
}

// unlabelled returns how many clusters of a view have no label, from the first on.
func unlabelled(v *labelView) uint64 {
	for i, l := range v.Words {
		if l != 0 {
			return uint64(i)
		}
	}
	return v.N
}

// step returns how many places the entries of neighbouring clusters of a range are
// apart.
func (l *hostListing) step(kind HostKind) uint64 {
	switch {
	case kind.structure():
		return 0
	case kind.Metadata():
		return 1
	}
	return l.index.img.geometry.L2EntrySize / 8
}

// emit yields k clusters from c on, the first of which is r.
func (l *hostListing) emit(r *HostRange, c, k uint64) bool {
	size := l.index.img.geometry.ClusterSize
	if l.options.Owners && r.HasReference {
		return l.emitOwners(r, c, k)
	}
	if !l.wants(r.Kind) {
		return l.flush()
	}
	if !l.options.PerCluster {
		r.Length = min(k*size, l.index.img.src.size-r.Offset)
		return l.add(r)
	}
	for {
		r.Length, r.More = min(size, l.index.img.src.size-r.Offset), 0
		if k > 1 && l.options.Batches && (!r.HasReference || !r.Kind.Metadata()) {
			r.More = k - 2 // the last may be cut
		}
		n := r.More + 1
		if !l.yield(r, nil) {
			return false
		}
		if k -= n; k == 0 {
			return true
		}
		r.Offset += n * size
		l.advance(r, n)
	}
}

// wants reports whether clusters of a kind are wanted.
func (l *hostListing) wants(k HostKind) bool { return l.options.Wanted == nil || l.options.Wanted(k) }

// emitOwners yields a range for each reference to each of k clusters.
func (l *hostListing) emitOwners(r *HostRange, c, k uint64) bool {
	x := l.index
	size := x.img.geometry.ClusterSize
	if !l.flush() {
		return false
	}
	for i := range k {
		if i%aliveEvery == aliveEvery-1 && !l.alive(c+i) {
			return false
		}
		l.out = *r
		l.out.Offset += i * size
		l.out.Length = min(size, x.img.src.size-l.out.Offset)
		if !x.owners.each(x, c+i, &l.out, func() bool { return !l.wants(l.out.Kind) || l.yield(&l.out, nil) }) {
			return false
		}
	}
	return true
}

// advance moves the reference of a range on by n clusters.
func (l *hostListing) advance(r *HostRange, n uint64) {
	if !r.HasReference {
		return
	}
	r.Reference.Index += n
	if !r.Kind.structure() {
		r.Reference.Entry += n * l.step(r.Kind) * 8
	}
	switch {
	case r.Kind == HostL2Table:
		r.Reference.L1Index += n
	case !r.Kind.Metadata():
		r.Reference.GuestOffset += n * l.index.img.geometry.ClusterSize
	}
}

// add lets the current range grow by r, or yields it and keeps r.
func (l *hostListing) add(r *HostRange) bool {
	if l.joins(r) {
		l.cur.Length += r.Length
		return true
	}
	ok := l.flush()
	l.cur = *r
	return ok
}

// joins reports whether r continues the current range.
func (l *hostListing) joins(r *HostRange) bool {
	c := l.cur
	if c.Length == 0 || c.Kind != r.Kind || c.Problems != r.Problems || c.Problems != 0 && !c.Kind.structure() || c.Kind == HostCompressed ||
		c.References != r.References || c.Refcount != r.Refcount || c.HasRefcount != r.HasRefcount || c.Shared != r.Shared {
		return false
	}
	l.advance(&c, c.Length/l.index.img.geometry.ClusterSize)
	return c.Reference == r.Reference
}

// flush yields the current range.
func (l *hostListing) flush() bool {
	if l.cur.Length == 0 {
		return true
	}
	l.out, l.cur = l.cur, HostRange{}
	return l.yield(&l.out, nil)
}
