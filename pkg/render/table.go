package render

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twcache"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// wholeRows is the largest number of rows that tablewriter draws: it needs 10 µs
// and more for each cell. The rows of a longer table are put into a frame that
// tablewriter drew. The bytes are those that it would have drawn.
const wholeRows = 16

// A drawer lets tablewriter draw, with one tablewriter.Table for all: a new one
// takes half a megabyte. The zero drawer is ready for use.
type drawer struct {
	table *tablewriter.Table
	out   bytes.Buffer
}

// whole lets tablewriter draw a table. An error would be a mistake of this
// package, as the table is drawn into memory.
func (d *drawer) whole(kinds []Kind, titles []string, rows [][]string) []byte {
	if d.table == nil {
		d.table = tablewriter.NewTable(&d.out,
			tablewriter.WithStringerCacheCustom(twcache.NewLRU[reflect.Type, reflect.Value](1)), // cells are strings
			tablewriter.WithEastAsian(tw.Off), // whatever the locale
			tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
				Symbols:  tw.NewSymbols(tw.StyleLight),
				Settings: tw.Settings{Separators: tw.Separators{BetweenRows: tw.Off}},
			})),
		)
	}
	cell := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{PerColumn: alignments(kinds)},
	}
	d.table.Reset()
	d.table.Options(tablewriter.WithConfig(tablewriter.Config{
		Header:   cell,
		Row:      cell,
		Behavior: tw.Behavior{TrimSpace: tw.Off, TrimTab: tw.Off, TrimLine: tw.Off},
	}))
	d.out.Reset()
	if titles != nil {
		d.table.Header(titles)
	}
	if err := errors.Join(d.table.Bulk(rows), d.table.Render()); err != nil {
		panic("render: tablewriter: " + err.Error())
	}
	return bytes.Clone(d.out.Bytes())
}

// maxColumnWidth is the largest width that a cell gives its column, in characters:
// an enormous name would pad every other row. A wider cell pushes the frame.
const maxColumnWidth = 200

// draw returns a table of text cells, aligned by the kinds of the columns.
// Without titles it has no heading.
func (d *drawer) draw(kinds []Kind, titles []string, rows [][]string) []byte {
	widths := cellWidths(titles, rows)
	short := len(rows) <= wholeRows && slices.Max(widths) <= maxColumnWidth
	if short || slices.Contains(widths, 0) { // a frame shows no column of width 0
		return d.whole(kinds, titles, rows)
	}
	for i, w := range widths {
		widths[i] = min(w, maxColumnWidth)
	}
	f := d.frame(kinds, titles, widths)
	table := slices.Clone(f.top)
	for _, row := range rows {
		table = append(table, f.left...)
		for i, cell := range row {
			table = f.appendCell(table, i, []byte(cell), displayWidth(cell))
		}
		table = append(table, f.right...)
	}
	return append(table, f.bottom...)
}

// A frame is what tablewriter draws around the rows of a table.
type frame struct {
	kinds                []Kind
	widths               []int  // of the columns, in characters of the terminal
	top, bottom          []byte // whole lines
	left, between, right []byte // of a row
}

// frame lets tablewriter draw a table with one row that fills its columns,
// and takes it apart.
func (d *drawer) frame(kinds []Kind, titles []string, widths []int) *frame {
	cells := make([]string, len(widths))
	for i, w := range widths {
		cells[i] = strings.Repeat("x", w)
	}
	lines := bytes.SplitAfter(d.whole(kinds, titles, [][]string{cells}), []byte("\n"))
	lines = lines[:len(lines)-1] // nothing follows the last newline
	row, bottom := lines[len(lines)-2], lines[len(lines)-1]
	f := &frame{kinds: kinds, widths: widths, top: slices.Concat(lines[:len(lines)-2]...), bottom: bottom}
	first, last := []byte(cells[0]), []byte(cells[len(cells)-1])
	f.left = row[:bytes.Index(row, first)]
	f.right = row[bytes.LastIndex(row, last)+len(last):]
	if len(cells) > 1 {
		rest := row[len(f.left)+len(first):]
		f.between = rest[:bytes.IndexByte(rest, 'x')]
	}
	return f
}

// appendCell appends the i-th cell of a row, which takes width characters. A
// cell wider than its column is not cut: it pushes the frame.
func (f *frame) appendCell(dst []byte, i int, cell []byte, width int) []byte {
	if i > 0 {
		dst = append(dst, f.between...)
	}
	pad := f.widths[i] - width
	if f.kinds[i].isRightAligned() {
		return append(appendSpaces(dst, pad), cell...)
	}
	return appendSpaces(append(dst, cell...), pad)
}

const spaces = "                                                                "

// appendSpaces appends n spaces; none when n is negative.
func appendSpaces(dst []byte, n int) []byte {
	for ; n > len(spaces); n -= len(spaces) {
		dst = append(dst, spaces...)
	}
	return append(dst, spaces[:max(n, 0)]...)
}

// frameWidth returns the width of a table whose columns have the given widths.
func frameWidth(widths []int) int {
	n := len("|")
	for _, w := range widths {
		n += len(" ") + w + len(" |")
	}
	return n
}

// cellWidths returns the widths that the columns of a table need.
func cellWidths(titles []string, rows [][]string) []int {
	var widths []int
	for _, row := range append([][]string{titles}, rows...) {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], displayWidth(cell))
		}
	}
	return widths
}

// cellWidth is displayWidth without an allocation for ASCII.
func cellWidth(p []byte) int {
	for _, c := range p {
		if c >= 0x80 {
			return displayWidth(string(p))
		}
	}
	return len(p)
}

// displayWidth returns how many columns of a terminal s takes, whatever the
// locale.
func displayWidth(s string) int { return twwidth.WidthWithOptions(s, twwidth.Options{}) }

// alignments returns how columns of the given kinds are aligned.
func alignments(kinds []Kind) []tw.Align {
	a := make([]tw.Align, len(kinds))
	for i, k := range kinds {
		a[i] = tw.AlignLeft
		if k.isRightAligned() {
			a[i] = tw.AlignRight
		}
	}
	return a
}
