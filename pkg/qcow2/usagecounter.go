package qcow2

// A usageCounter sums up the references to each cluster. It is the sink of a walk.
type usageCounter struct {
	img    *Image
	walk   *referenceWalk
	damage func(error) // nil: nobody asked
	words  *usageWords
	owners *ownerSets
	mapped mappedCounter
	table  usageTable
}

// A usageTable is what the references of an L2 table have in common.
type usageTable struct {
	cluster uint64 // + 1
	owners  uint32 // a set
	vmState bool   // to its first owner it maps what lies past the end of the disk
	first   uint64 // guest cluster of its first entry
	whole   bool   // the active image is its first owner, and all that it maps there is on the disk
}

func newUsageCounter(w *referenceWalk, damage func(error)) *usageCounter {
	c := &usageCounter{img: w.img, walk: w, damage: damage, owners: newOwnerSets(w), mapped: newMappedCounter(w)}
	c.words = newUsageWords(w.img, c.joined)
	return c
}

// fail implements referenceSink.
func (c *usageCounter) fail(err error) bool {
	if c.walk.ctx.Err() != nil {
		return false
	}
	if c.damage != nil {
		c.damage(err)
	}
	return true
}

// finish adds up what the walk has found.
func (c *usageCounter) finish(without []Snapshot) (*Usage, error) {
	ctx := c.walk.ctx
	if c.mapped.addEnd(ctx); ctx.Err() != nil {
		return nil, ctx.Err()
	}
	s := newUsageSum(c, without)
	if !s.addClusters() {
		return nil, ctx.Err()
	}
	return s.finish(), nil
}

// addStructures implements referenceSink.
func (c *usageCounter) addStructures(r *reference) bool {
	c.words.fill(r.first, r.n, newUsageWord(r.kind, c.owners.ofStructures(r), r.problems))
	return true
}

// add implements referenceSink.
func (c *usageCounter) add(r *reference) bool {
	if r.problems&(BeyondEOF|NotAllowed) != 0 && !c.fail(r.error()) {
		return false
	}
	kind, owners := r.kind, uint32(0)
	switch {
	case kind == HostL2Table:
		owners = c.owners.addTable(r)
	case !kind.Metadata():
		t := c.tableOf(r.place.offset())
		if owners = t.owners; t.vmState {
			kind = HostVMState
		}
	}
	c.words.add(r.first, r.n, newUsageWord(kind, owners, r.problems))
	return true
}

// addData implements referenceSink.
func (c *usageCounter) addData(d *dataBatch) bool {
	t := c.tableOf(d.entries[0].place.offset())
	kind := HostData
	if t.vmState {
		kind = HostVMState
	}
	c.words.addData(d, c.img.geometry.ClusterBits, newUsageWord(kind, t.owners, 0))
	if t.whole {
		c.mapped.addData(t, d)
	}
	return true
}

// joined returns the word of a cluster that has one after another reference.
func (c *usageCounter) joined(w, fresh usageWord) usageWord {
	return w.joined(fresh, c.owners.sets.Union(w.owners(), fresh.owners()))
}

// tableOf returns what is known of the L2 table that holds the entry at a file
// offset.
func (c *usageCounter) tableOf(at uint64) *usageTable {
	t, g := &c.table, &c.img.geometry
	cluster := at >> g.ClusterBits
	if t.cluster == cluster+1 {
		return t
	}
	owner, l1Index := c.walk.tableOwner(cluster)
	first := l1Index * g.L2Entries
	*t = usageTable{
		cluster: cluster + 1, owners: c.owners.ofTable(cluster), first: first,
		vmState: g.guestOffset(first) >= owner.vmStateOffset,
		whole:   owner.owner == OwnerActive && l1Index < c.mapped.whole,
	}
	return t
}
