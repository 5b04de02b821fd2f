package qcow2

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// An ownerList keeps the entries that refer to each cluster, for Owners.
type ownerList struct {
	list  []clusterEntry
	from  uint64 // clusters whose entries are kept, but for those of L2 tables
	to    uint64
	limit uint64 // references to a cluster
}

// A clusterEntry is an entry that refers to a cluster.
type clusterEntry struct {
	cluster uint64
	label   label // kind and place
}

func newOwnerList(img *Image, o HostOptions) *ownerList {
	l := &ownerList{limit: ^uint64(0)}
	l.from, l.to = img.clusterRange(o.Offset, o.Length)
	if o.Limit > 0 {
		l.limit = uint64(o.Limit)
	}
	return l
}

// add keeps the entries of a reference, before the labels count it.
func (o *ownerList) add(x *hostIndex, r *reference) {
	for i := range r.n {
		c := r.first + i
		if (r.kind == HostL2Table || o.from <= c && c < o.to) && o.before(x, r, c) < o.limit {
			o.list = append(o.list, clusterEntry{c, x.labels.label(r.kind, r.place+i*r.step, 0)})
		}
	}
}

// before returns how many references to a cluster came before r. To an L2 table
// those of other kinds do not count: all that it maps needs its L1 entries.
func (o *ownerList) before(x *hostIndex, r *reference, cluster uint64) uint64 {
	if l := x.walk.tables.words.word(cluster); r.kind == HostL2Table && l != 0 && r.problems&Unaligned == 0 {
		return x.walk.tables.references(cluster, l) - r.weight
	}
	return x.labels.references(cluster, x.labels.words.word(cluster))
}

// sort puts the entries into the order of the clusters, those of one in the
// order in which they came.
func (o *ownerList) sort() {
	slices.SortStableFunc(o.list, func(a, b clusterEntry) int { return cmp.Compare(a.cluster, b.cluster) })
}

// of returns the entries that refer to a cluster.
func (o *ownerList) of(cluster uint64) []clusterEntry {
	byCluster := func(e clusterEntry, cluster uint64) int { return cmp.Compare(e.cluster, cluster) }
	i, _ := slices.BinarySearchFunc(o.list, cluster, byCluster)
	n := 0
	for n < len(o.list)-i && o.list[i+n].cluster == cluster {
		n++
	}
	return o.list[i : i+n]
}

// each calls yield for the references to a cluster, up to the limit, with r set
// to each in turn.
func (o *ownerList) each(x *hostIndex, cluster uint64, r *Reference, yield func(HostKind) bool) bool {
	left, ok := o.limit, true
	one := func(kind HostKind) bool {
		left--
		ok = yield(kind)
		return ok && left > 0
	}
	if l := x.labels.words.word(cluster); l.kind().structure() && !x.structuresOf(cluster, l, r, one) {
		return ok
	}
	for _, e := range o.of(cluster) {
		kind, entry := e.label.kind(), x.labels.place(e.label)*8
		var more bool
		switch {
		case kind == HostBitmapData:
			more = x.walk.bitmaps.each(entry, func(i int) bool { return one(x.bitmapReference(r, i, entry)) })
		case kind < HostBitmapData:
			more = one(x.imageReference(r, cluster, e.label))
		case kind == HostL2Table:
			more = x.walk.l1.ownersOf(entry, func(t *ownedTable) bool { return one(x.guestReference(r, kind, t, t.indexOf(entry), entry)) })
		default:
			more = o.eachTable(x, entry>>x.img.geometry.ClusterBits, func(t *ownedTable, l1Index uint64) bool {
				return one(x.guestReference(r, kind, t, l1Index, entry))
			})
		}
		if !more {
			break
		}
	}
	return ok
}

// structuresOf calls yield for each structure in a cluster with a label, with r set
// to its reference. It returns false if yield did.
func (x *hostIndex) structuresOf(cluster uint64, l label, r *Reference, yield func(HostKind) bool) bool {
	more := true
	x.walk.sharing(&reference{first: cluster, place: x.labels.place(l), weight: x.labels.references(cluster, l)}, func(i uint64, s *structure) bool {
		more = yield(x.imageReference(r, cluster, x.labels.label(s.kind, i, 0)))
		return more
	})
	return more
}

// eachTable calls yield for the L1 entries that point to the L2 table in a
// cluster.
func (o *ownerList) eachTable(x *hostIndex, cluster uint64, yield func(t *ownedTable, l1Index uint64) bool) bool {
	unaligned := x.damaged && x.problems.word(cluster)&Unaligned != 0
	for _, e := range o.of(cluster) {
		at := x.labels.place(e.label) * 8
		if e.label.kind() != HostL2Table || unaligned && !x.pointsTo(at, cluster) {
			continue
		}
		if !x.walk.l1.ownersOf(at, func(t *ownedTable) bool { return yield(t, t.indexOf(at)) }) {
			return false
		}
	}
	return true
}

// pointsTo reports whether the L1 entry at a file offset points to a table at the
// start of a cluster. One that is not aligned touches it at most.
func (x *hostIndex) pointsTo(at, cluster uint64) bool {
	p, err := x.img.src.read(SectionL1Table, at, l1EntrySize, "L1 entry")
	return err == nil && L1Entry(binary.BigEndian.Uint64(p)).L2Offset() == cluster<<x.img.geometry.ClusterBits
}
