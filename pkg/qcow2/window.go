package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// windowBytes is how much is read at once, in bytes: L2 tables that follow each
// other, or a part of an L1 table.
const windowBytes = 1 << 20

// A window holds a part of the file until the next read.
type window struct {
	src *source
	off uint64 // file offset of buf
	buf []byte
}

// bytes returns the n bytes at off, fewer at the end of the file. If the window
// does not hold them, it reads up to ahead bytes.
func (w *window) bytes(sec Section, off, n, ahead uint64) ([]byte, error) {
	if off >= w.src.size {
		return nil, nil
	}
	n = min(n, w.src.size-off)
	if p := w.held(off, n); p != nil {
		return p, nil
	}
	err := w.read(sec, off, min(max(n, ahead), w.src.size-off))
	if err != nil && ahead > n {
		err = w.read(sec, off, n) // a bad sector further on must not hide the bytes asked for
	}
	if err != nil {
		return nil, err
	}
	return w.buf[:n], nil
}

// held returns the n bytes at off, nil if the window does not hold them.
func (w *window) held(off, n uint64) []byte {
	if off >= w.off && off-w.off <= uint64(len(w.buf)) && n <= uint64(len(w.buf))-(off-w.off) {
		return w.buf[off-w.off:][:n]
	}
	return nil
}

// read fills the window with the n bytes at off.
func (w *window) read(sec Section, off, n uint64) error {
	if uint64(cap(w.buf)) < n {
		w.buf = make([]byte, n)
	}
	w.off, w.buf = off, w.buf[:n]
	err := w.src.readFull(sec, off, w.buf)
	if err != nil {
		w.buf = w.buf[:0]
	}
	return err
}

// An entryTable is where a table with entries of 8 bytes lies: an L1 table, the
// refcount table, a bitmap table.
type entryTable struct {
	offset  uint64 // bytes
	entries uint64
}

// span returns the bytes of the entries that lie wholly inside a file of fileSize
// bytes.
func (t entryTable) span(fileSize uint64) interval.Span {
	there := (fileSize - min(t.offset, fileSize)) / entrySize
	return interval.Span{From: t.offset, To: t.offset + min(t.entries, there)*entrySize}
}

// entryOffset returns the file offset of the i-th entry.
func (t entryTable) entryOffset(i uint64) uint64 { return t.offset + i*entrySize }

// indexOf returns the index of the entry at a file offset.
func (t entryTable) indexOf(offset uint64) uint64 { return (offset - t.offset) / entrySize }

// pieceBytes is how much of a table a bad sector can hide, in bytes.
const pieceBytes = 4096

// An entryReader reads parts of tables.
type entryReader struct {
	sec    Section
	unit   uint64 // bytes of an entry: entrySize, unless it is set to another
	window window
	holes  holeFinder
	most   uint64 // how much is read at once, in bytes: pieceBytes or more
	cur    piece  // the argument of yield
}

func newEntryReader(src *source, sec Section) entryReader {
	return entryReader{sec: sec, unit: entrySize, window: window{src: src}, holes: holeFinder{src: src}, most: windowBytes}
}

// read returns entries from one file offset on and before another: as many as one
// read brings, fewer at the end of the file.
func (r *entryReader) read(from, to uint64) ([]byte, error) {
	left := to - from
	p, err := r.window.bytes(r.sec, from, min(left, pieceBytes), min(left, r.most))
	return p[:uint64(len(p))/r.unit*r.unit], err
}

// A piece is a number of neighbouring entries of a table. In a hole of the file
// they are not read: bytes is nil then, and the entries are 0.
type piece struct {
	offset uint64 // of the first entry, in the file
	n      uint64 // entries
	bytes  []byte
	err    error // why the entries cannot be read
}

// skip removes the first n entries of a piece that was read.
func (p *piece) skip(n uint64) {
	p.offset, p.n, p.bytes = p.offset+n*entrySize, p.n-n, p.bytes[n*entrySize:]
}

// pieces calls yield with the entries between two file offsets, piece by piece. If
// one cannot be read it has an error, and the next follows. It returns false if
// yield did or the context is done.
func (r *entryReader) pieces(ctx context.Context, from, to uint64, yield func(*piece) bool) bool {
	there := r.window.src.size - min(from, r.window.src.size)
	to = from + min(to-from, there)/r.unit*r.unit
	p := &r.cur
	for at := from; at < to; at += p.n * r.unit {
		if err := ctx.Err(); err != nil {
			yield(&piece{offset: at, err: err})
			return false
		}
		*p = r.piece(at, to)
		if !yield(p) {
			return false
		}
	}
	return true
}

// piece returns the piece that begins at one file offset and ends before another.
func (r *entryReader) piece(at, to uint64) piece {
	if n := r.holes.length(at, to) / r.unit; n > 0 {
		return piece{offset: at, n: n}
	}
	p, err := r.read(at, to)
	if err != nil {
		return piece{offset: at, n: min(pieceBytes, to-at) / r.unit, err: err}
	}
	return piece{offset: at, n: uint64(len(p)) / r.unit, bytes: p}
}
