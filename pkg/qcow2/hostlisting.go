package qcow2

import "math/bits"

// A hostListing turns the labels of clusters into ranges.
type hostListing struct {
	index     *hostIndex
	options   HostOptions
	refcounts *refcounts
	yield     func(*HostRange, error) bool

	to     uint64    // the end of the clusters that are wanted
	next   HostRange // of the clusters that have their turn
	cur    HostRange // what can still grow; empty when its length is 0
	out    HostRange // what yield is given
	tables tableCache
}

// clusterRange returns the host clusters that a range of bytes touches, up to
// one; a length of 0 goes to the end of the file.
func (img *Image) clusterRange(offset, length uint64) (from, to uint64) {
	to = img.geometry.HostClusters
	if end := offset + length; length > 0 && end >= offset {
		to = min(to, ceilDiv(end, img.geometry.ClusterSize))
	}
	return offset / img.geometry.ClusterSize, to
}

// run lists the clusters that the options want.
func (l *hostListing) run() {
	x := l.index
	from, to := x.img.clusterRange(l.options.Offset, l.options.Length)
	l.to = to
	var scratch [pageClusters]label
	for c := from; c < to; {
		if !l.alive(c) {
			return
		}
		words, word, n := x.labels.words.view(c, to, &scratch)
		if !l.list(c, n, words, word) {
			return
		}
		c += n
	}
	l.flush()
}

// alive tells that a cluster has its turn, and reports whether the context is not
// done.
func (l *hostListing) alive(c uint64) bool {
	l.index.walk.tick.cluster(c, l.to)
	return l.index.walk.alive()
}

// list lists n clusters from c on that have the given labels, or all the label
// word if they are nil.
func (l *hostListing) list(c, n uint64, words []label, word label) bool {
	for steps := 1; n > 0; steps++ {
		if steps%aliveEvery == 0 && !l.alive(c) {
			return false
		}
		refcount, k, err := l.refcounts.run(c, n)
		if err != nil && (!l.flush() || !l.yield(nil, err)) {
			return false
		}
		there := min(k, uint64(len(words)))
		if !l.listAlike(c, k, words[:there], word, refcount) {
			return false
		}
		c, n, words = c+k, n-k, words[there:]
	}
	return true
}

// listAlike is list for clusters that have the same refcount.
func (l *hostListing) listAlike(c, n uint64, words []label, word label, refcount refcount) bool {
	r := &l.next
	for n > 0 {
		k := l.fill(r, c, n, words, word)
		r.Refcount, r.HasRefcount = refcount.value, refcount.known
		if !r.HasReference {
			r.Kind = unusedKind(refcount)
		}
		if !l.emit(r, c, k) {
			return false
		}
		c, n = c+k, n-k
		if words != nil {
			words = words[k:]
		}
	}
	return true
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

// fill sets r to what cluster c holds, and returns how many clusters from it on,
// of n, hold what goes on without a gap. The clusters have the given labels, or
// all the label word if they are nil.
func (l *hostListing) fill(r *HostRange, c, n uint64, words []label, word label) uint64 {
	x := l.index
	if words != nil {
		word = words[0]
	}
	if word == 0 {
		*r = HostRange{Offset: c << x.img.geometry.ClusterBits}
		return unlabelled(n, words)
	}
	r.Offset, r.HasReference, r.Problems = c<<x.img.geometry.ClusterBits, true, 0
	room := l.resolve(r, c, word)
	r.References = x.labels.references(c, word)
	if x.damaged {
		r.Problems = x.problems.word(c)
	}
	n = min(n, room)
	switch {
	case words == nil: // clusters of structures
		return x.problems.alike(c, x.labels.more.alike(c, n))
	case r.Kind == HostCompressed, r.Problems != 0 && !r.Kind.structure(), x.labels.count(word) == x.labels.full():
		return 1
	}
	k := uint64(1)
	grow := label(l.step(r.Kind) << x.labels.countBits)
	for ; k < n && words[k] == word+grow; k++ {
		if x.damaged && x.problems.word(c+k) != r.Problems {
			break
		}
		word += grow
	}
	return k
}

// unlabelled returns how many of n clusters have no label, from the first on.
func unlabelled(n uint64, words []label) uint64 {
	for i, l := range words {
		if l != 0 {
			return uint64(i)
		}
	}
	return n
}

// step returns how far the entries of one cluster and the next in a range are
// from each other, in units of 8 bytes.
func (l *hostListing) step(kind HostKind) uint64 {
	switch {
	case kind.structure():
		return 0
	case kind.Metadata():
		return 1
	}
	return l.index.img.geometry.L2EntrySize / 8
}

// emit yields k clusters from c on, which are as r says.
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
		r.Length = min(size, l.index.img.src.size-r.Offset)
		if !l.yield(r, nil) {
			return false
		}
		if k--; k == 0 {
			return true
		}
		r.Offset += size
		l.advance(r, 1)
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

// add yields what cannot grow any more, and keeps r.
func (l *hostListing) add(r *HostRange) bool {
	if l.joins(r) {
		l.cur.Length += r.Length
		return true
	}
	ok := l.flush()
	l.cur = *r
	return ok
}

// joins reports whether r goes on where the current range ends, in the same
// way.
func (l *hostListing) joins(r *HostRange) bool {
	c := l.cur
	if c.Length == 0 || c.Kind != r.Kind || c.Problems != r.Problems || c.Problems != 0 && !c.Kind.structure() || c.Kind == HostCompressed ||
		c.References != r.References || c.Refcount != r.Refcount || c.HasRefcount != r.HasRefcount {
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

// resolve sets kind and reference of r to what the label of cluster c says, and
// returns how many clusters a run from it on can have.
func (l *hostListing) resolve(r *HostRange, c uint64, word label) uint64 {
	x := l.index
	kind, entry := word.kind(), x.labels.place(word)*8
	switch {
	case kind == HostBitmapData:
		g := x.walk.bitmaps.at(entry)
		r.Kind = x.bitmapReference(&r.Reference, g.first, entry)
		return (g.to - entry) / entrySize
	case kind < HostBitmapData:
		r.Kind = x.imageReference(&r.Reference, c, word)
		return ^uint64(0)
	case kind == HostL2Table:
		g := x.walk.l1.at(entry)
		t := &x.walk.l1.tables[g.first]
		r.Kind = x.guestReference(&r.Reference, kind, t, t.indexOf(entry), entry)
		return (g.to - entry) / entrySize
	}
	t := l.tables.find(x, entry>>x.img.geometry.ClusterBits)
	r.Kind = x.guestReference(&r.Reference, kind, t.owner, t.l1Index, entry)
	if r.Reference.GuestOffset == maxGuestOffset {
		return 1 // it does not go on
	}
	return x.img.geometry.L2Entries - r.Reference.Index
}

// imageReference sets r to what the label of cluster c says that belongs to the
// image itself, but to no bitmap, or to an L1 table. It returns the kind.
func (x *hostIndex) imageReference(r *Reference, c uint64, word label) HostKind {
	kind, place := word.kind(), x.labels.place(word)
	if kind.structure() {
		s := &x.walk.structures[place]
		*r = Reference{Owner: s.owner, Entry: s.entry, Index: c - s.offset>>x.img.geometry.ClusterBits}
		return kind
	}
	*r = Reference{Owner: OwnerImage, Entry: place * 8}
	r.Index = (r.Entry - x.img.header.RefcountTableOffset) / entrySize
	return kind
}

// bitmapReference sets r to the reference of the entry at a file offset, which
// the i-th bitmap table has. It returns the kind.
func (x *hostIndex) bitmapReference(r *Reference, i int, entry uint64) HostKind {
	*r = Reference{Owner: OwnerImage, Entry: entry, Index: (entry - x.walk.bitmaps.spans[i].from) / entrySize}
	return HostBitmapData
}

// guestReference sets r to the reference of an L1 or L2 entry at a file offset,
// to which the L1 entry with an index leads. It returns the kind.
func (x *hostIndex) guestReference(r *Reference, kind HostKind, t *ownedTable, l1Index, entry uint64) HostKind {
	g := &x.img.geometry
	*r = Reference{Owner: t.owner, Entry: entry, L1Index: l1Index, Index: l1Index}
	if kind == HostL2Table {
		return kind
	}
	r.Index = entry & (g.ClusterSize - 1) >> bits.TrailingZeros64(g.L2EntrySize)
	r.GuestOffset = g.guestOffset(l1Index*g.L2Entries + r.Index)
	if r.GuestOffset >= t.vmState {
		return HostVMState
	}
	return kind
}

// A tableCache remembers to what L2 tables belong.
type tableCache [1024]cachedTable

type cachedTable struct {
	cluster uint64 // of the L2 table, + 1
	owner   *ownedTable
	l1Index uint64
}

// find returns to what the L2 table in a cluster belongs.
func (t *tableCache) find(x *hostIndex, cluster uint64) *cachedTable {
	e := &t[cluster%uint64(len(t))]
	if e.cluster != cluster+1 {
		e.cluster = cluster + 1
		e.owner, e.l1Index = x.tableOwner(cluster)
	}
	return e
}

// tableOwner returns the L1 table whose guest data in the L2 table in a cluster
// come first, and the index of its entry that points there.
func (x *hostIndex) tableOwner(cluster uint64) (owner *ownedTable, l1Index uint64) {
	if x.walk.isChosen(cluster) {
		return x.walk.chosen.owner, uint64(x.walk.chosen.first.word(cluster)) - 1
	}
	at := x.walk.tables.place(x.walk.tables.words.word(cluster)) * 8
	owner = &x.walk.l1.tables[x.walk.l1.at(at).first]
	return owner, owner.indexOf(at)
}
