package qcow2

import "fmt"

// checkRun judges a run of L2 entries, and counts those of the active image.
func (c *checker) checkRun(t *ownedTable, r *l2Run) bool {
	active := t.owner == OwnerActive
	if active {
		c.countEntries(r)
	}
	if _, ok := c.img.plainHost(r); ok || r.entry&^copiedBit == 0 && r.bitmap == 0 && !c.img.hasDataFile() {
		return !active || c.checkCopiedRun(r)
	}
	for rest := *r; rest.n > 0; c.img.advance(&rest, 1) {
		one := rest.head(1)
		m := c.img.mappingOf(&one)
		switch p := c.img.entryProblems(&one, &m); {
		case p != 0:
			if !c.reportEntry(&one, &m, p) {
				return false
			}
		case !m.HasHost: // the rest is the same
			return !active || c.checkCopiedRun(&rest)
		case active && !one.entry.Compressed() && !c.checkCopiedRun(&one):
			return false
		}
	}
	return true
}

// reportEntry reports what is wrong with an L2 entry: a finding for each
// problem.
func (c *checker) reportEntry(r *l2Run, m *Mapping, p Problems) bool {
	for bit := range setBits(uint64(p)) {
		f := Finding{Severity: SeverityError, Kind: findingOfProblem[bit], Entry: r.at, HasEntry: true}
		f.Detail = fmt.Sprintf("the entry of guest offset %#x is %#x", m.Start, uint64(r.entry))
		if m.HasHost && !c.img.hasDataFile() {
			f.Offset, f.HasOffset = m.HostOffset&^(c.img.geometry.ClusterSize-1), true
		}
		if !c.report(f) {
			return false
		}
	}
	return true
}

// checkCopiedRun judges the COPIED flags of a run of standard entries of the
// active image.
func (c *checker) checkCopiedRun(r *l2Run) bool {
	host, copied := r.entry.HostOffset(), r.entry.Copied()
	shift := c.img.geometry.ClusterBits
	if c.img.hasDataFile() {
		return c.checkDataFileRun(r)
	}
	if host == 0 {
		for i := range r.n {
			if copied && !c.checkCopied(0, true, r.at+i*c.img.geometry.L2EntrySize) {
				return false
			}
		}
		return true
	}
	want := count(0)
	if copied {
		want = countOne
	}
	for i := uint64(0); i < r.n; {
		words := c.counts.Run(host>>shift+i, r.n-i)
		for k, w := range words {
			if at := i + uint64(k); w&countOne != want && !c.checkCopied(host+at<<shift, copied, r.at+at*c.img.geometry.L2EntrySize) {
				return false
			}
		}
		i += uint64(len(words))
	}
	return true
}

// checkDataFileRun is checkCopiedRun for an image with an external data file, whose
// clusters have no refcounts, and need the flag. The first entry, of host offset 0,
// can keep it when the cluster is made to read as zeros; any other with the flag
// needs a host offset.
func (c *checker) checkDataFileRun(r *l2Run) bool {
	copied := r.entry.Copied()
	switch host := c.img.hasHost(r.entry); {
	case host && !copied:
		return c.reportNotCopied(r)
	case host == copied:
		return true
	}
	for i := range r.n {
		if r.guest+i > 0 && !c.checkCopied(0, true, r.at+i*c.img.geometry.L2EntrySize) {
			return false
		}
	}
	return true
}

// reportNotCopied reports entries that point to the data file, but have no COPIED
// flag.
func (c *checker) reportNotCopied(r *l2Run) bool {
	for i := range r.n {
		if !c.report(Finding{
			Severity: SeverityError, Kind: FindingCopiedFlag, Entry: r.at + i*c.img.geometry.L2EntrySize, HasEntry: true,
			Detail: "COPIED is not set in an entry that points to the data file",
		}) {
			return false
		}
	}
	return true
}

// countEntries counts the entries of a run of the active image.
func (c *checker) countEntries(r *l2Run) {
	if table := r.at >> c.img.geometry.ClusterBits; table != c.table {
		c.table, c.fragment = table, 0
	}
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
	r := l2Run{n: 1}
	for _, e := range d.entries {
		r.entry, r.at = e.entry, e.place.offset()
		c.countEntries(&r)
	}
}
