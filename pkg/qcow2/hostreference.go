package qcow2

import "math/bits"

// first sets r to what a cluster with a label holds according to its first
// reference, and returns how many clusters a range from it on can have.
func (x *hostIndex) first(r *HostRange, cluster uint64, word label) (room uint64) {
	r.Offset, r.HasReference, r.Problems = cluster<<x.img.geometry.ClusterBits, true, 0
	r.References = x.labels.references(cluster, word)
	if x.damaged {
		r.Problems = x.problems.Word(cluster)
	}
	kind, entry := word.kind(), x.labels.place(word).offset()
	switch {
	case kind == HostBitmapData:
		g := x.walk.bitmaps.At(entry)
		r.Kind = x.bitmapReference(&r.Reference, g.First, entry)
		return (g.To - entry) / entrySize
	case kind < HostBitmapData:
		r.Kind = x.imageReference(&r.Reference, cluster, word)
		return ^uint64(0)
	case kind == HostL2Table:
		t := x.walk.l1.first(entry)
		r.Kind = x.img.guestReference(&r.Reference, kind, t, t.indexOf(entry), entry)
		return (x.walk.l1.At(entry).To - entry) / entrySize
	}
	t := x.tables.find(x.walk, entry>>x.img.geometry.ClusterBits)
	r.Kind = x.img.guestReference(&r.Reference, kind, t.owner, t.l1Index, entry)
	if r.Reference.GuestOffset == maxGuestOffset {
		return 1 // there is no next address
	}
	return x.img.geometry.L2Entries - r.Reference.Index
}

// imageReference sets r to the reference of cluster c's label, which is a structure
// or an entry of the refcount table. It returns the kind.
func (x *hostIndex) imageReference(r *Reference, c uint64, word label) HostKind {
	kind, place := word.kind(), x.labels.place(word)
	if kind.structure() {
		s := &x.walk.structures[place]
		*r = Reference{Owner: s.owner, Entry: s.entry, Index: c - s.offset>>x.img.geometry.ClusterBits, Bitmap: s.bitmap}
		return kind
	}
	*r = Reference{Owner: OwnerImage, Entry: place.offset()}
	r.Index = (r.Entry - x.img.header.RefcountTableOffset) / entrySize
	return kind
}

// bitmapReference sets r to the reference of the entry at a file offset in the i-th
// bitmap table. It returns the kind.
func (x *hostIndex) bitmapReference(r *Reference, i int, entry uint64) HostKind {
	*r = Reference{Owner: OwnerImage, Entry: entry, Index: (entry - x.walk.bitmaps.Span(i).From) / entrySize, Bitmap: x.walk.bitmapOf[i]}
	return HostBitmapData
}

// guestReference sets r to the reference of the L1 entry of t with an index, or of
// an L2 entry in its table, at a file offset. It returns the kind.
func (img *Image) guestReference(r *Reference, kind HostKind, t *ownedTable, l1Index, entry uint64) HostKind {
	g := &img.geometry
	*r = Reference{Owner: t.owner, Entry: entry, L1Index: l1Index, Index: l1Index}
	if kind == HostL2Table {
		return kind
	}
	r.Index = entry & (g.ClusterSize - 1) >> bits.TrailingZeros64(g.L2EntrySize)
	r.GuestOffset = g.guestOffset(l1Index*g.L2Entries + r.Index)
	if r.GuestOffset >= t.vmStateOffset {
		return HostVMState
	}
	return kind
}

// A tableCache caches what tableOwner returns.
type tableCache [1024]cachedTable

type cachedTable struct {
	cluster uint64 // of the L2 table, + 1
	owner   *ownedTable
	l1Index uint64
}

// find returns what tableOwner returns for the L2 table in a cluster.
func (t *tableCache) find(w *referenceWalk, cluster uint64) *cachedTable {
	e := &t[cluster%uint64(len(t))]
	if e.cluster != cluster+1 {
		e.cluster = cluster + 1
		e.owner, e.l1Index = w.tableOwner(cluster)
	}
	return e
}
