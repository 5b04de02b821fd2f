package qcow2

import "context"

const (
	entrySize = 8 // bytes of an entry of an L1 table, the refcount table, a bitmap table

	// entryPiece is how many bytes of a table a bad sector can hide.
	entryPiece = 512 * entrySize
)

// An entryReader reads tables whose entries have 8 bytes: L1 tables, the refcount
// table, bitmap tables.
type entryReader struct {
	sec    Section
	window window
	holes  holeFinder
}

func newEntryReader(src *source, sec Section) entryReader {
	return entryReader{sec: sec, window: window{src: src}, holes: holeFinder{src: src}}
}

// at returns the entries from one file offset on, at most up to another: all of
// a piece, fewer where the file ends.
func (r *entryReader) at(from, to uint64) ([]byte, error) {
	left := to - from
	p, err := r.window.bytes(r.sec, from, min(left, entryPiece), min(left, tableWindow))
	return p[:len(p)&^(entrySize-1)], err
}

// pieces calls yield with the entries of the file between two offsets, some at a
// time, and where the first lies. What lies in a hole of the file is not read:
// zeros, if not nil, is told where such entries begin, and how many bytes they
// have. What cannot be read it yields as an error, and goes on after it. It
// returns false if yield or zeros did.
func (r *entryReader) pieces(ctx context.Context, from, to uint64, zeros func(at, n uint64) bool, yield func(at uint64, entries []byte, err error) bool) bool {
	to = newSpan(from, (to-from)/entrySize, r.window.src.size).to
	for at := from; at < to; {
		if err := ctx.Err(); err != nil {
			yield(at, nil, err)
			return false
		}
		if n := r.holes.length(at, to) &^ (entrySize - 1); n > 0 {
			if zeros != nil && !zeros(at, n) {
				return false
			}
			at += n
			continue
		}
		p, err := r.at(at, to)
		if !yield(at, p, err) {
			return false
		}
		if err != nil {
			at += entryPiece
		}
		at += uint64(len(p))
	}
	return true
}
