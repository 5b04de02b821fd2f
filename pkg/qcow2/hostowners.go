package qcow2

import (
	"cmp"
	"slices"
)

// An ownerList keeps the entries that refer to each cluster, for Owners. The first of
// a cluster is known from its label, and kept only if something is wrong with it.
type ownerList struct {
	list  []clusterEntry
	from  uint64 // the clusters whose entries are kept; those of L2 tables always are
	to    uint64
	limit uint64 // the most references to a cluster
}

// A clusterEntry is an entry that refers to a cluster.
type clusterEntry struct {
	// clusterProblems is the number of the cluster and, in its lowest bits, what is
	// wrong with the entry.
	clusterProblems uint64
	label           label // kind and place
}

// problemBits is how many bits there are for [Problems]: a file has less than
// 2^63 bytes, and so no more than 2^54 clusters.
const problemBits = 10

func newClusterEntry(cluster uint64, p Problems, l label) clusterEntry {
	return clusterEntry{cluster<<problemBits | uint64(p), l}
}

func (e clusterEntry) cluster() uint64 { return e.clusterProblems >> problemBits }

func (e clusterEntry) problems() Problems { return Problems(e.clusterProblems & (1<<problemBits - 1)) }

func newOwnerList(img *Image, o HostOptions) *ownerList {
	l := &ownerList{limit: ^uint64(0)}
	l.from, l.to = o.clusters(img)
	if o.Limit > 0 {
		l.limit = uint64(o.Limit)
	}
	return l
}

// add keeps the entries of a reference, before the labels count it.
func (o *ownerList) add(x *hostIndexer, r *reference) {
	for i := range r.n {
		c := r.first + i
		if r.problems == 0 && x.labels.of(c) == 0 {
			continue
		}
		if (r.kind == HostL2Table || o.from <= c && c < o.to) && o.before(x, r, c) < o.limit {
			o.list = append(o.list, newClusterEntry(c, r.problems, x.labels.label(r.kind, r.place+place(i*r.step), 0)))
		}
	}
}

// before returns how many references to a cluster came before r. For an L2 table,
// other kinds do not count: everything that it maps needs its L1 entries.
func (o *ownerList) before(x *hostIndexer, r *reference, cluster uint64) uint64 {
	if r.kind == HostL2Table && x.walk.tables.of(cluster) != 0 && r.problems&Unaligned == 0 {
		return x.walk.tables.references(cluster) - r.weight
	}
	return x.labels.references(cluster)
}

// sort sorts the entries by cluster; those of one cluster stay in the order in
// which they came.
func (o *ownerList) sort() {
	slices.SortStableFunc(o.list, func(a, b clusterEntry) int { return cmp.Compare(a.cluster(), b.cluster()) })
}

// of returns the entries that are kept of a cluster.
func (o *ownerList) of(cluster uint64) []clusterEntry {
	byCluster := func(e clusterEntry, cluster uint64) int { return cmp.Compare(e.cluster(), cluster) }
	i, _ := slices.BinarySearchFunc(o.list, cluster, byCluster)
	n := 0
	for n < len(o.list)-i && o.list[i+n].cluster() == cluster {
		n++
	}
	return o.list[i : i+n]
}

// eachEntry calls yield for the entries that refer to a cluster, in the order in which
// they came. It returns false if yield did.
func (o *ownerList) eachEntry(x *hostIndex, cluster uint64, yield func(clusterEntry) bool) bool {
	kept := o.of(cluster)
	if l := x.labels.of(cluster); l != 0 && !l.kind().structure() {
		first := newClusterEntry(cluster, 0, l&^label(x.labels.full()))
		if (len(kept) == 0 || kept[0].label != first.label) && !yield(first) {
			return false
		}
	}
	for _, e := range kept {
		if !yield(e) {
			return false
		}
	}
	return true
}

// each calls yield for the references to a cluster, up to the limit, with kind,
// reference and problems of r set to those of each in turn.
func (o *ownerList) each(x *hostIndex, cluster uint64, r *HostRange, yield func() bool) bool {
	left, ok := o.limit, true
	one := func(kind HostKind) bool {
		r.Kind = kind
		left--
		ok = yield()
		return ok && left > 0
	}
	overlaps := x.problems.Word(cluster) & OverlapsMetadata // a problem of the cluster, not of one reference
	r.Problems = overlaps
	if l := x.labels.of(cluster); l.kind().structure() && !x.structuresOf(cluster, &r.Reference, one) {
		return ok
	}
	o.eachEntry(x, cluster, func(e clusterEntry) bool {
		r.Problems = e.problems() | overlaps
		return x.referencesOf(e, &r.Reference, one)
	})
	return ok
}

// structuresOf calls yield for each structure in a cluster that has some, with r
// set to its reference. It returns false if yield did.
func (x *hostIndex) structuresOf(cluster uint64, r *Reference, yield func(HostKind) bool) bool {
	return x.walk.sharing(cluster, func(i int, s *structure) bool {
		return yield(x.imageReference(r, cluster, x.labels.label(s.kind, place(i), 0)))
	})
}

// referencesOf calls yield for each reference by an entry, one for each table that
// contains it, with r set to each in turn. It returns false if yield did.
func (x *hostIndex) referencesOf(e clusterEntry, r *Reference, yield func(HostKind) bool) bool {
	kind, at := e.label.kind(), x.labels.place(e.label).offset()
	switch {
	case kind == HostBitmapData:
		return x.walk.bitmaps.Each(at, func(i int) bool { return yield(x.bitmapReference(r, i, at)) })
	case kind < HostBitmapData:
		return yield(x.imageReference(r, e.cluster(), e.label))
	case kind == HostL2Table:
		return x.walk.l1.each(at, func(t *ownedTable) bool { return yield(x.img.guestReference(r, kind, t, t.indexOf(at), at)) })
	}
	return x.owners.eachTable(x, at>>x.img.geometry.ClusterBits, func(t *ownedTable, l1Index uint64) bool {
		return yield(x.img.guestReference(r, kind, t, l1Index, at))
	})
}

// eachTable calls yield for the L1 entries that point to the L2 table in a cluster.
// An unaligned entry does not count.
func (o *ownerList) eachTable(x *hostIndex, cluster uint64, yield func(t *ownedTable, l1Index uint64) bool) bool {
	return o.eachEntry(x, cluster, func(e clusterEntry) bool {
		if e.label.kind() != HostL2Table || e.problems()&Unaligned != 0 {
			return true
		}
		at := x.labels.place(e.label).offset()
		return x.walk.l1.each(at, func(t *ownedTable) bool { return yield(t, t.indexOf(at)) })
	})
}
