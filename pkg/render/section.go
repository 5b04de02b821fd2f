package render

import "fmt"

// Layout is the shape of a section.
type Layout uint8

// The layouts.
const (
	// LayoutSingle is one row, drawn sideways: a line for each fact. At the top
	// of a document its keys are the document's own.
	LayoutSingle Layout = iota
	// LayoutList is a list of rows: an array in the document.
	LayoutList
	// LayoutStream is a list of any length. It differs from LayoutList in ndjson,
	// where each row is a line, unless a list or a nested document came before.
	LayoutStream
)

// An Audience is the output formats in which something is shown. The empty one
// means all of them.
type Audience uint8

// The audiences, to be joined by |. JSON and NDJSON have one.
const (
	InTable Audience = 1 << iota
	InPlain
	InJSON
)

// has reports whether an audience holds another.
func (a Audience) has(b Audience) bool { return a == 0 || a&b != 0 }

// A Column declares one value of a section's rows.
type Column struct {
	// Key is the JSON key, in kebab case. Neighbours whose keys begin with the
	// same word and a dot are members of one object: "l1-table.offset",
	// "l1-table.entries". The object is null when all its members are.
	Key string
	// Title heads the column, or stands before the value in a LayoutSingle section.
	Title string
	Kind  Kind
	// Names are the names for a KindEnum, KindFlags or KindBits.
	Names []string
	// Max is the largest number that the column can hold, or for text the
	// number of characters: it sets the width of the column in a table of more
	// rows than fit in memory. A wider value is shown whole all the same.
	Max uint64
	// Drop is the order in which columns leave a table that is wider than the
	// terminal: the highest first, those with 0 never. Where all rows are known,
	// columns that hold nothing go before them. Words in the last column, if it is
	// a KindText, are put on several lines before others go.
	Drop int
	// Show restricts the column to an audience.
	Show Audience
	// Tones has the tone of each of the Names of a KindEnum. For other kinds it
	// has one, that of every value but 0, false and "". What it leaves out has
	// ToneNone; absent values have ToneAbsent.
	Tones []Tone
}

// A Section declares a part of a document: its columns, and how it looks.
type Section struct {
	// Key is the JSON key of the rows; empty in a LayoutSingle section at the top of
	// a document.
	Key string
	// Title stands above the table.
	Title   string
	Layout  Layout
	Columns []Column
	// Empty stands in place of a table that has no rows, unless it is incomplete.
	// If it is "", nothing is shown, not even the title.
	Empty string
	// ClusterBits gives every KindAddr the number of its cluster; 0 leaves it
	// out.
	ClusterBits uint
	// Label is the key of the column whose text names a row of a list in plain
	// output; empty: rows are numbered from 0.
	Label string
	// Line appends a row of plain output to dst, without a newline. If it is nil, a
	// row is "key: value" lines.
	Line func(dst []byte, row []Value) []byte
	// Write, if not nil, takes the place of Line in a section whose rows come in
	// batches. It must depend on nothing but the row, and learn its numbers from the
	// Line alone.
	Write func(*Line)
	// Show restricts the section to an audience. The section of [Rows] is shown
	// where its column is.
	Show Audience
}

// column returns the index of the column with the key, or -1.
func (s *Section) column(key string) int {
	for i := range s.Columns {
		if s.Columns[i].Key == key {
			return i
		}
	}
	return -1
}

// check panics when a row does not fit its section. That is a mistake of the
// program, never of an image.
func (s *Section) check(row []Value) {
	if len(row) != len(s.Columns) {
		panic(fmt.Sprintf("render: section %q has %d columns, its row %d values", s.Key, len(s.Columns), len(row)))
	}
}

// isRightAligned reports whether values of the kind line up on the right.
func (k Kind) isRightAligned() bool {
	switch k {
	case KindUint, KindSize, KindOffset, KindAddr, KindHex, KindDuration:
		return true
	}
	return false
}
