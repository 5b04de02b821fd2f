package qcow2

import "github.com/qinspect/qinspect/pkg/qcow2/internal/interval"

// checkL1Entry judges an L1 entry that the walk can follow.
func (c *checker) checkL1Entry(g *interval.Segment, at uint64, e L1Entry) bool {
	c.mapped[g.From] = at
	t := &c.walk.l1.tables[g.First]
	host := e.L2Offset()
	f := entryFault{kind: FindingReservedBits, at: at, l1: t, word: uint64(e), host: host, hasHost: host != 0}
	if host >= c.img.src.size {
		c.loseTable(t, at, e)
	}
	if e.Reserved() != 0 && host != 0 && !c.addEntry(&f) {
		return false
	}
	_, ok := c.img.tableCluster(e)
	if host != 0 && (!ok || t.owner != OwnerActive) { // host 0: in a snapshot, too: QEMU takes the header for its L2 table
		return true
	}
	return c.checkCopied(&f, e.Copied())
}

// checkRun judges a run of L2 entries, and counts those of the active image.
func (c *checker) checkRun(t *ownedTable, r *l2Run) bool {
	active := t.owner == OwnerActive
	if active {
		c.countEntries(r)
	}
	if _, ok := c.img.plainHost(r); ok || r.entry&^copiedBit == 0 && r.bitmap == 0 && !c.img.hasDataFile() {
		return !active || c.checkCopiedRun(r, HostData)
	}
	for rest := *r; rest.n > 0; c.img.advance(&rest, 1) {
		one := rest.head(1)
		m := c.img.mappingOf(&one)
		holds := hostKindOf(&m)
		switch p := c.img.entryProblems(&one, &m); {
		case p != 0:
			if p&BeyondEOF != 0 {
				c.loseData(active, &m, p)
			}
			if !c.addProblems(&one, &m, p) {
				return false
			}
		case !m.HasHost: // the rest is the same
			return !active || c.checkCopiedRun(&rest, holds)
		case active && !one.entry.Compressed() && !c.checkCopiedRun(&one, holds):
			return false
		}
	}
	return true
}

// addProblems reports what is wrong with an L2 entry: each problem by itself.
func (c *checker) addProblems(r *l2Run, m *Mapping, p Problems) bool {
	f := entryFault{
		at: r.at, word: uint64(r.entry), holds: hostKindOf(m),
		host: m.HostOffset &^ (c.img.geometry.ClusterSize - 1), hasHost: m.HasHost && !c.img.hasDataFile(),
	}
	for bit := range setBits(uint64(p)) {
		if f.kind = findingOfProblem[bit]; !c.addEntry(&f) {
			return false
		}
	}
	return true
}

// checkCopiedRun judges the COPIED flags of a run of standard entries of the
// active image.
func (c *checker) checkCopiedRun(r *l2Run, holds HostKind) bool {
	host, copied := r.entry.HostOffset(), r.entry.Copied()
	shift := c.img.geometry.ClusterBits
	if c.img.hasDataFile() {
		return c.checkDataFileRun(r, holds)
	}
	if host == 0 {
		return !copied || c.addCopied(r, 0, holds, copiedNowhere)
	}
	want := count(0)
	if copied {
		want = countOne
	}
	for i := uint64(0); i < r.n; {
		counts := c.counts.Run(host>>shift+i, r.n-i)
		for k := countMatching(counts, countOne, want); k < len(counts); k += 1 + countMatching(counts[k+1:], countOne, want) {
			at := i + uint64(k)
			f := entryFault{at: r.at + at*c.img.geometry.L2EntrySize, host: host + at<<shift, hasHost: true, holds: holds}
			if !c.checkCopied(&f, copied) {
				return false
			}
		}
		i += uint64(len(counts))
	}
	return true
}

// checkDataFileRun is checkCopiedRun for an image with an external data file,
// whose clusters have no refcounts, and are always the image's own. The flag can
// stay in the entry of the first cluster when it is made to read as zeros; there
// is no host offset in others that have it.
func (c *checker) checkDataFileRun(r *l2Run, holds HostKind) bool {
	copied := r.entry.Copied()
	switch host := c.img.hasHost(r.entry); {
	case host && !copied:
		return c.addCopied(r, 0, holds, copiedMissing)
	case host == copied:
		return true
	case r.guest == 0:
		return c.addCopied(r, 1, holds, copiedNowhere)
	}
	return c.addCopied(r, 0, holds, copiedNowhere)
}

// addCopied reports COPIED flags without a cluster of this file, of the entries of
// a run from the given one on.
func (c *checker) addCopied(r *l2Run, from uint64, holds HostKind, cause string) bool {
	for i := from; i < r.n; i++ {
		f := entryFault{kind: FindingCopiedFlag, cause: cause, at: r.at + i*c.img.geometry.L2EntrySize, holds: holds}
		if !c.addEntry(&f) {
			return false
		}
	}
	return true
}

// What can be wrong with a COPIED flag.
const (
	copiedNowhere = "COPIED is set, but there is no host offset"
	copiedMissing = "COPIED is not set in an entry that points to the data file"
	copiedUnset   = "COPIED is not set, but the refcount is 1"
	copiedShared  = "COPIED is set, but by its refcount the cluster is shared: a write would change what a snapshot has there"
	copiedFree    = "COPIED is set, but the refcount is 0"
)

// checkCopied judges the COPIED flag of an entry.
func (c *checker) checkCopied(f *entryFault, copied bool) bool {
	cluster := f.host >> c.img.geometry.ClusterBits
	if copied == (f.hasHost && c.isOne(cluster)) {
		return true
	}
	f.kind, f.cause = FindingCopiedFlag, copiedNowhere
	if !f.hasHost {
		return c.addEntry(f)
	}
	f.refcount, _ = c.lookup.one(cluster) // compare reports the error
	switch {
	case !f.refcount.known:
		return true // and that the refcount of a cluster in use is unknown
	case !copied:
		f.cause = copiedUnset
	case f.refcount.value == 1:
		return true // findOnes noted it for other clusters
	case f.refcount.value == 0:
		f.cause = copiedFree
	default:
		f.cause = copiedShared
	}
	return c.addEntry(f)
}

// countEntries counts the entries of a run of the active image.
func (c *checker) countEntries(r *l2Run) {
	c.enterTable(r.at)
	if r.entry.Compressed() {
		c.result.AllocatedClusters++
		c.result.CompressedClusters++
		c.result.FragmentedClusters++
		return
	}
	if !c.img.hasHost(r.entry) {
		return
	}
	host := r.entry.HostOffset()
	c.result.AllocatedClusters += r.n
	if c.fragment != 0 && host != c.fragment {
		c.result.FragmentedClusters++
	}
	c.fragment = host + r.n<<c.img.geometry.ClusterBits
}

// countData counts data clusters of the active image.
func (c *checker) countData(d *dataBatch) {
	c.enterTable(d.entries[0].place.offset())
	size, next, fragmented := c.img.geometry.ClusterSize, c.fragment, uint64(0)
	for _, e := range d.entries {
		host := e.entry.HostOffset()
		if host != next && next != 0 {
			fragmented++
		}
		next = host + size
	}
	c.fragment = next
	c.result.AllocatedClusters += uint64(len(d.entries))
	c.result.FragmentedClusters += fragmented
}

// enterTable begins to count the entries of an L2 table, unless it is the one in
// hand: the first of a table is no fragment.
func (c *checker) enterTable(at uint64) {
	if table := at >> c.img.geometry.ClusterBits; table != c.table {
		c.table, c.fragment = table, 0
	}
}
