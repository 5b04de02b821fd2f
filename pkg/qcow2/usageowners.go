package qcow2

import (
	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/rangeset"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// An ownerSets holds which owners refer to L1 tables and L2 tables, and so to what
// those point to. In its sets an L1 table has two numbers: its index and, for its
// VM state, its index plus the number of tables.
type ownerSets struct {
	walk   *referenceWalk
	sets   *rangeset.Sets          // once the L1 tables are known
	tables *sparse.Builder[uint32] // the set of each L2 table

	pieces  *interval.Cover   // the L1 tables, each cut where its VM state begins
	pieceOf map[uint64]uint32 // the sets of their segments, by where those begin
}

func newOwnerSets(w *referenceWalk) *ownerSets {
	return &ownerSets{walk: w, tables: sparse.NewScattered[uint32](w.clusters), pieceOf: map[uint64]uint32{}}
}

// ofStructures returns the set of the owners of the L1 tables in the clusters of
// a reference.
func (o *ownerSets) ofStructures(r *reference) uint32 {
	if o.sets == nil {
		o.sets = rangeset.New(uint32(2 * len(o.walk.l1.tables)))
	}
	if !o.sets.Spend(r.weight) {
		return 0
	}
	var ranges []rangeset.Range
	o.walk.sharing(r.first, func(_ int, s *structure) bool {
		if s.kind == HostL1Table {
			i := o.walk.l1.tableOf(s.owner)
			ranges = append(ranges, rangeset.Range{First: i, End: i + 1})
		}
		return true
	})
	return o.sets.Of(ranges)
}

// addTable adds the owners of an L1 entry to those of the L2 table that it points
// to, and returns them. An unaligned table cannot be read: it only takes clusters.
func (o *ownerSets) addTable(r *reference) uint32 {
	set := o.ofL1Entry(r.place.offset())
	if r.problems&Unaligned == 0 {
		word := o.tables.At(r.first)
		*word = o.sets.Union(*word, set)
	}
	return set
}

// ofTable returns the set of the owners of the L2 table in a cluster.
func (o *ownerSets) ofTable(cluster uint64) uint32 { return o.tables.Word(cluster) }

// ofL1Entry returns the set of the owners of the L1 entry at a file offset.
func (o *ownerSets) ofL1Entry(at uint64) uint32 {
	if o.pieces == nil {
		o.cut()
	}
	g := o.pieces.At(at)
	set, ok := o.pieceOf[g.From]
	if !ok {
		set = o.ofSegment(g)
		o.pieceOf[g.From] = set
	}
	return set
}

// cut cuts the L1 tables where VM state begins: first come the pieces for the
// disk, then those after it.
func (o *ownerSets) cut() {
	img, tables := o.walk.img, o.walk.l1.tables
	pieces := make([]interval.Span, 2*len(tables))
	for i := range tables {
		t := tables[i].span(img.src.size)
		end := t.To // of the disk
		if n := tables[i].vmStateOffset / (img.geometry.ClusterSize * img.geometry.L2Entries); n < (t.To-t.From)/entrySize {
			end = t.From + n*entrySize
		}
		pieces[i], pieces[len(tables)+i] = interval.Span{From: t.From, To: end}, interval.Span{From: end, To: t.To}
	}
	o.pieces = interval.NewCover(pieces)
}

// ofSegment returns the set of the pieces that a segment is in.
func (o *ownerSets) ofSegment(g *interval.Segment) uint32 {
	if !o.sets.Spend(g.Spans) {
		return 0
	}
	var ranges []rangeset.Range
	o.pieces.Each(g.From, func(i int) bool {
		ranges = append(ranges, rangeset.Range{First: uint32(i), End: uint32(i) + 1})
		return true
	})
	return o.sets.Of(ranges)
}

// of returns the owners in a set, be it for their disk or for their VM state, by
// the indexes of their tables.
func (o *ownerSets) of(set uint32) []rangeset.Range {
	n := uint32(len(o.walk.l1.tables))
	var owners []rangeset.Range
	for _, r := range o.sets.Ranges(set) {
		if r.First < n {
			owners = append(owners, rangeset.Range{First: r.First, End: min(r.End, n)})
		}
		if r.End > n {
			owners = append(owners, rangeset.Range{First: max(r.First, n) - n, End: r.End - n})
		}
	}
	return rangeset.Merge(owners)
}

// A setUsage is the clusters of the file that belong to one set of owners.
type setUsage struct {
	usageRun
	guest  uint64 // bytes of guest data
	owners uint64 // how many owners there are, + 1; 0: not counted yet
}

// An ownerSum adds up what sets of owners have.
type ownerSum struct {
	sets    *ownerSets
	owners  []OwnerUsage
	without []uint32 // how many of the tables before each belong to [UsageOptions.Without]
	freed   uint64
	alone   usageRun // what has owners, and not the active image
	// Sums over ranges of owners: what is added at one owner counts for all that
	// follow, until it is subtracted.
	referenced, vmState []uint64
}

// addOwners sets what depends on owners, and returns what snapshots have alone.
func (u *Usage) addOwners(sets *ownerSets, all *sparse.Map[setUsage], without []Snapshot) (alone usageRun) {
	tables := sets.walk.l1.tables
	n := len(tables)
	s := &ownerSum{sets: sets, owners: make([]OwnerUsage, n), without: sets.selected(without), referenced: make([]uint64, n+1), vmState: make([]uint64, n+1)}
	bound := sets.sets.Bound()
	for set := uint64(0); set < bound; {
		v := all.View(set, bound)
		for i := range v.Words {
			s.add(uint32(set)+uint32(i), &v.Words[i])
		}
		set += v.N
	}
	var older, referenced, vmState uint64
	for i := range s.owners {
		o := &s.owners[i]
		older += o.ExclusiveWithOlder
		referenced += s.referenced[i]
		vmState += s.vmState[i]
		*o = OwnerUsage{
			Owner: tables[i].owner, Referenced: referenced, Exclusive: o.Exclusive, ExclusiveWithOlder: older,
			Shared: referenced - o.Exclusive, VMState: vmState,
		}
	}
	u.Owners, u.SnapshotsOnly, u.Freed = s.owners, older, s.freed
	return s.alone
}

// selected returns, for each table and for the end, how many of the tables before
// are those of given snapshots.
func (o *ownerSets) selected(snapshots []Snapshot) []uint32 {
	tables := o.walk.l1.tables
	before := make([]uint32, len(tables)+1)
	for _, s := range snapshots {
		if i := o.walk.l1.tableOf(Owner(s.Index)); int(i) < len(tables) && tables[i].owner == Owner(s.Index) {
			before[i+1] = 1
		}
	}
	for i := range tables {
		before[i+1] += before[i]
	}
	return before
}

// add adds the usage of a set to its owners.
func (s *ownerSum) add(set uint32, n *setUsage) {
	if set == 0 || n.clusters == 0 {
		return
	}
	owners := s.sets.of(set)
	chosen := true
	for _, r := range owners {
		s.referenced[r.First] += n.bytes
		s.referenced[r.End] -= n.bytes
		chosen = chosen && s.without[r.End]-s.without[r.First] == r.End-r.First
	}
	if chosen {
		s.freed += n.bytes
	}
	last := owners[len(owners)-1].End - 1
	if len(owners) == 1 && owners[0].First == last {
		s.owners[last].Exclusive += n.bytes
	}
	if !s.sets.isActive(owners) {
		s.owners[last].ExclusiveWithOlder += n.bytes
		s.alone.add(n.usageRun)
	}
	tables := uint32(len(s.owners))
	for _, r := range s.sets.sets.Ranges(set) {
		if r.End > tables {
			s.vmState[max(r.First, tables)-tables] += n.guest
			s.vmState[r.End-tables] -= n.guest
		}
	}
}

// isActive reports whether the active image is one of some owners.
func (o *ownerSets) isActive(owners []rangeset.Range) bool {
	return owners[0].First == 0 && o.walk.l1.tables[0].owner == OwnerActive
}
