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
	// narrowest is the least width if its text can take several lines, else the
	// width.
	narrowest int
	empty     bool // it holds nothing, and all its rows are known
}

// inTable reports whether a column is one of the table itself.
func inTable(c Column) bool { return !c.Kind.isBelow() && c.Show.has(InTable) }

func kinds(columns []tableColumn) []Kind {
	k := make([]Kind, len(columns))
	for i, c := range columns {
		k[i] = c.column.Kind
	}
	return k
}

// titles returns the titles of columns, in their tone.
func (r *tableRenderer) titles(columns []tableColumn) []string {
	t := make([]string, len(columns))
	for i, c := range columns {
		t[i] = r.paint(toneTitle, c.column.Title)
	}
	return t
}

// titleWidth returns the width of the widest title of a section.
func titleWidth(s *Section) int {
	width := 0
	for i := range s.Columns {
		if inTable(s.Columns[i]) {
			width = max(width, displayWidth(s.Columns[i].Title))
		}
	}
	return width
}

func widths(columns []tableColumn) []int {
	w := make([]int, len(columns))
	for i, c := range columns {
		w[i] = c.width
	}
	return w
}

// fit returns the columns of a table, without those that a narrow terminal has no
// room for. They are as wide as the held rows need and, where more rows will come,
// as the widest value that the column declares.
func (r *tableRenderer) fit(s *Section, more bool) []tableColumn {
	var columns []tableColumn
	for i := range s.Columns {
		if inTable(s.Columns[i]) {
			columns = append(columns, r.measure(s, i, more))
		}
	}
	if r.opts.Width == 0 {
		return columns
	}
	if last := &columns[len(columns)-1]; last.column.Kind == KindText && !more {
		r.measureWords(s, last)
	}
	columns = r.drop(columns)
	if over := frameWidth(widths(columns)) - r.opts.Width; over > 0 {
		last := &columns[len(columns)-1]
		last.width = max(last.width-over, last.narrowest)
	}
	return columns
}

// measure returns the i-th column of a section, as wide as it must be.
func (r *tableRenderer) measure(s *Section, i int, more bool) tableColumn {
	c := &s.Columns[i]
	t := tableColumn{column: c, index: i, width: max(displayWidth(c.Title), 1), empty: !more}
	for row := range r.heldRows(s) {
		width := cellWidth(appendCell(nil, c, &row[i], s.ClusterBits))
		t.width = max(t.width, min(width, maxColumnWidth))
		t.empty = t.empty && row[i].isAbsent()
	}
	if more {
		t.width = max(t.width, widest(c, s.ClusterBits))
	}
	t.narrowest = t.width
	return t
}

// measureWords sets the least width of a column whose words can take several lines.
func (r *tableRenderer) measureWords(s *Section, t *tableColumn) {
	t.narrowest = min(t.width, max(fewWords, displayWidth(t.column.Title)))
	for row := range r.heldRows(s) {
		word := longestWord(string(appendCell(nil, t.column, &row[t.index], s.ClusterBits)))
		t.narrowest = max(t.narrowest, min(word, t.width))
	}
}

// drop leaves out the columns that hold nothing, and then the least important
// ones, until the rest fits, or one is left.
func (r *tableRenderer) drop(columns []tableColumn) []tableColumn {
	var dropped []string
	for len(columns) > 1 {
		least := slices.MaxFunc(columns, tableColumn.compareDrop)
		over := frameWidth(widths(columns)) - r.opts.Width
		if last := columns[len(columns)-1]; !least.empty {
			over -= last.width - last.narrowest // more lines are better than fewer columns
		}
		if over <= 0 || least.column.Drop == 0 && !least.empty {
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

// compareDrop compares columns by which of them leaves a table first.
func (t tableColumn) compareDrop(u tableColumn) int {
	switch {
	case t.empty == u.empty:
		return t.column.Drop - u.column.Drop
	case t.empty:
		return 1
	}
	return -1
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
