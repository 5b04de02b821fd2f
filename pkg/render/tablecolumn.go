package render

import (
	"fmt"
	"slices"
	"strings"
)

// A tableColumn is a column of a table that is drawn.
type tableColumn struct {
	column *Column
	index  int // in the row
	width  int // in characters of the terminal
}

// inTable reports whether a column is one of the table itself.
func inTable(c Column) bool { return c.Kind != KindRows && c.Show.has(InTable) }

func kinds(columns []tableColumn) []Kind {
	k := make([]Kind, len(columns))
	for i, c := range columns {
		k[i] = c.column.Kind
	}
	return k
}

// titles returns the titles of columns, in bold if tables have colours.
func (r *tableRenderer) titles(columns []tableColumn) []string {
	t := make([]string, len(columns))
	for i, c := range columns {
		t[i] = r.paint(colorBold, c.column.Title)
	}
	return t
}

func widths(columns []tableColumn) []int {
	w := make([]int, len(columns))
	for i, c := range columns {
		w[i] = c.width
	}
	return w
}

// fit returns the columns of a table: all that have a place in one, less those
// that must go because the terminal is too narrow. They are as wide as the
// held rows want, and the widest possible value where more will come.
func (r *tableRenderer) fit(s *Section, more bool) []tableColumn {
	var columns []tableColumn
	for i := range s.Columns {
		c := &s.Columns[i]
		if !inTable(*c) {
			continue
		}
		t := tableColumn{column: c, index: i, width: max(displayWidth(c.Title), 1)}
		for row := range r.heldRows(s) {
			width := cellWidth(appendCell(nil, c, &row[i], s.ClusterBits))
			t.width = max(t.width, min(width, maxColumnWidth))
		}
		if more {
			t.width = max(t.width, widest(c, s.ClusterBits))
		}
		columns = append(columns, t)
	}
	return r.drop(columns)
}

// drop leaves out the least important columns until the rest fits, or one is
// left.
func (r *tableRenderer) drop(columns []tableColumn) []tableColumn {
	var dropped []string
	for r.opts.Width > 0 && len(columns) > 1 && frameWidth(widths(columns)) > r.opts.Width {
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

// widest returns the width of the widest value that a column declares.
func widest(c *Column, clusterBits uint) int {
	switch c.Kind {
	case KindText, KindImageText:
		return int(c.Max)
	case KindSize:
		return widestSize
	case KindEnum:
		return slices.Max(cellWidths(nil, [][]string{c.Names}))
	case KindUint, KindOffset, KindAddr, KindHex:
		return len(appendText(nil, c, &Value{kind: c.Kind, num: c.Max}, clusterBits))
	}
	return 0
}
