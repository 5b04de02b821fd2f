package qcow2

import (
	"errors"
	"math"
	"math/bits"
	"strings"
)

// need notes that something needs the cluster at an offset. One that the refcount
// table has no room for was never there: that is damage, as is an entry with other
// faults, and no sign that the file was cut.
func (c *checker) need(offset uint64) {
	g := &c.img.geometry
	if offset >= c.img.src.size && offset>>g.ClusterBits/g.RefcountBlockEntries < g.RefcountTableEntries {
		c.reach = max(c.reach, offset&^(g.ClusterSize-1)+g.ClusterSize)
	}
}

// loseTable notes that an L1 entry points to an L2 table past the end of the
// file.
func (c *checker) loseTable(t *ownedTable, at uint64, e L1Entry) {
	if table := e.L2Offset(); e.Reserved() == 0 && table%c.img.geometry.ClusterSize == 0 {
		c.need(table)
	}
	if t.owner == OwnerActive {
		per := c.img.geometry.L2Entries
		c.lose(t.indexOf(at)*per, per)
	}
}

// loseData notes that an L2 entry points past the end of the file. Zeros are not
// lost.
func (c *checker) loseData(active bool, m *Mapping, p Problems) {
	g := &c.img.geometry
	switch {
	case p != BeyondEOF:
	case m.Kind == MappingCompressed:
		c.need(CompressedEnd(m.HostOffset, m.Sectors) - 1)
	default:
		c.need(m.HostOffset)
	}
	switch {
	case !active || m.Kind != MappingData && m.Kind != MappingCompressed:
	case m.HasSubclusterBitmap && m.Kind == MappingData && m.Start < g.VirtualSize:
		c.result.Missing.GuestBytes += uint64(bits.OnesCount32(uint32(m.SubclusterBitmap))) * g.SubclusterSize
	default:
		c.lose(m.Start>>g.ClusterBits, 1)
	}
}

// lose notes that guest clusters of the active image are lost, those of the disk.
func (c *checker) lose(first, n uint64) {
	g := &c.img.geometry
	if first < g.Clusters {
		end := min(first+n, g.Clusters)
		c.result.Missing.GuestBytes += min(end<<g.ClusterBits, g.VirtualSize) - first<<g.ClusterBits
	}
}

// loseRest notes what is lost by an error: the entries of an L2 table that come
// after the end of the file.
func (c *checker) loseRest(e *Error) {
	cluster := e.Offset >> c.img.geometry.ClusterBits
	if e.Section != SectionL2Table || !errors.Is(e, ErrTruncated) || c.walk.tables.of(cluster) == 0 {
		return
	}
	if owner, i := c.walk.tableOwner(cluster); owner.owner == OwnerActive {
		g := &c.img.geometry
		there := (c.img.src.size - min(cluster<<g.ClusterBits, c.img.src.size)) / g.L2EntrySize
		c.lose(i*g.L2Entries+there, g.L2Entries-min(there, g.L2Entries))
	}
}

// needStructures notes what the structures need, and what the active disk loses
// where its L1 table is cut.
func (c *checker) needStructures() {
	size := c.img.src.size
	for i := range c.walk.structures {
		s := &c.walk.structures[i]
		if s.kind != HostHeader && (s.offset >= size || s.length > size-s.offset) {
			c.need(s.offset + min(s.length-1, math.MaxUint64-s.offset))
		}
	}
	g := &c.img.geometry
	for i := range c.walk.l1.tables {
		if t := &c.walk.l1.tables[i]; t.owner == OwnerActive {
			there := t.indexOf(t.span(size).To)
			c.lose(there*g.L2Entries, (min(t.entries, g.L1Entries)-min(there, t.entries, g.L1Entries))*g.L2Entries)
		}
	}
}

// setDoubt sets what is said of what looks leaked, once all references are known.
func (c *checker) setDoubt() {
	if unread := c.result.Unread; unread != 0 {
		c.doubt = "what was not read may use it: see " + strings.Join(unread.Names(), ", ")
	}
}

// hide notes that a finding of a kind can hide references.
func (c *checker) hide(kind FindingKind) { c.result.Unread |= 1 << kind }
