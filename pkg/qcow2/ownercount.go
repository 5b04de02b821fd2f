package qcow2

import "context"

// An ownerCounter knows which owners refer to each cluster. It is the sink of a
// walk. In its sets a table has two numbers: its index, and for VM state that
// plus the number of tables.
type ownerCounter struct {
	img    *Image
	walk   *referenceWalk
	sets   *ownerSets
	owners *clusterMap[uint32] // the set of each cluster
	tables *clusterMap[uint32] // the set of each L2 table, whatever else lies in its cluster

	pieces  *spans            // the L1 tables, each cut where its VM state begins
	pieceOf map[uint64]uint32 // the sets of their segments, by where those begin
}

// countOwners returns how much of the file the active image and each snapshot
// takes, nil where that is too much to count or the context is done.
func countOwners(ctx context.Context, img *Image, report func(done, total uint64)) []OwnerUsage {
	c := &ownerCounter{img: img, sets: newOwnerSets(), owners: newClusterMap[uint32](img.geometry.HostClusters), tables: newScatteredMap[uint32](), pieceOf: map[uint64]uint32{}}
	c.walk = newReferenceWalk(ctx, img, c)
	if !c.walk.walk(nil, report) || c.sets.full() {
		return nil
	}
	c.owners.seal()
	return c.usage()
}

// fail implements referenceSink: what hides references is told by Host.
func (c *ownerCounter) fail(error) bool { return c.walk.ctx.Err() == nil }

// addStructures implements referenceSink.
func (c *ownerCounter) addStructures(r *reference) bool {
	c.owners.fill(r.first, r.n, c.ofStructures(r))
	return !c.sets.full()
}

// add implements referenceSink.
func (c *ownerCounter) add(r *reference) bool {
	set := uint32(0)
	switch {
	case r.kind == HostL2Table:
		set = c.ofL1Entry(r.place * 8)
		if r.problems&Unaligned == 0 {
			word := c.tables.at(r.first)
			*word = c.sets.union(*word, set)
		}
	case !r.kind.Metadata():
		set = c.ofL2Entry(r.place * 8)
	}
	for i := range r.n {
		word := c.owners.at(r.first + i)
		*word = c.sets.union(*word, set)
	}
	return !c.sets.full()
}

// addData implements referenceSink.
func (c *ownerCounter) addData(d *dataBatch) bool {
	set := c.ofL2Entry(d.entries[0].place * 8)
	for _, e := range d.entries {
		word := c.owners.at(e.entry.HostOffset() >> c.img.geometry.ClusterBits)
		*word = c.sets.union(*word, set)
	}
	return !c.sets.full()
}

// ofStructures returns the set of the owners of the L1 tables in the clusters of
// a reference.
func (c *ownerCounter) ofStructures(r *reference) uint32 {
	if !c.sets.spend(r.weight) {
		return 0
	}
	var ranges []ownerRange
	c.walk.sharing(r.first, func(_ int, s *structure) bool {
		if s.kind == HostL1Table {
			i := c.walk.l1.indexOf(s.owner)
			ranges = append(ranges, ownerRange{i, i + 1})
		}
		return true
	})
	return c.sets.of(mergeRanges(ranges))
}

// ofL2Entry returns the set of the owners of the L2 table that the entry at a
// file offset is in.
func (c *ownerCounter) ofL2Entry(at uint64) uint32 {
	return c.tables.word(at >> c.img.geometry.ClusterBits)
}

// ofL1Entry returns the set of the owners of the L1 entry at a file offset.
func (c *ownerCounter) ofL1Entry(at uint64) uint32 {
	if c.pieces == nil {
		c.cut()
	}
	g := c.pieces.at(at)
	set, ok := c.pieceOf[g.from]
	if !ok {
		set = c.ofSegment(g)
		c.pieceOf[g.from] = set
	}
	return set
}

// cut cuts the L1 tables where VM state begins: first come the pieces for the
// disk, then those after it.
func (c *ownerCounter) cut() {
	tables, g := c.walk.l1.tables, &c.img.geometry
	pieces := make([]span, 2*len(tables))
	for i := range tables {
		t := tables[i].span(c.img.src.size)
		behind := t.to
		if n := tables[i].vmState / (g.ClusterSize * g.L2Entries); n < (t.to-t.from)/entrySize {
			behind = t.from + n*entrySize
		}
		pieces[i], pieces[len(tables)+i] = span{t.from, behind}, span{behind, t.to}
	}
	c.pieces = newSpans(pieces)
}

// ofSegment returns the set of the pieces that a segment is in.
func (c *ownerCounter) ofSegment(g *segment) uint32 {
	if !c.sets.spend(g.spans) {
		return 0
	}
	var ranges []ownerRange
	c.pieces.each(g.from, func(i int) bool {
		ranges = append(ranges, ownerRange{uint32(i), uint32(i) + 1})
		return true
	})
	return c.sets.of(mergeRanges(ranges))
}

// usage adds up the bytes of each owner.
func (c *ownerCounter) usage() []OwnerUsage {
	tables := c.walk.l1.tables
	all := make([]OwnerUsage, len(tables))
	for i := range tables {
		all[i].Owner = tables[i].owner
	}
	for set, n := range c.bytes() {
		ranges := c.sets.sets[set]
		owners := c.ownersOf(ranges)
		for _, r := range owners {
			for i := r.first; i < r.end; i++ {
				all[i].Referenced += n
			}
		}
		if len(owners) == 1 && owners[0].end-owners[0].first == 1 {
			all[owners[0].first].Exclusive += n
		}
		for _, r := range ranges {
			for i := max(r.first, uint32(len(tables))); i < r.end; i++ {
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
func (c *ownerCounter) ownersOf(ranges []ownerRange) []ownerRange {
	n := uint32(len(c.walk.l1.tables))
	var owners []ownerRange
	for _, r := range ranges {
		if r.first < n {
			owners = append(owners, ownerRange{r.first, min(r.end, n)})
		}
		if r.end > n {
			owners = append(owners, ownerRange{max(r.first, n) - n, r.end - n})
		}
	}
	return mergeRanges(owners)
}

// bytes returns how many bytes of the file belong to each set.
func (c *ownerCounter) bytes() []uint64 {
	n := make([]uint64, len(c.sets.sets))
	clusters, size := c.img.geometry.HostClusters, c.img.geometry.ClusterSize
	var scratch [pageClusters]uint32
	for first := uint64(0); first < clusters; {
		words, set, k := c.owners.view(first, clusters, &scratch)
		for _, set := range words {
			n[set] += size
		}
		if words == nil {
			n[set] += k * size
		}
		first += k
	}
	if clusters > 0 {
		n[c.owners.word(clusters-1)] -= clusters*size - c.img.src.size // the last one is cut
	}
	return n
}
