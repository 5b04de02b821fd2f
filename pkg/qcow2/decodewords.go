package qcow2

import "math/bits"

// What the entries of each kind of table say.

// decodeWords decodes the entries of an L1 table, the refcount table or a bitmap
// table.
func (d *entryDecoder) decodeWords(index uint64, p []byte) bool {
	for len(p) > 0 {
		word := be64(p)
		e := TableEntry{Index: index, Value: word, Count: uint64(runLength(p, word, 0))}
		if e.Count > 1 && word != 0 && d.table.Kind == HostBitmapTable && bitmapEntry(word).stored() {
			e.Count = 1 // each has bits of its own
		}
		d.setWord(&e)
		if !d.addHosts(e) {
			return false
		}
		index, p = index+e.Count, p[e.Count*entrySize:]
	}
	return true
}

// setWord sets what the word of an entry says.
func (d *entryDecoder) setWord(e *TableEntry) {
	switch d.table.Kind {
	case HostL1Table:
		entry := L1Entry(e.Value)
		e.Kind, e.HostOffset, e.Reserved = EntryL2Table, entry.L2Offset(), uint64(entry.Reserved())
		if entry.Copied() {
			e.Flags = FlagCopied
		}
	case HostRefcountTable:
		entry := refcountEntry(e.Value)
		e.Kind, e.HostOffset, e.Reserved = EntryRefcountBlock, entry.block(), uint64(entry&refcountReserved)
	default:
		d.setBitmapEntry(e)
	}
	if e.HasHost = e.HostOffset != 0; !e.HasHost && (e.Kind == EntryL2Table || e.Kind == EntryRefcountBlock) {
		e.Kind = EntryUnallocated
	}
	e.Problems |= d.img.pointerProblems(e.HostOffset, e.Reserved)
}

// setBitmapEntry sets what an entry of a bitmap table says.
func (d *entryDecoder) setBitmapEntry(e *TableEntry) {
	entry := bitmapEntry(e.Value)
	switch entry {
	case 0:
		e.Kind = EntryClean
	case bitmapOnes:
		e.Kind = EntryDirty
	default:
		e.Kind, e.HostOffset, e.Reserved = EntryStored, entry.offset(), entry.reservedBits()
		if d.span > 0 && d.table.HasReference && d.img.bitmapEntryError(0, entry) == nil {
			_, length := d.reach(e)
			e.Dirty, e.HasDirty = d.dirty.count(e.HostOffset, length, d.table.granularity())
		}
	}
}

// pointerProblems returns what is wrong with an entry that points to a host cluster
// at an offset, 0 for none, and has some reserved bits set.
func (img *Image) pointerProblems(offset, reserved uint64) Problems {
	var bad Problems
	if offset%img.geometry.ClusterSize != 0 {
		bad |= Unaligned
	}
	if offset >= img.src.size {
		bad |= BeyondEOF
	}
	if reserved != 0 {
		bad |= ReservedBits
	}
	return bad
}

// decodeL2 decodes the entries of an L2 table.
func (d *entryDecoder) decodeL2(index uint64, p []byte) bool {
	g := &d.img.geometry
	for len(p) > 0 {
		r := l2Run{guest: d.table.Index*g.L2Entries + index, at: d.table.Offset + index*g.L2EntrySize}
		d.img.decodeRun(p, &r)
		if !d.decodeRun(&r, index) {
			return false
		}
		index, p = index+r.n, p[r.n*g.L2EntrySize:]
	}
	return true
}

// decodeRun decodes a run of L2 entries, one by one if they differ in problems.
func (d *entryDecoder) decodeRun(r *l2Run, index uint64) bool {
	e := TableEntry{Index: index}
	if m := d.setRun(&e, r); e.Problems == 0 && d.judge.healthy(r, &m) {
		return d.addHosts(e)
	}
	for rest := *r; rest.n > 0; d.img.advance(&rest, 1) {
		one := rest.head(1)
		e = TableEntry{Index: index + r.n - rest.n}
		d.setRun(&e, &one)
		if !d.addHosts(e) {
			return false
		}
	}
	return true
}

// setRun sets what a run of L2 entries says, and returns the mapping of the first.
func (d *entryDecoder) setRun(e *TableEntry, r *l2Run) Mapping {
	m := d.img.mappingOf(r)
	e.Value, e.Count, e.Kind = uint64(r.entry), r.n, entryKindOf(m.Kind)
	e.Bitmap, e.HasBitmap = r.bitmap, d.img.geometry.L2EntrySize == 16
	e.HostOffset, e.HasHost, e.Sectors = m.HostOffset, m.HasHost, m.Sectors
	e.Reserved = uint64(d.img.reservedBits(r.entry))
	switch {
	case r.entry.Compressed():
		e.Flags |= FlagCompressed
	case r.entry.Zero() && !e.HasBitmap && d.img.header.Version > 2:
		e.Flags |= FlagZero
		fallthrough
	default:
		e.Step = d.img.step(r.entry)
	}
	if r.entry.Copied() {
		e.Flags |= FlagCopied
	}
	if e.Problems = d.judge.problems(r, &m); !d.table.HasReference {
		e.Problems &^= OffsetMismatch // the guest address is not known
	}
	return m
}

// addHosts adds entries with the refcounts of the clusters that they point to.
func (d *entryDecoder) addHosts(e TableEntry) bool {
	elsewhere := d.table.Kind == HostL2Table && d.img.hasDataFile()
	if !e.HasHost || elsewhere || e.HostOffset >= d.img.src.size {
		return d.add(&e)
	}
	for e.Count > 0 {
		r, n := d.refcounts.near(e.HostOffset>>d.img.geometry.ClusterBits, e.Count)
		if e.Step == 0 {
			n = e.Count // all point to the same cluster
		}
		head := e
		head.Count, head.Refcount, head.HasRefcount = n, r.value, r.known
		if !d.add(&head) {
			return false
		}
		e.Index, e.Count = e.Index+n, e.Count-n
		e.Value, e.HostOffset = e.Value+n*e.Step, e.HostOffset+n*e.Step
	}
	return true
}

// decodeBits decodes refcounts, or the bits of a bitmap, which are packed alike.
func (d *entryDecoder) decodeBits(index uint64, p []byte) bool {
	order := uint(bits.TrailingZeros64(d.width))
	for i, n := uint64(0), uint64(len(p))*8>>order; i < n; {
		value, k := refcountRun(p, i, n-i, order)
		e := TableEntry{Index: index + i, Count: k, Value: value}
		d.setBits(&e)
		if !d.add(&e) {
			return false
		}
		i += k
	}
	return true
}

// setBits sets what a refcount or a bit says.
func (d *entryDecoder) setBits(e *TableEntry) {
	switch {
	case d.table.Kind == HostRefcountBlock:
		e.Refcount, e.HasRefcount = e.Value, true
	case e.Value == 0:
		e.Kind = EntryClean
	default:
		e.Kind = EntryDirty
	}
}

// A dirtyCounter counts the bits of clusters of bitmap data. It reads no more than
// the file has: any number of entries can point to one cluster.
type dirtyCounter struct {
	window window
	left   uint64 // bytes that may still be read
}

// count returns how many of length guest bytes are dirty by the bits at an offset; ok
// is false if they cannot be read.
func (c *dirtyCounter) count(offset, length, granularity uint64) (dirty uint64, ok bool) {
	n := ceilDiv(length, granularity)
	if offset+ceilDiv(n, 8) > c.window.src.size || c.left < ceilDiv(n, 8) {
		return 0, false
	}
	c.left -= ceilDiv(n, 8)
	for done := uint64(0); done < n; done += pieceBytes * 8 {
		k := min(n-done, pieceBytes*8)
		p, err := c.window.bytes(SectionBitmapTable, offset+done/8, ceilDiv(k, 8), 0)
		if err != nil {
			return 0, false
		}
		for i := uint64(0); i < k; {
			value, run := refcountRun(p, i, k-i, 0)
			end := min((done+i+run)*granularity, length)
			dirty += value * (end - (done+i)*granularity)
			i += run
		}
	}
	return dirty, true
}
