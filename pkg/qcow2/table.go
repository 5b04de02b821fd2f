package qcow2

import (
	"context"
	"encoding/binary"
)

// tableWindow is how much of tables is read at once, in bytes: whole L2 tables
// that follow each other, or a piece of an L1 table.
const tableWindow = 1 << 20

// A window holds a piece of the file, which the next read replaces.
type window struct {
	src *source
	off uint64 // file offset of buf
	buf []byte
}

// bytes returns the n bytes at off, fewer where the file ends. If they are not
// at hand it reads ahead, up to ahead bytes in all.
func (w *window) bytes(sec Section, off, n, ahead uint64) ([]byte, error) {
	if off >= w.src.size {
		return nil, nil
	}
	n = min(n, w.src.size-off)
	if off >= w.off && off-w.off <= uint64(len(w.buf)) && n <= uint64(len(w.buf))-(off-w.off) {
		return w.buf[off-w.off:][:n], nil
	}
	err := w.read(sec, off, min(max(n, ahead), w.src.size-off))
	if err != nil && ahead > n {
		err = w.read(sec, off, n) // what lies ahead must not hide what is wanted
	}
	if err != nil {
		return nil, err
	}
	return w.buf[:n], nil
}

// read fills the window with the n bytes at off.
func (w *window) read(sec Section, off, n uint64) error {
	if uint64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	w.off, w.buf = off, w.buf[:n]
	err := w.src.fill(sec, off, w.buf)
	if err != nil {
		w.buf = w.buf[:0]
	}
	return err
}

// An l1Table is where an L1 table lies.
type l1Table struct {
	offset  uint64 // bytes
	entries uint64
}

// A tableWalk reads an L1 table and the L2 tables that it points to.
type tableWalk struct {
	ctx context.Context
	img *Image
	l1  l1Table

	need uint64 // entries that the disk needs
	// skip, if not nil, reports whether to take the i-th L1 entry for 0.
	skip     func(i uint64, e L1Entry) bool
	l1Reader entryReader
	l2Window window
	holes    holeFinder
	empty    bool // the last L2 table was all zeros: others may lie in the same hole

	cur l2Run // what yield is given
}

// newTableWalk returns a walk for a disk of size bytes.
func newTableWalk(ctx context.Context, img *Image, l1 l1Table, size uint64) *tableWalk {
	return &tableWalk{ctx: ctx, img: img, l1: l1, need: img.geometry.l1Entries(size), l1Reader: newEntryReader(&img.src, SectionL1Table), l2Window: window{src: &img.src}, holes: holeFinder{src: &img.src}}
}

// l2Table returns the L2 table of the first of the given L1 entries, shorter
// where the file ends. The tables of the next entries are read with it if they
// follow in the file.
func (w *tableWalk) l2Table(entries []byte) ([]byte, error) {
	size := w.img.geometry.ClusterSize
	first := L1Entry(binary.BigEndian.Uint64(entries)).L2Offset()
	n := size
	for p := entries[entrySize:]; len(p) > 0 && n < tableWindow; p = p[entrySize:] {
		if L1Entry(binary.BigEndian.Uint64(p)).L2Offset() != first+n {
			break
		}
		n += size
	}
	p, err := w.l2Window.bytes(SectionL2Table, first, size, n)
	w.empty = runLength(p, 0, 0)*8 == len(p)
	return p, err
}

// inHole reports whether the L2 table at an offset is all zeros, without reading
// it. An image can claim millions of them in a hole.
func (w *tableWalk) inHole(table uint64) bool {
	return w.empty && w.holes.in(table, w.img.geometry.ClusterSize)
}

// An l2Run is one entry of an L2 table, or several neighbours that each go on
// where the one before ends: the same word, or the next host cluster.
type l2Run struct {
	guest  uint64 // guest cluster number of the first
	n      uint64 // entries
	entry  L2Entry
	bitmap uint64 // second word with extended L2 entries
	at     uint64 // file offset of the first entry; 0 where there is no L2 table
}

// pieces calls yield with the L1 entries from the from-th up to the to-th, some
// at a time, and the number of the first; zeros, if not nil, is told of those in
// a hole of the file: the number of the first, and how many there are. What
// cannot be read it yields as an error, and goes on after it. It returns false if
// yield or zeros did.
func (w *tableWalk) pieces(from, to uint64, zeros func(i, n uint64) bool, yield func(i uint64, entries []byte, err error) bool) bool {
	offset, size := w.l1.offset, w.img.src.size
	index := func(at uint64) uint64 { return (at - offset) / entrySize }
	there := index(newSpan(offset, w.l1.entries, size).to)
	if from < there {
		hole := func(at, n uint64) bool { return zeros == nil || zeros(index(at), n/entrySize) }
		if !w.l1Reader.pieces(w.ctx, offset+from*entrySize, offset+min(to, there)*entrySize, hole, func(at uint64, entries []byte, err error) bool {
			return yield(index(at), entries, err)
		}) {
			return false
		}
	}
	i := max(from, there)
	switch {
	case to <= there:
		return true
	case i < w.l1.entries:
		return yield(i, nil, errorf(SectionL1Table, offset+i*entrySize, ErrTruncated, "the file ends at %#x, before entry %d of %d", size, i, w.l1.entries))
	}
	return yield(i, nil, errorf(SectionL1Table, offset, ErrCorrupt, "it has %d entries, but the disk needs %d", w.l1.entries, w.need))
}

// walk calls yield for every run of guest clusters from up to to, in order,
// those without an L2 table too. What cannot be read it yields as an error,
// and goes on after it. It returns false if yield did.
func (w *tableWalk) walk(from, to uint64, yield func(*l2Run, error) bool) bool {
	per := w.img.geometry.L2Entries
	unallocated := func(i, n uint64) bool {
		w.cur = l2Run{guest: max(i*per, from)}
		w.cur.n = min((i+n)*per, to) - w.cur.guest
		return yield(&w.cur, nil)
	}
	return w.pieces(from/per, ceilDiv(to, per), unallocated, func(i uint64, entries []byte, err error) bool {
		if err != nil {
			return yield(nil, err)
		}
		for ; len(entries) > 0; entries = entries[entrySize:] {
			if err := w.ctx.Err(); err != nil {
				yield(nil, err)
				return false
			}
			if n := uint64(runLength(entries, 0, 0)); n > 0 {
				if !unallocated(i, n) {
					return false
				}
				i, entries = i+n, entries[(n-1)*entrySize:]
				continue
			}
			if !w.walkTable(i, entries, max(from, i*per), min(to, (i+1)*per), yield) {
				return false
			}
			i++
		}
		return true
	})
}

// entryError returns what keeps the L2 table of the i-th L1 entry from being
// read.
func (w *tableWalk) entryError(i uint64, entry L1Entry) error {
	table, at := entry.L2Offset(), w.l1.offset+i*entrySize
	switch {
	case table%w.img.geometry.ClusterSize != 0:
		return errorf(SectionL1Table, at, ErrCorrupt, "entry %d points to an L2 table at %#x, not a multiple of the cluster size %#x", i, table, w.img.geometry.ClusterSize)
	case table >= w.img.src.size:
		return errorf(SectionL1Table, at, ErrTruncated, "entry %d points to an L2 table at %#x, but the file ends at %#x", i, table, w.img.src.size)
	}
	return nil
}

// tableCluster returns the host cluster of the L2 table that an L1 entry points
// to, if it can be read.
func (img *Image) tableCluster(e L1Entry) (cluster uint64, ok bool) {
	table := e.L2Offset()
	return table >> img.geometry.ClusterBits, table != 0 && table%img.geometry.ClusterSize == 0 && table < img.src.size
}

// reservedError returns that the i-th L1 entry has reserved bits.
func (w *tableWalk) reservedError(i uint64, entry L1Entry) error {
	return errorf(SectionL1Table, w.l1.offset+i*entrySize, ErrCorrupt, "entry %d has reserved bits %#x", i, uint64(entry.Reserved()))
}

// walkTable walks the L2 table of the first of the given L1 entries, the i-th
// of the table, from one guest cluster up to another.
func (w *tableWalk) walkTable(i uint64, entries []byte, from, to uint64, yield func(*l2Run, error) bool) bool {
	entry := L1Entry(binary.BigEndian.Uint64(entries))
	if entry.Reserved() != 0 && !yield(nil, w.reservedError(i, entry)) {
		return false
	}
	if entry.L2Offset() == 0 || w.skip != nil && w.skip(i, entry) { // 0: reserved bits or COPIED without an offset
		w.cur = l2Run{guest: from, n: to - from}
		return yield(&w.cur, nil)
	}
	if err := w.entryError(i, entry); err != nil {
		return yield(nil, err)
	}
	g := &w.img.geometry
	table, first := entry.L2Offset(), i*g.L2Entries
	if w.inHole(table) {
		w.cur = l2Run{guest: from, n: to - from, at: table + (from-first)*g.L2EntrySize}
		return yield(&w.cur, nil)
	}
	p, err := w.l2Table(entries)
	if err != nil {
		return yield(nil, err)
	}
	return w.runs(table, p, first, from, to, yield)
}

// runs walks the L2 table whose bytes are p. Its first entry is that of the
// guest cluster first.
func (w *tableWalk) runs(table uint64, p []byte, first, from, to uint64, yield func(*l2Run, error) bool) bool {
	g := &w.img.geometry
	for j := from; j < to; {
		rest := p[min((j-first)*g.L2EntrySize, uint64(len(p))):]
		rest = rest[:min((to-j)*g.L2EntrySize, uint64(len(rest)))]
		if uint64(len(rest)) < g.L2EntrySize {
			return yield(nil, errorf(SectionL2Table, table, ErrTruncated, "the file ends at %#x, inside the table", w.img.src.size))
		}
		w.cur = l2Run{guest: j, at: table + (j-first)*g.L2EntrySize}
		w.img.decodeRun(rest, &w.cur)
		j += w.cur.n
		if !yield(&w.cur, nil) {
			return false
		}
	}
	return true
}

// decodeRun decodes the run that p, whole L2 entries, begins with.
func (img *Image) decodeRun(p []byte, run *l2Run) {
	word := binary.BigEndian.Uint64(p)
	run.entry = L2Entry(word)
	step := img.step(run.entry)
	switch {
	case run.entry.Compressed():
		run.n = 1
		if img.geometry.L2EntrySize == 16 {
			run.bitmap = binary.BigEndian.Uint64(p[8:])
		}
	case img.geometry.L2EntrySize == 16:
		run.bitmap = binary.BigEndian.Uint64(p[8:])
		run.n = uint64(runLength16(p, word, run.bitmap, step))
	default:
		run.n = uint64(runLength(p, word, step))
	}
}

// hasHost reports whether a standard entry has a host cluster. Host offset 0 is
// one only in an external data file, and not with the zero flag: so QEMU has it.
func (img *Image) hasHost(e L2Entry) bool {
	return e.HostOffset() != 0 || e.Copied() && img.hasDataFile() && (!e.Zero() || img.geometry.L2EntrySize == 16)
}

// step returns by how much the entry grows that goes on where e ends.
func (img *Image) step(e L2Entry) uint64 {
	if img.hasHost(e) {
		return img.geometry.ClusterSize
	}
	return 0
}

// runLength returns how many words p begins with that are word, word+step, …
func runLength(p []byte, word, step uint64) int {
	n := 0
	for ; len(p) >= 8 && binary.BigEndian.Uint64(p) == word; p = p[8:] {
		word += step
		n++
	}
	return n
}

// runLength16 is runLength for entries of two words, the second always bitmap.
func runLength16(p []byte, word, bitmap, step uint64) int {
	n := 0
	for ; len(p) >= 16 && binary.BigEndian.Uint64(p) == word && binary.BigEndian.Uint64(p[8:]) == bitmap; p = p[16:] {
		word += step
		n++
	}
	return n
}
