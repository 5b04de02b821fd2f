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

// fewRows is the least size of a batch for which a template takes less time than the
// rows by themselves.
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

// seal ends the text. It returns false if a row can be larger than a room.
func (t *template) seal() bool {
	at := 0
	t.widest = len(t.text)
	for i := range t.holes {
		h := &t.holes[i]
		h.before, at = newPiece(t.text[at:h.at]), h.at
		t.widest += max(widestNumber, h.width)
	}
	t.rest = newPiece(t.text[at:])
	t.writes.digits = fourDigits()
	return t.widest <= roomBytes
}

// write writes the rows of a batch, with row where the template cannot.
func (t *template) write(w *writer, b *Batch, row func([]Value) error) error {
	if !t.seal() {
		return b.each(row)
	}
	for i := 0; i < b.Len(); {
		dst := w.take() // the writer leaves more than a room
		n := min((cap(dst)-len(dst)-len(room{}))/t.widest+1, b.Len()-i)
		if err := w.put(t.append(dst, i, i+n)); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// append appends rows, for which dst has room.
func (t *template) append(dst []byte, from, to int) []byte {
	at, dst, holes, writes := len(dst), dst[:cap(dst)], t.holes, t.writes
	for i := from; i < to; i++ {
		row, end := (*room)(dst[at:]), 0
		for k := range holes {
			h := &holes[k]
			end = h.before.put(row, end)
			end = writes.put(row, end, h, h.numbers[i])
		}
		at += t.rest.put(row, end)
	}
	return dst[:at]
}

// A piece is text between numbers. To copy some bytes of unknown number takes longer
// than a number, so that eight are copied in place of fewer.
type piece struct {
	text []byte
	word uint64 // if there are no more than eight bytes
}

func newPiece(text []byte) piece {
	var word [8]byte
	copy(word[:], text)
	return piece{text, binary.LittleEndian.Uint64(word[:])}
}

// put writes the piece and returns the offset behind it.
func (c *piece) put(p *room, at int) int {
	if len(c.text) <= 8 {
		binary.LittleEndian.PutUint64(p[at&(roomBytes-1):], c.word)
	} else {
		copy(p[at&(roomBytes-1):], c.text)
	}
	return at + len(c.text)
}

// put writes a number and returns the offset behind it.
func (w numbers) put(p *room, at int, h *hole, n uint64) int {
	switch {
	case h.width > 0:
		return w.putCell(p, at, h, n)
	case h.kind == KindUint:
		return w.putUint(p, at, n)
	case h.kind == KindHex:
		return w.putHex(p, at, n)
	}
	return w.putAddr(p, at, n, h.clusterBits)
}

// putCell is put for a cell of a table, whose number stands on the right. A wider
// number pushes the frame.
func (w numbers) putCell(p *room, at int, h *hole, n uint64) int {
	end := at
	switch h.kind {
	case KindUint:
		end = w.putUint(p, at, n)
	case KindHex, KindOffset:
		end = w.putHex(p, at, n)
	case KindAddr:
		end = w.putAddr(p, at, n, h.clusterBits)
	case KindSize:
		end = at + len(appendSize(p[at:at], n))
	}
	pad := h.width - (end - at)
	if pad <= 0 {
		return end
	}
	copy(p[at+pad:], p[at:end])
	copy(p[at:at+pad], spaces)
	return end + pad
}
