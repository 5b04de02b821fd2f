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
	rest    []byte // what follows the last hole
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
	// The text before the number in two parts: to copy some bytes of unknown number
	// takes longer than a number, so that the short one is copied as eight bytes.
	long  []byte
	short uint64
	size  int // of the short one
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
		var short [8]byte
		if h.long = t.text[at:h.at]; len(h.long) <= len(short) {
			h.size, h.long = copy(short[:], h.long), nil
		}
		h.short = binary.LittleEndian.Uint64(short[:])
		at = h.at
		t.widest += len(room{}) + h.width
	}
	t.rest = t.text[at:]
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
	at, dst, holes, writes := len(dst), dst[:cap(dst)], t.holes, t.writes
	for i := from; i < to; i++ {
		for k := range holes {
			h := &holes[k]
			at += copy(dst[at:], h.long)
			p := (*room)(dst[at:])
			binary.LittleEndian.PutUint64(p[:], h.short)
			at += writes.put(p, h, h.numbers[i])
		}
		at += copy(dst[at:], t.rest)
	}
	return dst[:at]
}

// put writes a number behind the text in front of it, and returns how many bytes both
// take.
func (w numbers) put(p *room, h *hole, n uint64) int {
	switch {
	case h.width > 0:
		return w.putCell(p, h, n)
	case h.kind == KindUint:
		return w.putUint(p, h.size, n)
	case h.kind == KindHex:
		return w.putHex(p, h.size, n)
	}
	return w.putAddr(p, h.size, n, h.clusterBits)
}

// putCell is put for a cell of a table, whose number stands on the right. A wider
// number pushes the frame.
func (w numbers) putCell(p *room, h *hole, n uint64) int {
	at, end := h.size, 0
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
