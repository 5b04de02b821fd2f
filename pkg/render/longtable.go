package render

import "slices"

// A longTable is a table whose rows are written as they come. It keeps the last
// line, and draws again only the cells that differ: most columns of a listing
// repeat, row after row.
type longTable struct {
	section *Section
	columns []tableColumn
	tones   bool
	frame   *frame
	cells   []drawnCell // one a column
	line    []byte      // the last row
	text    []byte      // scratch: of a cell
	padded  []byte      // scratch: the cell
}

// A drawnCell is a cell of the last line.
type drawnCell struct {
	value    Value
	at, size int // where it is in the line, with what stands before it
	digits   int // of a number, which stands at the end
	tone     Tone
}

func (t *longTable) row(w *writer, row []Value) error {
	t.update(row)
	return w.put(append(w.take(), t.line...))
}

// record makes the line of a row the text of a template. It returns false if the
// rows of the batch differ in other things than numbers, or in their tones.
func (t *longTable) record(p *template, row []Value) bool {
	t.update(row)
	at := 0
	for i, c := range t.columns {
		if !p.differs(c.index) {
			continue
		}
		if !isTableNumber(row[c.index].kind) || t.tones && c.column.Tones != nil {
			return false
		}
		begin := t.cells[i].at
		if i > 0 {
			begin += len(t.frame.between)
		}
		p.text = append(p.text, t.line[at:begin]...)
		p.add(c.index, row[c.index].kind, t.section.ClusterBits, t.frame.widths[i])
		at = t.cells[i].at + t.cells[i].size
	}
	p.text = append(p.text, t.line[at:]...)
	return true
}

// isTableNumber reports whether a hole can show values of the kind.
func isTableNumber(k Kind) bool {
	switch k {
	case KindUint, KindSize, KindOffset, KindAddr, KindHex:
		return true
	}
	return false
}

// update makes the line that of a row.
func (t *longTable) update(row []Value) {
	if t.line == nil {
		t.begin()
	}
	for i := range t.columns {
		v, cell := &row[t.columns[i].index], &t.cells[i]
		if cell.size == 0 || !v.same(&cell.value) {
			cell.value = *v
			t.draw(i, v)
		}
	}
}

// begin makes a line without cells.
func (t *longTable) begin() {
	t.line = slices.Concat(t.frame.left, t.frame.right)
	for i := range t.cells {
		t.cells[i].at = len(t.frame.left)
	}
}

// draw draws the i-th cell into the line.
func (t *longTable) draw(i int, v *Value) {
	c, cell := &t.columns[i], &t.cells[i]
	tone := ToneNone
	t.text = t.text[:0]
	if t.tones {
		tone = c.column.tone(v)
		t.text = append(t.text, tone.begin()...)
	}
	begin := len(t.text)
	t.text = appendCell(t.text, c.column, v, t.section.ClusterBits)
	text := t.text[begin:]
	width := len(text)
	switch {
	case !c.column.Kind.isRightAligned(): // numbers are ASCII
		width = cellWidth(text)
	case width == cell.digits && tone == cell.tone:
		copy(t.line[cell.at+cell.size-len(tone.end())-width:], text)
		return
	}
	cell.digits, cell.tone = width, tone
	t.text = append(t.text, tone.end()...)
	t.padded = t.frame.appendCell(t.padded[:0], i, t.text, width)
	if moved := len(t.padded) - cell.size; moved != 0 {
		t.line = slices.Replace(t.line, cell.at, cell.at+cell.size, t.padded...)
		cell.size = len(t.padded)
		for k := range t.cells[i+1:] {
			t.cells[i+1+k].at += moved
		}
		return
	}
	copy(t.line[cell.at:], t.padded)
}
