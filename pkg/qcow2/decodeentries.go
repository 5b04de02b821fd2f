package qcow2

import (
	"context"
	"math/bits"
)

// An entryDecoder decodes a table of words, refcounts or bits. It joins neighbours
// that continue each other.
type entryDecoder struct {
	ctx       context.Context
	img       *Image
	table     *Table
	options   DecodeOptions
	yield     func(*TableEntry, error) bool
	judge     entryJudge
	refcounts *refcounts
	reader    entryReader
	dirty     dirtyCounter

	width uint64 // bits of an entry
	step  uint64 // how much larger the next entry can be: a cluster, or 0
	span  uint64 // bytes that an entry is about
	end   uint64 // where the guest's disk ends, if that cuts spans

	cur TableEntry // what can still grow; none if its Count is 0
	out TableEntry // the argument of yield
}

func newEntryDecoder(ctx context.Context, img *Image, t *Table, o DecodeOptions, yield func(*TableEntry, error) bool) *entryDecoder {
	g := &img.geometry
	d := &entryDecoder{ctx: ctx, img: img, table: t, options: o, yield: yield, width: 64, step: g.ClusterSize, end: maxGuestOffset}
	d.reader = newEntryReader(&img.src, tableSection(t.Kind))
	d.refcounts = newRefcounts(img)
	switch t.Kind {
	case HostL1Table:
		d.span = saturated(g.L2Entries, g.ClusterSize)
	case HostL2Table:
		l1, err := img.l1Table(t.Snapshot)
		if err != nil { // it lies nowhere
			l1 = entryTable{}
		}
		d.judge = entryJudge{img, img.headerMetadata(l1)}
		d.reader.unit, d.width, d.span = g.L2EntrySize, g.L2EntrySize*8, g.ClusterSize
	case HostRefcountBlock:
		d.width, d.step, d.span = g.RefcountBits, 0, g.ClusterSize
	case HostBitmapTable:
		d.span, d.end = saturated(t.granularity(), g.ClusterSize*8), g.VirtualSize
		d.dirty = dirtyCounter{window: window{src: &img.src}, left: img.src.size}
	case HostBitmapData:
		d.width, d.step, d.span, d.end = 1, 0, t.granularity(), g.VirtualSize
	}
	return d
}

// tableSection returns the section that errors of a table are about.
func tableSection(k HostKind) Section {
	switch k {
	case HostRefcountBlock:
		return SectionRefcountBlock
	case HostL2Table:
		return SectionL2Table
	case HostBitmapData:
		return SectionBitmapTable
	}
	return k.section()
}

// granularity returns how many guest bytes a bit covers, 0 if that is not known.
func (t *Table) granularity() uint64 {
	if t.Bitmap == nil {
		return 0
	}
	granularity, ok := t.Bitmap.Granularity()
	if !ok {
		return 0
	}
	return granularity
}

// saturated returns a product, or the largest number if it does not fit.
func saturated(a, b uint64) uint64 {
	if hi, lo := bits.Mul64(a, b); hi == 0 {
		return lo
	}
	return maxGuestOffset
}

// decode decodes the table, as far as the file has it.
func (d *entryDecoder) decode() {
	from, to := d.table.Offset, d.table.Offset+min(d.table.Length, maxGuestOffset-d.table.Offset)
	if !d.reader.pieces(d.ctx, from, to, d.decodePiece) || !d.flush() {
		return
	}
	size := d.img.src.size
	if to > size && from < to {
		there := (size - min(from, size)) * 8 / d.width
		d.yield(nil, errorf(d.reader.sec, max(from, size), ErrTruncated, "the file ends at %#x, before entry %d of %d",
			size, d.table.First+there, d.table.First+(to-from)*8/d.width))
	}
}

// decodePiece decodes neighbouring entries. In a hole of the file all are 0.
func (d *entryDecoder) decodePiece(p *piece) bool {
	if p.err != nil {
		return d.flush() && d.yield(nil, p.err)
	}
	index := d.table.First + (p.offset-d.table.Offset)*8/d.width
	if p.bytes == nil {
		return d.addZeros(index, p.n*d.reader.unit*8/d.width)
	}
	switch d.table.Kind {
	case HostL2Table:
		return d.decodeL2(index, p.bytes)
	case HostRefcountBlock, HostBitmapData:
		return d.decodeBits(index, p.bytes)
	}
	return d.decodeWords(index, p.bytes)
}

// addZeros adds entries that are 0.
func (d *entryDecoder) addZeros(index, n uint64) bool {
	if !d.options.Zeros {
		return d.flush()
	}
	e := TableEntry{Index: index, Count: n}
	switch d.table.Kind {
	case HostL2Table:
		d.setRun(&e, &l2Run{n: n})
	case HostRefcountBlock, HostBitmapData:
		d.setBits(&e)
	default:
		d.setWord(&e)
	}
	return d.add(&e)
}

// add adds entries that differ only in their offsets.
func (d *entryDecoder) add(e *TableEntry) bool {
	switch {
	case e.Value|e.Bitmap == 0 && !d.options.Zeros:
		return d.flush()
	case d.options.PerEntry:
		return d.flush() && d.each(e)
	case d.joins(e):
		c := &d.cur
		if c.Count == 1 {
			c.Step = e.Value - c.Value
		}
		c.Count += e.Count
		c.Dirty += e.Dirty
		return true
	}
	ok := d.flush()
	d.cur = *e
	return ok
}

// joins reports whether e continues the current entry.
func (d *entryDecoder) joins(e *TableEntry) bool {
	c := &d.cur
	if c.Count == 0 || c.Index+c.Count != e.Index || c.Kind != e.Kind || c.Kind == EntryCompressed || c.Flags != e.Flags || c.Bitmap != e.Bitmap ||
		c.HasRefcount != e.HasRefcount || c.Refcount != e.Refcount || c.HasDirty != e.HasDirty || c.Reserved != e.Reserved || c.Problems != e.Problems {
		return false
	}
	step := e.Value - (c.Value + (c.Count-1)*c.Step)
	return (step == 0 || step == d.step && c.HasHost) && (c.Count == 1 || c.Step == step) && (e.Count == 1 || e.Step == step)
}

// flush yields the current entry.
func (d *entryDecoder) flush() bool {
	if d.cur.Count == 0 {
		return true
	}
	d.out, d.cur.Count = d.cur, 0
	return d.emit()
}

// each yields entries one by one.
func (d *entryDecoder) each(e *TableEntry) bool {
	for i := range e.Count {
		if i%aliveEvery == aliveEvery-1 && d.ctx.Err() != nil {
			d.yield(nil, d.ctx.Err())
			return false
		}
		d.out = *e
		d.out.Index, d.out.Count, d.out.Step = e.Index+i, 1, 0
		d.out.Value += i * e.Step
		if d.out.HasHost {
			d.out.HostOffset += i * e.Step
		}
		if !d.emit() {
			return false
		}
	}
	return true
}

// emit yields out, after it sets what follows from its index.
func (d *entryDecoder) emit() bool {
	e, t := &d.out, d.table
	if e.Count == 1 {
		e.Step = 0
	}
	bit := (e.Index - t.First) * d.width
	e.Offset, e.Bit = t.Offset+bit/8, bit%8
	start, length := d.reach(e)
	if e.HasLength = d.span > 0; e.HasLength {
		e.Length = length
	}
	known := t.HasReference && d.span > 0
	if t.Kind == HostRefcountBlock {
		e.HostOffset, e.HasHost = start, known
	} else {
		e.GuestOffset, e.HasGuest = start, known
	}
	switch e.Kind {
	case EntryClean:
		e.Dirty, e.HasDirty = 0, true
	case EntryDirty:
		e.Dirty, e.HasDirty = e.Length, e.HasLength
	}
	return d.yield(e, nil)
}

// reach returns the addresses that entries are about: where they begin, and how many
// bytes there are.
func (d *entryDecoder) reach(e *TableEntry) (start, length uint64) {
	index := e.Index
	switch d.table.Kind {
	case HostL2Table, HostRefcountBlock, HostBitmapData:
		index += saturated(d.table.Index, d.img.geometry.ClusterSize*8/d.width)
	}
	start, end := saturated(index, d.span), saturated(index+e.Count, d.span)
	return start, min(end, max(d.end, start)) - start
}
