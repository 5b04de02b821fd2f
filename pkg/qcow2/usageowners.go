package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/rangeset"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// An ownerCounter knows which owners refer to each cluster. It is the sink of a
// walk. In its sets a table has two numbers: its index, and for VM state that
// plus the number of tables.
type ownerCounter struct {
	img    *Image
	walk   *referenceWalk
	sets   *rangeset.Sets
	owners *sparse.Builder[uint32] // the set of each cluster
	tables *sparse.Builder[uint32] // the set of each L2 table, whatever else lies in its cluster

	pieces  *interval.Cover   // the L1 tables, each cut where its VM state begins
	pieceOf map[uint64]uint32 // the sets of their segments, by where those begin
}

// countOwners returns how much of the file the active image and each snapshot
// takes, nil where that is too much to count or the context is done.
func countOwners(ctx context.Context, img *Image, report func(done, total uint64)) []OwnerUsage {
	c := &ownerCounter{img: img, sets: rangeset.New(), owners: sparse.NewBuilder[uint32](img.geometry.HostClusters), tables: sparse.NewScattered[uint32](), pieceOf: map[uint64]uint32{}}
	c.walk = newReferenceWalk(ctx, img, c)
	if !c.walk.walk(nil, report) || c.sets.Full() {
		return nil
	}
	return c.usage()
}

// fail implements referenceSink: what hides references is told by Host.
func (c *ownerCounter) fail(error) bool { return c.walk.ctx.Err() == nil }

// addStructures implements referenceSink.
func (c *ownerCounter) addStructures(r *reference) bool {
	c.owners.Fill(r.first, r.n, c.ofStructures(r))
	return !c.sets.Full()
}

// add implements referenceSink.
func (c *ownerCounter) add(r *reference) bool {
	set := uint32(0)
	switch {
	case r.kind == HostL2Table:
		set = c.ofL1Entry(r.place.offset())
		if r.problems&Unaligned == 0 {
			word := c.tables.At(r.first)
			*word = c.sets.Union(*word, set)
		}
	case !r.kind.Metadata():
		set = c.ofL2Entry(r.place.offset())
	}
	for i := range r.n {
		word := c.owners.At(r.first + i)
		*word = c.sets.Union(*word, set)
	}
	return !c.sets.Full()
}

// addData implements referenceSink.
func (c *ownerCounter) addData(d *dataBatch) bool {
	set := c.ofL2Entry(d.entries[0].place.offset())
	for _, e := range d.entries {
		word := c.owners.At(e.entry.HostOffset() >> c.img.geometry.ClusterBits)
		*word = c.sets.Union(*word, set)
	}
	return !c.sets.Full()
}

// ofStructures returns the set of the owners of the L1 tables in the clusters of
// a reference.
func (c *ownerCounter) ofStructures(r *reference) uint32 {
	if !c.sets.Spend(r.weight) {
		return 0
	}
	var ranges []rangeset.Range
	c.walk.sharing(r.first, func(_ int, s *structure) bool {
		if s.kind == HostL1Table {
			i := c.walk.l1.tableOf(s.owner)
			ranges = append(ranges, rangeset.Range{First: i, End: i + 1})
		}
		return true
	})
	return c.sets.Of(ranges)
}

// ofL2Entry returns the set of the owners of the L2 table that the entry at a
// file offset is in.
func (c *ownerCounter) ofL2Entry(at uint64) uint32 {
	return c.tables.Word(at >> c.img.geometry.ClusterBits)
}

// ofL1Entry returns the set of the owners of the L1 entry at a file offset.
func (c *ownerCounter) ofL1Entry(at uint64) uint32 {
	if c.pieces == nil {
		c.cut()
	}
	g := c.pieces.At(at)
	set, ok := c.pieceOf[g.From]
	if !ok {
		set = c.ofSegment(g)
		c.pieceOf[g.From] = set
	}
	return set
}

// cut cuts the L1 tables where VM state begins: first come the pieces for the
// disk, then those after it.
func (c *ownerCounter) cut() {
	tables, g := c.walk.l1.tables, &c.img.geometry
	pieces := make([]interval.Span, 2*len(tables))
	for i := range tables {
		t := tables[i].span(c.img.src.size)
		end := t.To // of the disk
		if n := tables[i].vmStateOffset / (g.ClusterSize * g.L2Entries); n < (t.To-t.From)/entrySize {
			end = t.From + n*entrySize
		}
		pieces[i], pieces[len(tables)+i] = interval.Span{From: t.From, To: end}, interval.Span{From: end, To: t.To}
	}
	c.pieces = interval.NewCover(pieces)
}

// ofSegment returns the set of the pieces that a segment is in.
func (c *ownerCounter) ofSegment(g *interval.Segment) uint32 {
	if !c.sets.Spend(g.Spans) {
		return 0
	}
	var ranges []rangeset.Range
	c.pieces.Each(g.From, func(i int) bool {
		ranges = append(ranges, rangeset.Range{First: uint32(i), End: uint32(i) + 1})
		return true
	})
	return c.sets.Of(ranges)
}

// usage adds up the bytes of each owner.
func (c *ownerCounter) usage() []OwnerUsage {
	tables := c.walk.l1.tables
	all := make([]OwnerUsage, len(tables))
	for i := range tables {
		all[i].Owner = tables[i].owner
	}
	for set, n := range c.bytes() {
		ranges := c.sets.Ranges(uint32(set))
		owners := c.ownersOf(ranges)
		for _, r := range owners {
			for i := r.First; i < r.End; i++ {
				all[i].Referenced += n
			}
		}
		if len(owners) == 1 && owners[0].End-owners[0].First == 1 {
			all[owners[0].First].Exclusive += n
		}
		for _, r := range ranges {
			for i := max(r.First, uint32(len(tables))); i < r.End; i++ {
				all[i-uint32(len(tables))].VMState += n
			}
		}
	}
	for i := range all {
		all[i].Shared = all[i].Referenced - all[i].Exclusive
	}
	return all
}

// ownersOf returns the owners in a set, for whatever they refer to a cluster.
func (c *ownerCounter) ownersOf(ranges []rangeset.Range) []rangeset.Range {
	n := uint32(len(c.walk.l1.tables))
	var owners []rangeset.Range
	for _, r := range ranges {
		if r.First < n {
			owners = append(owners, rangeset.Range{First: r.First, End: min(r.End, n)})
		}
		if r.End > n {
			owners = append(owners, rangeset.Range{First: max(r.First, n) - n, End: r.End - n})
		}
	}
	return rangeset.Merge(owners)
}

// bytes returns how many bytes of the file belong to each set.
func (c *ownerCounter) bytes() []uint64 {
	n := make([]uint64, c.sets.Len())
	clusters, size := c.img.geometry.HostClusters, c.img.geometry.ClusterSize
	owners := c.owners.Seal()
	for first := uint64(0); first < clusters; {
		v := owners.View(first, clusters)
		for _, set := range v.Words {
			n[set] += size
		}
		if v.Words == nil {
			n[v.Word] += v.N * size
		}
		first += v.N
	}
	if clusters > 0 {
		n[owners.Word(clusters-1)] -= clusters*size - c.img.src.size // the last one is cut
	}
	return n
}
