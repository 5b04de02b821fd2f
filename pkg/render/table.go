package render

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// bufferedRows is how many rows of a section are held back to see how wide
// they are. A section with no more goes wholly through tablewriter; the rows
// of a longer one are appended to a frame that tablewriter drew.
const bufferedRows = 256

// tableRenderer draws tables for people.
type tableRenderer struct {
	w    *bufio.Writer
	opts Options

	drawn   bool // there is something above
	section *Section
	held    []Value // the first rows, one behind the other
	below   []below // nested sections, to draw under the table
	long    *longTable
}

// below is a nested section that waits until its table is drawn.
type below struct {
	section *Section
	rows    iter.Seq[[]Value]
}

func (r *tableRenderer) Begin(d Document) {
	r.section = nil
	if d.Heading {
		r.title(Escape(d.Filename))
		r.drawn = false
	}
}

// title writes a line above a table, and an empty one above that.
func (r *tableRenderer) title(s string) {
	if r.drawn {
		r.w.WriteByte('\n')
	}
	r.drawn = true
	if s != "" {
		r.w.WriteString(s)
		r.w.WriteByte('\n')
	}
}

func (r *tableRenderer) Section(s *Section) {
	r.finish()
	r.section = s
}

func (r *tableRenderer) Row(row []Value) error {
	r.section.check(row)
	switch {
	case !r.section.Show.has(InTable):
		return nil
	case r.long != nil:
		r.keepBelow(row)
		return r.long.row(r.w, row)
	}
	r.held = append(r.held, row...)
	r.keepBelow(row)
	if len(r.held) > bufferedRows*len(row) {
		r.startLong()
	}
	return nil
}

// keepBelow remembers the nested sections of a row.
func (r *tableRenderer) keepBelow(row []Value) {
	for i := range row {
		if row[i].kind == KindRows && r.section.Columns[i].Show.has(InTable) {
			r.below = append(r.below, below{row[i].ref.section, row[i].ref.rows})
		}
	}
}

func (r *tableRenderer) End() error {
	r.finish()
	return r.w.Flush()
}

// finish draws what is left of the current section, and what belongs below.
func (r *tableRenderer) finish() {
	s := r.section
	if s == nil {
		return
	}
	r.section = nil
	switch {
	case r.long != nil:
		r.w.Write(r.long.frame.bottom)
		r.long = nil
	case s.Show.has(InTable) && s.Layout == LayoutSingle:
		r.drawSideways(s)
	case s.Show.has(InTable) && len(r.held) == 0 && s.Empty != "":
		r.title(s.Title)
		r.w.WriteString(s.Empty + "\n")
	case s.Show.has(InTable):
		r.drawShort(s)
	}
	r.held = r.held[:0]
	nested := r.below
	r.below = nil
	for _, b := range nested {
		r.Section(b.section)
		for row := range b.rows {
			if r.Row(row) != nil {
				break // the writer keeps the error
			}
		}
		r.finish()
	}
}

// heldRows yields the rows that are held.
func (r *tableRenderer) heldRows(s *Section) iter.Seq[[]Value] {
	return slices.Chunk(r.held, max(len(s.Columns), 1))
}

// drawSideways draws a section of one row: a line for each column.
func (r *tableRenderer) drawSideways(s *Section) {
	var cells [][]string
	for row := range r.heldRows(s) {
		for i := range s.Columns {
			c, v := &s.Columns[i], &row[i]
			if c.Kind == KindRows || !c.Show.has(InTable) {
				continue
			}
			dst := appendCell(nil, c, v, s.ClusterBits)
			if v.kind == KindSize && v.num >= 1024 {
				dst = fmt.Appendf(dst, " (%d bytes)", v.num)
			}
			cells = append(cells, []string{c.Title, string(dst)})
		}
	}
	if len(cells) > 0 {
		r.title(s.Title)
		draw(r.w, []tw.Align{tw.AlignLeft, tw.AlignLeft}, nil, cells)
	}
}

// drawShort draws a section of few rows wholly through tablewriter.
func (r *tableRenderer) drawShort(s *Section) {
	columns := r.fit(s, false)
	var cells [][]string
	for row := range r.heldRows(s) {
		line := make([]string, len(columns))
		for i, c := range columns {
			line[i] = string(appendCell(nil, c.column, &row[c.index], s.ClusterBits))
		}
		cells = append(cells, line)
	}
	r.title(s.Title)
	draw(r.w, aligns(columns), titles(columns), cells)
}

// startLong draws the frame of a table of many rows, and the held ones.
func (r *tableRenderer) startLong() {
	s := r.section
	columns := r.fit(s, true)
	r.long = &longTable{section: s, columns: columns, frame: newFrame(columns)}
	r.title(s.Title)
	r.w.Write(r.long.frame.top)
	for row := range r.heldRows(s) {
		r.long.row(r.w, row)
	}
	r.held = r.held[:0]
}

// A tableColumn is a column of a table that is drawn.
type tableColumn struct {
	column *Column
	index  int // in the row
	width  int // in characters of the terminal
}

// fit returns the columns of a table: all that have a place in one, less those
// that must go because the terminal is too narrow. Widths are those of the
// held rows, and of the widest possible value where more will come.
func (r *tableRenderer) fit(s *Section, more bool) []tableColumn {
	var columns []tableColumn
	for i := range s.Columns {
		c := &s.Columns[i]
		if c.Kind == KindRows || !c.Show.has(InTable) {
			continue
		}
		t := tableColumn{column: c, index: i, width: displayWidth(c.Title)}
		for row := range r.heldRows(s) {
			t.width = max(t.width, displayWidth(string(appendCell(nil, c, &row[i], s.ClusterBits))))
		}
		if more {
			t.width = max(t.width, widest(c, s.ClusterBits))
		}
		columns = append(columns, t)
	}
	return r.dropColumns(columns)
}

// dropColumns leaves out the least important columns until the rest fits.
func (r *tableRenderer) dropColumns(columns []tableColumn) []tableColumn {
	var dropped []string
	for r.opts.Width > 0 && tableWidth(columns) > r.opts.Width {
		least := slices.MaxFunc(columns, func(a, b tableColumn) int { return a.column.Drop - b.column.Drop })
		if least.column.Drop == 0 {
			break
		}
		columns = slices.DeleteFunc(columns, func(c tableColumn) bool { return c.index == least.index })
		dropped = append(dropped, least.column.Title)
	}
	if len(dropped) > 0 && r.opts.Note != nil {
		slices.Reverse(dropped)
		r.opts.Note(fmt.Sprintf("left out to fit %d columns: %s", r.opts.Width, strings.Join(dropped, ", ")))
	}
	return columns
}

// tableWidth returns the width of a table with its frame.
func tableWidth(columns []tableColumn) int {
	n := 1
	for _, c := range columns {
		n += c.width + len(" ") + len(" ") + 1 // padding, and the line behind
	}
	return n
}

// widest returns the width of the widest value that a column declares.
func widest(c *Column, clusterBits uint) int {
	switch c.Kind {
	case KindText, KindImageText:
		return int(c.Max)
	case KindSize:
		return widestSize
	case KindEnum:
		n := 0
		for _, name := range c.Names {
			n = max(n, displayWidth(name))
		}
		return n
	case KindUint, KindOffset, KindAddr, KindHex:
		return len(appendText(nil, c, &Value{kind: c.Kind, num: c.Max}, clusterBits))
	}
	return 0
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
		if len(v.ref.list) == 0 {
			return append(dst, '-')
		}
		return appendList(dst, v.ref.list, ", ")
	}
	return appendText(dst, c, v, clusterBits)
}

// A longTable is a table whose rows are appended without tablewriter, to the
// byte as it would have drawn them.
type longTable struct {
	section *Section
	columns []tableColumn
	frame   frame
	cell    []byte
}

// row writes one row. A value wider than its column pushes the frame.
func (t *longTable) row(w *bufio.Writer, row []Value) error {
	dst := append(w.AvailableBuffer(), t.frame.left...)
	for i := range t.columns {
		c := &t.columns[i]
		if i > 0 {
			dst = append(dst, t.frame.between...)
		}
		t.cell = appendCell(t.cell[:0], c.column, &row[c.index], t.section.ClusterBits)
		pad := c.width - cellWidth(t.cell)
		if c.column.Kind.isRightAligned() {
			dst = append(appendSpaces(dst, pad), t.cell...)
		} else {
			dst = appendSpaces(append(dst, t.cell...), pad)
		}
	}
	_, err := w.Write(append(dst, t.frame.right...))
	return err
}

const spaces = "                                                                "

// appendSpaces appends n spaces; none when n is negative.
func appendSpaces(dst []byte, n int) []byte {
	for ; n > len(spaces); n -= len(spaces) {
		dst = append(dst, spaces...)
	}
	return append(dst, spaces[:max(n, 0)]...)
}

// cellWidth is displayWidth without an allocation where that is the length.
func cellWidth(p []byte) int {
	for _, c := range p {
		if c >= 0x80 {
			return displayWidth(string(p))
		}
	}
	return len(p)
}

// displayWidth returns how many columns of a terminal s takes.
func displayWidth(s string) int { return twwidth.WidthWithOptions(s, widthOptions) }

// widthOptions makes widths independent of the locale.
var widthOptions = twwidth.Options{EastAsianWidth: false}

// A frame is what tablewriter draws around rows.
type frame struct {
	top, bottom          []byte // whole lines
	left, between, right []byte // of a row
}

// newFrame lets tablewriter draw a table with one row that fills its columns,
// and takes it apart.
func newFrame(columns []tableColumn) frame {
	cells := make([]string, len(columns))
	for i, c := range columns {
		cells[i] = strings.Repeat("x", c.width)
	}
	var buf bytes.Buffer
	draw(&buf, aligns(columns), titles(columns), [][]string{cells})
	lines := bytes.SplitAfter(buf.Bytes(), []byte("\n")) // top, titles, rule, row, bottom, ""
	f := frame{top: slices.Concat(lines[:3]...), bottom: lines[4]}
	row := lines[3]
	first, last := cells[0], cells[len(cells)-1]
	f.left = row[:bytes.Index(row, []byte(first))]
	f.right = row[bytes.LastIndex(row, []byte(last))+len(last):]
	if len(cells) > 1 {
		rest := row[len(f.left)+len(first):]
		f.between = rest[:bytes.IndexByte(rest, 'x')]
	}
	return f
}

func aligns(columns []tableColumn) []tw.Align {
	a := make([]tw.Align, len(columns))
	for i, c := range columns {
		a[i] = tw.AlignLeft
		if c.column.Kind.isRightAligned() {
			a[i] = tw.AlignRight
		}
	}
	return a
}

func titles(columns []tableColumn) []string {
	t := make([]string, len(columns))
	for i, c := range columns {
		t[i] = c.column.Title
	}
	return t
}

// draw lets tablewriter draw a whole table. Its errors are those of a wrong
// use; write errors stay with w.
func draw(w io.Writer, align []tw.Align, titles []string, rows [][]string) {
	cell := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{PerColumn: align},
	}
	t := tablewriter.NewTable(w,
		tablewriter.WithConfig(tablewriter.Config{
			Header:   cell,
			Row:      cell,
			Behavior: tw.Behavior{TrimSpace: tw.Off, TrimTab: tw.Off, TrimLine: tw.Off},
		}),
		tablewriter.WithEastAsian(tw.Off),
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Symbols:  tw.NewSymbols(tw.StyleLight),
			Settings: tw.Settings{Separators: tw.Separators{BetweenRows: tw.Off}},
		})),
	)
	if titles != nil {
		t.Header(titles)
	}
	if err := t.Bulk(rows); err != nil {
		panic("render: tablewriter: " + err.Error())
	}
	if err := t.Render(); err != nil {
		panic("render: tablewriter: " + err.Error())
	}
}
