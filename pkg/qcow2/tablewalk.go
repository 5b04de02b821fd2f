package qcow2

import (
	"context"
	"iter"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A tableWalk reads an L1 table and the L2 tables that it points to.
type tableWalk struct {
	ctx context.Context
	img *Image
	l1  entryTable

	pointer  uint64 // file offset of what points to the L1 table, in bytes
	need     uint64 // entries that the disk needs
	repeats  repeatLimit
	l1Reader entryReader
	l2Tables clusterReader
	holes    holeFinder
	last     uint64  // the offset of the last L2 table
	empty    bool    // it was all zeros: others may lie in the same hole
	bad      badRead // the last table that cannot be read as a whole
	badPiece badRead // the last piece of one that cannot be read

	piece piece // the argument of yield, for L1 entries
	cur   l2Run // the same, for runs of L2 entries
}

// A badRead is what cannot be read at a file offset. It is not tried again: any
// number of short ranges can be asked for, and a bad sector takes long.
type badRead struct {
	offset uint64
	err    error // nil: nothing yet
}

// newTableWalk returns a walk for a disk of size bytes.
func newTableWalk(ctx context.Context, img *Image, l1 entryTable, size uint64) *tableWalk {
	return &tableWalk{
		ctx: ctx, img: img, l1: l1, need: img.geometry.l1Entries(size), repeats: newRepeatLimit(img),
		l1Reader: newEntryReader(&img.src, SectionL1Table),
		l2Tables: clusterReader{window: window{src: &img.src}, sec: SectionL2Table, size: img.geometry.ClusterSize}, holes: holeFinder{src: &img.src},
	}
}

// l2Table returns the L2 table of the first of the given L1 entries, the i-th of
// the table, as far as the file has it. Those of the next entries can be read with
// it, if they are wanted; a nil wanted stands for all.
func (w *tableWalk) l2Table(i uint64, entries []byte, wanted func(at, cluster uint64) bool) ([]byte, error) {
	first := L1Entry(be64(entries)).L2Offset()
	if w.bad.err != nil && w.bad.offset == first {
		return nil, w.bad.err
	}
	p, err := w.l2Tables.loaded(first), error(nil)
	if p == nil {
		p, err = w.l2Tables.cluster(first, w.nextTables(i, entries, wanted))
		w.bad = badRead{first, err}
	}
	if first != w.last { // of one table any number of short ranges can be asked for
		w.empty, w.last = runLength(p, 0, 0)*8 == len(p), first
	}
	return p, err
}

// nextTables yields the L2 tables of the given L1 entries after the first, the i-th
// of the table.
func (w *tableWalk) nextTables(i uint64, entries []byte, wanted func(at, cluster uint64) bool) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		at := w.l1.entryOffset(i)
		for p := entries[entrySize:]; len(p) > 0; p = p[entrySize:] {
			at += entrySize
			cluster, ok := w.img.tableCluster(L1Entry(be64(p)))
			if !ok || wanted != nil && !wanted(at, cluster) {
				continue
			}
			if table := cluster << w.img.geometry.ClusterBits; !w.inHole(table) && !yield(table) {
				return
			}
		}
	}
}

// inHole reports whether the L2 table at an offset is all zeros, without reading
// it. An image can claim millions of tables in a hole.
func (w *tableWalk) inHole(table uint64) bool {
	return w.empty && w.holes.in(table, w.img.geometry.ClusterSize)
}

// pieces calls yield with the L1 entries [from, to), piece by piece. If one cannot
// be read it has an error, and the next follows. It returns false if yield did or
// the context is done.
func (w *tableWalk) pieces(from, to uint64, yield func(*piece) bool) bool {
	p := &w.piece
	for i := from; i < to; i += p.n {
		if err := w.ctx.Err(); err != nil {
			yield(&piece{offset: w.l1.entryOffset(i), err: err})
			return false
		}
		*p = w.pieceOf(i, to)
		if !yield(p) {
			return false
		}
	}
	return true
}

// pieceOf returns the first of the L1 entries [from, to): as many as one read brings,
// or as have one reason why they cannot be read.
func (w *tableWalk) pieceOf(from, to uint64) piece {
	size := w.img.src.size
	there := w.l1.indexOf(w.l1.span(size).To)
	if stop := w.repeats.stop; from >= stop {
		return piece{offset: w.l1.entryOffset(from), n: to - from, err: w.repeats.exceeded(SectionL1Table, w.l1.entryOffset(stop))}
	}
	if from < there {
		return w.l1Reader.piece(w.l1.entryOffset(from), w.l1.entryOffset(min(to, there)))
	}
	at := w.l1.entryOffset(from)
	err := errorf(SectionL1Table, at, ErrTruncated, "the file ends at %#x, before entry %d of %d", size, from, w.l1.entries)
	switch {
	case w.l1.offset >= size:
		err = errorf(SectionL1Table, w.pointer, ErrTruncated, "the table lies at %#x, but the file ends at %#x", w.l1.offset, size)
	case from >= w.l1.entries:
		err = errorf(SectionL1Table, w.l1.offset, ErrCorrupt, "it has %d entries, but the disk needs %d", w.l1.entries, w.need)
	}
	return piece{offset: at, n: to - from, err: err}
}

// walk calls yield for every run of the guest clusters [from, to), in order,
// including those without an L2 table. It yields what cannot be read as an error,
// and goes on after it. It returns false if yield did.
func (w *tableWalk) walk(from, to uint64, yield func(*l2Run, error) bool) bool {
	per := w.img.geometry.L2Entries
	return w.pieces(from/per, ceilDiv(to, per), func(p *piece) bool {
		if p.err != nil {
			return yield(nil, p.err)
		}
		return w.walkPiece(p, interval.Span{From: from, To: to}, yield)
	})
}

// walkPiece is walk for one piece of the L1 table. Of the guest clusters that it
// maps, it yields those that are wanted. It cuts the piece where the table is not
// followed any more.
func (w *tableWalk) walkPiece(p *piece, wanted interval.Span, yield func(*l2Run, error) bool) bool {
	per := w.img.geometry.L2Entries
	entries := p.bytes
	for i, left := w.l1.indexOf(p.offset), p.n; left > 0; {
		n := left
		if entries != nil {
			n = uint64(runLength(entries, 0, 0))
		}
		if n > 0 {
			w.cur = l2Run{guest: max(i*per, wanted.From)}
			w.cur.n = min((i+n)*per, wanted.To) - w.cur.guest
			if !yield(&w.cur, nil) {
				return false
			}
		} else {
			n = 1
			if !w.walkTable(i, entries, max(wanted.From, i*per), min(wanted.To, (i+1)*per), yield) {
				return false
			}
			if i == w.repeats.stop {
				p.n -= left
				return true
			}
		}
		if err := w.ctx.Err(); err != nil {
			yield(nil, err)
			return false
		}
		i, left = i+n, left-n
		if entries != nil {
			entries = entries[n*entrySize:]
		}
	}
	return true
}

// entryError returns what keeps the L2 table of the i-th L1 entry from being
// read.
func (w *tableWalk) entryError(i uint64, entry L1Entry) error {
	table, at := entry.L2Offset(), w.l1.entryOffset(i)
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

// reservedError returns the error of the i-th L1 entry, which has reserved bits.
func (w *tableWalk) reservedError(i uint64, entry L1Entry) error {
	return errorf(SectionL1Table, w.l1.entryOffset(i), ErrReadable, "entry %d has reserved bits %#x", i, uint64(entry.Reserved()))
}

// walkTable walks the L2 table of the first of the given L1 entries, which has
// index i, from one guest cluster up to another.
func (w *tableWalk) walkTable(i uint64, entries []byte, from, to uint64, yield func(*l2Run, error) bool) bool {
	entry := L1Entry(be64(entries))
	if entry.Reserved() != 0 && !yield(nil, w.reservedError(i, entry)) {
		return false
	}
	if entry.L2Offset() == 0 { // 0: reserved bits or COPIED without an offset
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
	if !w.repeats.follow(i, table>>g.ClusterBits) {
		return true
	}
	p, err := w.l2Table(i, entries, nil)
	if err == nil {
		return w.walkRuns(table, p, first, from, to, yield)
	}
	return w.l2Pieces(table, from-first, to-first, func(i, n uint64, p []byte, err error) bool {
		if err != nil {
			return yield(nil, err)
		}
		return w.walkRuns(table+i*g.L2EntrySize, p, first+i, max(from, first+i), min(to, first+i+n), yield)
	})
}

// l2Pieces calls yield with entries of an L2 table that cannot be read as a whole,
// from one index up to another or some before: n from the i-th on, whose bytes are
// p, fewer where the file ends. What cannot be read is an error, and the next come
// after it. It returns false if yield did.
func (w *tableWalk) l2Pieces(table, from, to uint64, yield func(i, n uint64, p []byte, err error) bool) bool {
	g := &w.img.geometry
	size := min(pieceBytes, g.ClusterSize)
	n := size / g.L2EntrySize
	for i := from / n * n; i < to; i += n {
		p, err := w.l2Piece(table+i*g.L2EntrySize, size)
		if !yield(i, n, p, err) {
			return false
		}
		if err == nil && uint64(len(p)) < size { // the file ends
			break
		}
	}
	return true
}

// l2Piece returns a piece of an L2 table at a file offset.
func (w *tableWalk) l2Piece(at, size uint64) (p []byte, err error) {
	if w.badPiece.err != nil && w.badPiece.offset == at {
		return nil, w.badPiece.err
	}
	if p, err = w.l2Tables.bytes(SectionL2Table, at, size, size); err != nil {
		w.badPiece = badRead{at, err}
	}
	return p, err
}

// walkRuns walks the L2 table whose bytes are p. Its first entry maps the guest
// cluster first.
func (w *tableWalk) walkRuns(table uint64, p []byte, first, from, to uint64, yield func(*l2Run, error) bool) bool {
	g := &w.img.geometry
	for j := from; j < to; {
		rest := p[min((j-first)*g.L2EntrySize, uint64(len(p))):]
		rest = rest[:min((to-j)*g.L2EntrySize, uint64(len(rest)))]
		if uint64(len(rest)) < g.L2EntrySize {
			return yield(nil, w.img.tableTruncated(table))
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

// tableTruncated returns the error of a file that ends inside the L2 table at an
// offset.
func (img *Image) tableTruncated(table uint64) error {
	return errorf(SectionL2Table, table, ErrTruncated, "the file ends at %#x, inside the table", img.src.size)
}
