package render

import (
	"encoding/binary"
	"slices"
)

// A template writes the rows of a batch: what is around their numbers is made once,
// by the renderer, and has a hole for each number. Most of the time of a long
// listing then goes into digits and bytes that are copied.
type template struct {
	numbers [][]uint64 // of each column of the section that has several
	text    []byte
	holes   []hole
	rest    piece // what follows the last hole
	writes  numbers
	widest  int // the most bytes of a row
}

// A hole is where the number of a column stands.
type hole struct {
	numbers     []uint64
	kind        Kind // as a table shows it
	clusterBits uint // for a KindAddr
	width       int  // of the number, with spaces in front
	at          int  // in the text
	before      piece
}

// fewRows is the size of a batch for which a template takes longer than the rows do.
const fewRows = 12

// begin prepares the template for a batch. It returns false if its rows must be
// written one by one.
func (t *template) begin(b *Batch) bool {
	if b.Len() < fewRows {
		return false
	}
	t.numbers = slices.Grow(t.numbers[:0], len(b.Row))[:len(b.Row)]
	clear(t.numbers)
	t.text, t.holes = t.text[:0], t.holes[:0]
	b.set(0)
	for i := range b.Row {
		if b.Row[i].ref != nil {
			return false
		}
	}
	for j, c := range b.Columns {
		if numbers := b.Numbers[j]; !b.Row[c].IsNull() && !areEqual(numbers) {
			t.numbers[c] = numbers
		}
	}
	return true
}

// areEqual reports whether all numbers are the same.
func areEqual(numbers []uint64) bool {
	for _, n := range numbers {
		if n != numbers[0] {
			return false
		}
	}
	return true
}

// differs reports whether rows differ in a column.
func (t *template) differs(column int) bool { return t.numbers[column] != nil }

// add adds a hole behind the text.
func (t *template) add(column int, kind Kind, clusterBits uint, width int) {
	t.holes = append(t.holes, hole{numbers: t.numbers[column], kind: kind, clusterBits: clusterBits, width: width, at: len(t.text)})
}

// seal ends the text.
func (t *template) seal() {
	at := 0
	t.widest = len(t.text) + len(room{})
	for i := range t.holes {
		h := &t.holes[i]
		h.before, at = newPiece(t.text[at:h.at]), h.at
		t.widest += len(room{}) + h.width
	}
	t.rest = newPiece(t.text[at:])
	t.writes.digits = fourDigits()
}

// write writes the rows of a batch from the i-th on.
func (t *template) write(w *writer, b *Batch, i int) error {
	t.seal()
	for i < b.Len() {
		dst := w.take()
		n := min((cap(dst)-len(dst))/t.widest, b.Len()-i)
		if n == 0 && len(dst) == 0 { // an enormous row
			dst, n = slices.Grow(dst, t.widest), 1
		}
		if n == 0 {
			if err := w.flush(); err != nil {
				return err
			}
			continue
		}
		if err := w.put(t.append(dst, i, i+n)); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// append appends rows, for which dst has room.
func (t *template) append(dst []byte, from, to int) []byte {
	at, dst := len(dst), dst[:cap(dst)]
	for i := from; i < to; i++ {
		for k := range t.holes {
			h := &t.holes[k]
			at += h.before.put(dst[at:])
			at += t.put((*room)(dst[at:]), h, h.numbers[i])
		}
		at += t.rest.put(dst[at:])
	}
	return dst[:at]
}

// put writes a number and returns how many bytes it takes.
func (t *template) put(p *room, h *hole, n uint64) int {
	switch {
	case h.width > 0:
		return t.putCell(p, h, n)
	case h.kind == KindUint:
		return t.writes.putUint(p, 0, n)
	case h.kind == KindHex:
		return t.writes.putHex(p, 0, n)
	}
	return t.writes.putAddr(p, 0, n, h.clusterBits)
}

// putCell is put for a cell of a table, whose number stands on the right. A wider
// number pushes the frame.
func (t *template) putCell(p *room, h *hole, n uint64) int {
	size := 0
	switch h.kind {
	case KindUint:
		size = t.writes.putUint(p, 0, n)
	case KindOffset, KindHex:
		size = t.writes.putHex(p, 0, n)
	case KindAddr:
		size = t.writes.putAddr(p, 0, n, h.clusterBits)
	case KindSize:
		size = len(appendSize(p[:0], n))
	}
	pad := h.width - size
	if pad <= 0 {
		return size
	}
	copy(p[pad:], p[:size])
	copy(p[:pad], spaces)
	return h.width
}

// A piece is text between numbers.
type piece struct {
	text []byte
	word uint64 // its first bytes: to copy some of unknown number takes longer than a number
}

func newPiece(text []byte) piece {
	var word [8]byte
	copy(word[:], text)
	return piece{text, binary.LittleEndian.Uint64(word[:])}
}

// put writes the piece and returns how many bytes it takes.
func (c *piece) put(dst []byte) int {
	if len(c.text) <= 8 {
		binary.LittleEndian.PutUint64(dst, c.word)
	} else {
		copy(dst, c.text)
	}
	return len(c.text)
}
