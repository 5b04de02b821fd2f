package qcow2

import (
	"context"
	"encoding/binary"
	"math/bits"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A dirtyCursor finds the dirty ranges of a bitmap, one after the other. A set bit
// k, the lowest of a byte first, says that the k-th granule of the disk is dirty.
type dirtyCursor struct {
	img    *Image
	ctx    context.Context
	tables *bitmapTables
	shift  uint   // a bit stands for 1<<shift guest bytes
	bits   uint64 // how many the disk has

	table   entryReader
	at, end uint64 // file offsets: the entries that are not read yet
	entries piece  // read, and not looked at yet
	cut     *Error // the file ends inside the table

	data           entryReader // its entries are words of 64 bits
	dataAt, dataTo uint64      // file offsets: the words that are not read yet
	words          piece       // read, and not looked at yet
	used           uint        // how many bits of the first of them were looked at

	stored uint64 // clusters of bitmap data
	bit    uint64 // the next one
	start  uint64 // where the range in hand, or that of failed, begins: a bit
	open   bool   // there is a range in hand
	failed error  // comes after the range that was returned last
}

// newDirtyCursor returns a cursor that reads most bytes at once. What is wrong with
// the record of a bitmap must leave its table and its granularity in order.
func newDirtyCursor(ctx context.Context, tables *bitmapTables, b *Bitmap, most uint64) *dirtyCursor {
	img := tables.img
	c := &dirtyCursor{img: img, ctx: ctx, tables: tables, shift: uint(b.GranularityBits)}
	c.bits = ceilDiv(img.geometry.VirtualSize, 1<<c.shift)
	c.table, c.data = newEntryReader(&img.src, SectionBitmapTable), newEntryReader(&img.src, SectionBitmapData)
	c.table.most, c.data.most = most, most
	table, _ := img.bitmapTable(b) // the record is in order
	need, _ := img.bitmapTableSize(b)
	table.entries = min(table.entries, need)
	there := table.span(img.src.size)
	if c.at, c.end = there.From, there.To; (c.end-c.at)/entrySize < table.entries {
		c.cut = errorf(SectionBitmapTable, c.end, ErrTruncated, "%d of %d entries, but the file ends at %#x", (c.end-c.at)/entrySize, table.entries, img.src.size)
	}
	return c
}

// next returns the next dirty range, in bytes of the disk; ok is false after the
// last. With an error it is a range of bits that are not known.
func (c *dirtyCursor) next() (r interval.Span, ok bool, err error) {
	if err = c.failed; err != nil {
		c.failed = nil
		return c.span(c.start, c.bit), true, err
	}
	for c.bit < c.bits {
		from := c.bit
		n, set, err := c.run()
		c.bit += min(n, c.bits-from)
		switch {
		case set && !c.open:
			c.open, c.start = true, from
		case !set && c.open:
			r = c.span(c.start, from)
			c.open, c.start, c.failed = false, from, err
			return r, true, nil
		case err != nil:
			return c.span(from, c.bit), true, err
		}
	}
	if ok, c.open = c.open, false; ok {
		r = c.span(c.start, c.bits)
	}
	return r, ok, nil
}

// stop makes the cursor find nothing more.
func (c *dirtyCursor) stop() { c.bit, c.open, c.failed = c.bits, false, nil }

// span returns the bytes of the bits from one on and before another. The last ends
// where the disk does.
func (c *dirtyCursor) span(from, end uint64) interval.Span {
	to := c.img.geometry.VirtualSize
	if end < c.bits {
		to = end << c.shift
	}
	return interval.Span{From: from << c.shift, To: to}
}

// run returns how many bits from the next on are alike, and whether they are set. If
// they are not known, it returns an error, and that they are not set.
func (c *dirtyCursor) run() (n uint64, set bool, err error) {
	switch {
	case c.words.n > 0:
		n, set = c.wordRun()
		return n, set, nil
	case c.dataAt < c.dataTo:
		return c.dataRun()
	case c.entries.n > 0:
		return c.entryRun()
	case c.at == c.end:
		n, err = c.bits-c.bit, nil // a table that was not resized with the disk has no more
		if c.cut != nil {
			err = c.cut
		}
		return n, false, err
	}
	c.entries = c.table.piece(c.at, c.end)
	c.at += c.entries.n * entrySize
	return c.entryRun()
}

// entryRun is run where the next bits are those of an entry of the table.
func (c *dirtyCursor) entryRun() (n uint64, set bool, err error) {
	if err := c.ctx.Err(); err != nil {
		return c.bits - c.bit, false, err
	}
	perEntry := c.img.geometry.ClusterSize * 8
	p := &c.entries
	if p.bytes == nil { // a hole, or not to be read
		n, p.n = p.n, 0
		return n * perEntry, false, p.err
	}
	at, e := p.offset, bitmapEntry(be64(p.bytes))
	if !e.stored() {
		n = uint64(runLength(p.bytes, uint64(e), 0))
		p.skip(n)
		return n * perEntry, e == bitmapOnes, nil
	}
	p.skip(1)
	if err := c.tables.entryError(at, e); err != nil {
		return perEntry, false, err
	}
	c.stored++
	c.dataAt = e.offset()
	c.dataTo = c.dataAt + min(c.img.geometry.ClusterSize, ceilDiv(c.bits-c.bit, 64)*entrySize)
	return c.dataRun()
}

// dataRun is run where the next bits are in a cluster of bitmap data.
func (c *dirtyCursor) dataRun() (n uint64, set bool, err error) {
	there := min(c.dataTo, c.img.src.size&^(entrySize-1))
	if c.dataAt >= there {
		n = (c.dataTo - c.dataAt) * 8
		err = errorf(SectionBitmapData, c.dataAt, ErrTruncated, "%d bytes are missing: the file ends at %#x", c.dataTo-c.dataAt, c.img.src.size)
		c.dataAt = c.dataTo
		return n, false, err
	}
	c.words = c.data.piece(c.dataAt, there)
	c.dataAt += c.words.n * entrySize
	if p := &c.words; p.bytes == nil {
		n, p.n = p.n, 0
		return n * 64, false, p.err
	}
	n, set = c.wordRun()
	return n, set, nil
}

// wordRun is run where the next bits have been read. Words of which all bits are
// alike count without a look at each bit.
func (c *dirtyCursor) wordRun() (n uint64, set bool) {
	p := c.words.bytes
	word, left := binary.LittleEndian.Uint64(p)>>c.used, 64-c.used
	same := -(word & 1) // a word of such bits
	alike := min(uint(bits.TrailingZeros64(word^same)), left)
	if alike < left {
		c.used += alike
		return uint64(alike), same != 0
	}
	whole := 1
	for 8*whole < len(p) && binary.LittleEndian.Uint64(p[8*whole:]) == same {
		whole++
	}
	c.used = 0
	c.words.skip(uint64(whole))
	return uint64(alike) + 64*uint64(whole-1), same != 0
}
