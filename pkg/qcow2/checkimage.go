package qcow2

import (
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// checkImage judges what is not a reference: header, encryption header, bitmaps,
// snapshots.
func (c *checker) checkImage() {
	for _, e := range c.img.HeaderErrors() {
		c.reportOnce(e)
	}
	c.checkHeader()
	c.checkBacking()
	c.checkUnknown()
	c.checkExtensions()
	c.checkFeatureNames()
	c.checkEncryption()
	c.checkBitmaps()
	c.checkSnapshots()
}

// checkEncryption judges the LUKS header.
func (c *checker) checkEncryption() {
	l, ok, err := c.img.LUKS()
	if err != nil {
		c.reportOnce(err)
	}
	if !ok || err != nil {
		return
	}
	for _, e := range l.Damage {
		c.reportOnce(e)
	}
	if l.Version == 2 {
		c.remarkAt(SeverityError, FindingEncryptionHeader, l.Offset+luksVersionField, "LUKS version 2: QEMU opens version 1 only, and qinspect looks no further")
	}
}

// checkBitmaps judges whether the bitmaps can be used. The walk judges the
// directory.
func (c *checker) checkBitmaps() {
	x, ok := c.img.Extension(ExtBitmaps)
	consistent := c.img.BitmapsConsistent()
	switch {
	case ok && !consistent:
		c.remarkAt(SeverityWarning, FindingBitmapsInconsistent, x.Offset, "autoclear feature bit 0 is clear: the bitmaps are stale, and their clusters leak")
	case !ok && consistent:
		c.remark(SeverityWarning, FindingBitmapsInconsistent, "autoclear_features", "bit 0 is set, but there is no bitmaps extension")
	}
	if !consistent {
		return
	}
	for b, err := range c.img.Bitmaps() {
		if err != nil || c.stopped {
			return // the walk reports it
		}
		if b.Flags&BitmapInUse != 0 {
			c.remarkAt(SeverityWarning, FindingBitmapInUse, b.Offset, "bitmap %s is in use: it was not closed, and is stale", quotedStart(b.Name))
		}
	}
}

// checkSnapshots judges what snapshots say about themselves. The walk judges
// the table.
func (c *checker) checkSnapshots() {
	seed := maphash.MakeSeed()
	ids := map[uint64]int{} // the first snapshot with an id, by its hash
	for s, err := range c.img.Snapshots() {
		if err != nil || c.stopped {
			break
		}
		id := maphash.String(seed, s.ID)
		if first, ok := ids[id]; ok {
			c.remarkAt(SeverityWarning, FindingDuplicateSnapshotID, s.Offset, "snapshot @%d has the id %s, as has @%d", s.Index, quotedStart(s.ID), first)
		} else {
			ids[id] = s.Index
		}
		if need := c.img.geometry.l1Entries(s.DiskSize); uint64(s.L1Size) < need {
			c.remarkAt(SeverityWarning, FindingSnapshotL1TooSmall, s.Offset+8, "the L1 table of snapshot %s has %d entries, but its disk size of %d bytes needs %d", quotedStart(s.ID), s.L1Size, s.DiskSize, need)
		}
	}
	for s, err := range c.img.Snapshots() {
		if err != nil || c.stopped {
			break
		}
		if other, ok := ids[maphash.String(seed, s.Name)]; ok && other != s.Index {
			c.remarkAt(SeverityWarning, FindingAmbiguousSnapshotName, s.Offset, "snapshot @%d has the name %s, which is the id of @%d", s.Index, quotedStart(s.Name), other)
		}
	}
}

// checkStructures judges what the walk has found out: structures that the file
// cuts, and VM states that are not there.
func (c *checker) checkStructures() {
	size := c.img.src.size
	for i := range c.walk.structures {
		s := &c.walk.structures[i]
		if s.kind == HostHeader || s.kind == HostRefcountTable || s.offset >= size || s.length <= size-s.offset || s.length >= size+c.img.geometry.ClusterSize-s.offset {
			continue // also what is an error of the walk
		}
		if !c.report(Finding{
			Severity: SeverityError, Kind: FindingTruncated, Entry: s.entry, HasEntry: true,
			Offset: s.offset, HasOffset: true, Length: 0,
			Detail: fmt.Sprintf("the %s has %d bytes, but the file ends at %#x", s.kind.section(), s.length, size),
		}) {
			return
		}
	}
	c.checkVMStates()
}

// checkVMStates reports snapshots that claim a VM state where their L1 tables
// map nothing past the end of the disk.
func (c *checker) checkVMStates() {
	segments := c.walk.l1.ByOffset
	next := make([]int, len(segments)+1) // the next segment that maps something
	next[len(segments)] = len(segments)
	for i := len(segments) - 1; i >= 0; i-- {
		next[i] = next[i+1]
		if _, ok := c.mapped[segments[i].From]; ok {
			next[i] = i
		}
	}
	tables := map[Owner]*ownedTable{}
	for i := range c.walk.l1.tables {
		tables[c.walk.l1.tables[i].owner] = &c.walk.l1.tables[i]
	}
	for s, err := range c.img.Snapshots() {
		if err != nil || c.stopped {
			return
		}
		t := tables[Owner(s.Index)]
		if s.VMStateSize == 0 || t == nil || c.maps(t, segments, next) {
			continue
		}
		c.remarkAt(SeverityWarning, FindingMissingVMState, s.Offset, "snapshot %s has a VM state of %d bytes, but maps nothing past the end of its disk", quotedStart(s.ID), s.VMStateSize)
	}
}

// maps reports whether an L1 table maps anything past the end of the disk. Next
// is, for each segment, the first from it on that maps something.
func (c *checker) maps(t *ownedTable, segments []interval.Segment, next []int) bool {
	past := t.vmStateOffset >> c.img.geometry.ClusterBits / c.img.geometry.L2Entries // the first entry past the disk
	end := t.span(c.img.src.size).To
	if past >= t.entries || t.entryOffset(past) >= end {
		return false
	}
	from := t.entryOffset(past)
	i, found := slices.BinarySearchFunc(segments, from, func(g interval.Segment, from uint64) int {
		if g.To <= from {
			return -1
		}
		if g.From > from {
			return 1
		}
		return 0
	})
	if found {
		if last, ok := c.mapped[segments[i].From]; ok && last >= from {
			return true
		}
		i++
	}
	return next[i] < len(segments) && segments[next[i]].From < end
}
