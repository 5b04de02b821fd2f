package render

import (
	"fmt"
	"io"
	"iter"
	"slices"
)

// bufferedRows and bufferedText are the largest numbers of rows of a section, and
// of bytes of text in them, that are held back to measure them. The columns of a
// longer section are as wide as these rows need, and as the widest value that the
// column declares.
const (
	bufferedRows = 256
	bufferedText = 1 << 20
)

// tableRenderer draws tables for people.
type tableRenderer struct {
	w      *writer
	opts   Options
	drawer drawer

	drawn      bool // a table has been drawn above, under the last heading
	headed     bool // there is a heading above
	section    *Section
	incomplete bool       // rows of the section are missing
	held       []Value    // the first rows, one after the other
	text       int        // bytes of text in them
	below      []*payload // sections and documents to draw under the table
	long       *longTable
	template   template
}

func (r *tableRenderer) Reset(w io.Writer, opts Options) {
	r.w.reset(w)
	*r = tableRenderer{w: r.w, opts: opts, drawer: r.drawer, held: r.held[:0]}
}

func (r *tableRenderer) Begin(d Document) {
	r.section = nil
	if d.Heading {
		r.drawn = r.drawn || r.headed
		r.title(Escape(d.Filename))
		r.drawn, r.headed = false, true
	}
}

// title writes a line above a table, and an empty one above that.
func (r *tableRenderer) title(s string) {
	if r.drawn {
		r.w.add('\n')
	}
	r.drawn = true
	if s != "" {
		r.w.addString(r.paint(toneTitle, s))
		r.w.add('\n')
	}
}

// paint returns text in a tone, if the table shows tones.
func (r *tableRenderer) paint(t Tone, s string) string {
	if !r.opts.Color {
		return s
	}
	return t.paint(s)
}

// cell returns a value as a table shows it, in its tone.
func (r *tableRenderer) cell(c *Column, v *Value, clusterBits uint) string {
	return r.paint(c.tone(v), string(appendCell(nil, c, v, clusterBits)))
}

// words returns a text as a table shows it, on lines of width characters, each in
// its tone. Only text of this program is broken, and only for a terminal.
func (r *tableRenderer) words(c *Column, v *Value, clusterBits uint, width int) []string {
	if r.opts.Width == 0 || c.Kind != KindText || v.kind != KindText {
		return []string{r.cell(c, v, clusterBits)}
	}
	lines := breakWords(v.str, width)
	for i := range lines {
		lines[i] = r.paint(c.tone(v), lines[i])
	}
	return lines
}

func (r *tableRenderer) Section(s *Section) {
	r.finish()
	r.section, r.incomplete = s, false
}

func (r *tableRenderer) Row(row []Value) error {
	r.section.check(row)
	if !r.section.Show.has(InTable) {
		return nil
	}
	r.keepBelow(row)
	if r.long != nil {
		return r.long.row(r.w, row)
	}
	if err := r.hold(row); err != nil {
		return err
	}
	if r.section.Layout == LayoutSingle && slices.ContainsFunc(row, isNested) {
		r.finish() // now, so that the caller gets its write errors
		return r.w.err
	}
	return nil
}

func (r *tableRenderer) Batch(b *Batch) error {
	r.section.check(b.Row)
	if r.long == nil || !r.template.begin(b) || !r.long.record(&r.template, b.Row) {
		return b.each(r.Row)
	}
	return r.template.write(r.w, b, r.Row)
}

// isNested reports whether a value is a document.
func isNested(v Value) bool { return v.kind == KindNested }

// keepBelow remembers what is drawn below the table for a row.
func (r *tableRenderer) keepBelow(row []Value) {
	for i := range row {
		if row[i].kind.isBelow() && r.section.Columns[i].Show.has(InTable) {
			r.below = append(r.below, row[i].ref)
		}
	}
}

// hold holds a row back, and begins a long table when there are too many.
func (r *tableRenderer) hold(row []Value) error {
	if !slices.ContainsFunc(r.section.Columns, inTable) {
		return nil
	}
	r.held = append(r.held, row...)
	for i := range row {
		r.text += len(row[i].str)
	}
	if len(r.held) > bufferedRows*len(row) || r.text > bufferedText && r.section.Layout != LayoutSingle {
		return r.startLong()
	}
	return nil
}

func (r *tableRenderer) Incomplete() { r.incomplete = true }

func (r *tableRenderer) Lines(func([]byte) []byte) error { return nil }

func (r *tableRenderer) Flush() error { return r.w.flush() }

func (r *tableRenderer) End() error {
	r.finish()
	return r.w.flush()
}

// finish draws what is left of the current section, and what belongs below.
func (r *tableRenderer) finish() {
	s := r.section
	r.section = nil
	if s == nil || !s.Show.has(InTable) {
		return
	}
	switch {
	case !slices.ContainsFunc(s.Columns, inTable):
	case r.long != nil:
		r.w.add(r.long.frame.bottom...)
		r.long = nil
	case s.Layout == LayoutSingle:
		r.drawSideways(s)
	case len(r.held) == 0 && (s.Empty == "" || r.incomplete):
	case len(r.held) == 0:
		r.title(s.Title)
		r.w.addString(s.Empty + "\n")
	default:
		r.drawShort(s)
	}
	r.held, r.text = r.held[:0], 0
	below := r.below
	r.below = nil
	for _, p := range below {
		r.drawBelow(p)
	}
}

// drawBelow draws a document, or a section, as if it came next.
func (r *tableRenderer) drawBelow(p *payload) {
	if p.show != nil {
		p.show(r)
	} else {
		r.Section(p.section)
		for row := range p.rows {
			if r.Row(row) != nil {
				break // the writer keeps the error
			}
		}
	}
	r.finish()
}

// heldRows yields the rows that are held.
func (r *tableRenderer) heldRows(s *Section) iter.Seq[[]Value] {
	return slices.Chunk(r.held, max(len(s.Columns), 1))
}

// drawSideways draws a section of one row: a line for each column.
func (r *tableRenderer) drawSideways(s *Section) {
	var cells [][]string
	width := max(r.opts.Width-frameWidth([]int{titleWidth(s), 0}), 1)
	for row := range r.heldRows(s) {
		for i := range s.Columns {
			c, v := &s.Columns[i], &row[i]
			if !inTable(*c) {
				continue
			}
			lines := r.words(c, v, s.ClusterBits, width)
			if v.kind == KindSize && v.num >= 1024 {
				lines[0] += fmt.Sprintf(" (%d bytes)", v.num)
			}
			cells = append(cells, []string{c.Title, lines[0]})
			for _, line := range lines[1:] {
				cells = append(cells, []string{"", line})
			}
		}
	}
	if len(cells) > 0 {
		r.title(s.Title)
		r.w.add(r.drawer.draw([]Kind{KindText, KindText}, nil, cells)...)
	}
}

// drawShort draws a section whose rows are all held.
func (r *tableRenderer) drawShort(s *Section) {
	columns := r.fit(s, false)
	var cells [][]string
	for row := range r.heldRows(s) {
		cells = append(cells, r.lines(s, columns, row)...)
	}
	r.title(s.Title)
	r.w.add(r.drawer.draw(kinds(columns), r.titles(columns), cells)...)
}

// lines returns the cells of a row, on several lines if the words in its last column
// take several.
func (r *tableRenderer) lines(s *Section, columns []tableColumn, row []Value) [][]string {
	end := len(columns) - 1
	last := &columns[end]
	words := r.words(last.column, &row[last.index], s.ClusterBits, last.width)
	lines := make([][]string, len(words))
	for i := range lines {
		lines[i] = make([]string, len(columns))
		lines[i][end] = words[i]
	}
	for i, c := range columns[:end] {
		lines[0][i] = r.cell(c.column, &row[c.index], s.ClusterBits)
	}
	return lines
}

// startLong begins a table of many rows, and draws the held ones.
func (r *tableRenderer) startLong() error {
	s := r.section
	columns := r.fit(s, true)
	r.long = &longTable{
		section: s, columns: columns, tones: r.opts.Color, cells: make([]drawnCell, len(columns)),
		frame: r.drawer.frame(kinds(columns), r.titles(columns), widths(columns)),
	}
	r.title(s.Title)
	r.w.add(r.long.frame.top...)
	for row := range r.heldRows(s) {
		if err := r.long.row(r.w, row); err != nil {
			return err
		}
	}
	r.held, r.text = r.held[:0], 0
	return nil
}

// appendCell appends a value as a table shows it.
func appendCell(dst []byte, c *Column, v *Value, clusterBits uint) []byte {
	switch v.kind {
	case KindBool:
		if v.num != 0 {
			return append(dst, "yes"...)
		}
		return append(dst, "no"...)
	case KindSize:
		return appendSize(dst, v.num)
	case KindFlags:
		if v.num == 0 {
			return append(dst, '-')
		}
		return appendNames(dst, c.Names, v.num, ", ")
	case KindBits:
		if v.num == 0 {
			return append(dst, "none"...)
		}
		dst = appendNames(dst, c.Names, v.num, ", ")
		return append(appendHex(append(dst, " ("...), v.num), ')')
	case KindList:
		return appendList(dst, v.ref.list, ", ")
	}
	return appendText(dst, c, v, clusterBits)
}
