package qcow2

import (
	"fmt"
	"slices"
)

// An entryFault is one thing that is wrong with an entry of an L1 or L2 table.
type entryFault struct {
	kind     FindingKind
	cause    string      // in words, where the kind leaves that open
	at       uint64      // file offset of the entry, in bytes
	l1       *ownedTable // the table of an L1 entry; nil: it is an L2 entry
	word     uint64      // the entry, where there is no cause
	host     uint64      // the host cluster that it points to, in bytes
	hasHost  bool
	holds    HostKind // what that is, of an L2 entry
	refcount refcount // of the host cluster, where that matters
}

// An entryGroup is a fault that entries of one table have which follow each other:
// an entryFault of the first.
type entryGroup struct {
	entryFault
	n         uint64 // entries
	scattered bool   // the clusters that they point to do not follow each other
}

// addEntry takes a fault: the next of a group, or the first of one.
func (c *checker) addEntry(f *entryFault) bool {
	for i := range c.entries {
		if c.extend(&c.entries[i], f) {
			return !c.stopped
		}
	}
	if slices.ContainsFunc(c.entries, func(g entryGroup) bool { return g.kind == f.kind || !c.sameTable(&g, f) }) && !c.flushEntries() {
		return false
	}
	c.entries = append(c.entries, entryGroup{entryFault: *f, n: 1})
	return !c.stopped
}

// extend adds a fault to a group, and reports whether it belongs there.
func (c *checker) extend(g *entryGroup, f *entryFault) bool {
	size := c.img.geometry.L2EntrySize
	if f.l1 != nil {
		size = entrySize
	}
	if g.kind != f.kind || f.at != g.at+g.n*size || !c.sameTable(g, f) ||
		g.cause != f.cause || g.hasHost != f.hasHost || g.refcount != f.refcount {
		return false
	}
	if f.hasHost && f.host != g.host+g.n*c.img.geometry.ClusterSize {
		if f.l1 != nil {
			return false // what the tables map is no range either
		}
		g.scattered = true
	}
	g.n++
	return true
}

// sameTable reports whether a fault is about the table of a group.
func (c *checker) sameTable(g *entryGroup, f *entryFault) bool {
	shift := c.img.geometry.ClusterBits
	return g.l1 == f.l1 && (f.l1 != nil || g.at>>shift == f.at>>shift)
}

// flushEntries reports the groups in hand.
func (c *checker) flushEntries() bool {
	for i := range c.entries {
		if !c.hand(c.groupFinding(&c.entries[i])) {
			break
		}
	}
	c.entries = c.entries[:0]
	return !c.stopped
}

// groupFinding returns what is said of a group.
func (c *checker) groupFinding(g *entryGroup) Finding {
	geometry := &c.img.geometry
	f := Finding{
		Severity: SeverityError, Kind: g.kind, Count: g.n, Entry: g.at, HasEntry: true,
		Offset: g.host &^ (geometry.ClusterSize - 1), HasOffset: g.hasHost,
		Refcount: g.refcount.value, HasRefcount: g.refcount.known,
	}
	if c.options.Finding == nil {
		return f // nobody wants to know more
	}
	if g.n > 1 && g.hasHost && !g.scattered {
		f.Length = g.n * geometry.ClusterSize
	}
	f.HasReference = true
	what := "L1 entry"
	if g.l1 != nil {
		i := g.l1.indexOf(g.at)
		f.HostKind = c.img.guestReference(&f.Reference, HostL2Table, g.l1, i, g.at)
		f.Reference.GuestOffset = geometry.guestOffset(i * geometry.L2Entries)
	} else {
		owner, i := c.walk.tableOwner(g.at >> geometry.ClusterBits)
		f.HostKind = c.img.guestReference(&f.Reference, g.holds, owner, i, g.at)
		f.GuestLength = g.n * geometry.ClusterSize
		what = fmt.Sprintf("entry of guest offset %#x", f.Reference.GuestOffset)
	}
	if f.Detail = g.cause; g.cause == "" {
		f.Detail = fmt.Sprintf("the %s is %#x", what, g.word)
	}
	if g.n > 1 {
		f.Detail += fmt.Sprintf(" (the first of %d entries)", g.n)
	}
	return f
}
