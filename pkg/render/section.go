package render

import "fmt"

// Layout is the shape of a section.
type Layout uint8

// The layouts.
const (
	// LayoutSingle is one row, drawn sideways: a fact a line. At the top of a
	// document its keys are the document's own.
	LayoutSingle Layout = iota
	// LayoutList is rows that belong to the document: an array in it.
	LayoutList
	// LayoutStream is rows without end: like a LayoutList, but in ndjson a row a
	// line, unless a list came before it in the document.
	LayoutStream
)

// Formats is a set of output formats. The empty set stands for all of them.
type Formats uint8

// The output formats, JSON and NDJSON counted as one.
const (
	InTable Formats = 1 << iota
	InPlain
	InJSON
)

// has reports whether f holds the format g.
func (f Formats) has(g Formats) bool { return f == 0 || f&g != 0 }

// A Column declares one value of a section's rows.
type Column struct {
	// Key is the JSON key, in kebab case. Neighbours that share what stands
	// before a dot are members of one object: "l1-table.offset",
	// "l1-table.entries". The object is null when all its members are.
	Key string
	// Title heads the column, or stands before the value in a LayoutSingle section.
	Title string
	Kind  Kind
	// Names are the names of a KindEnum, KindFlags or KindBits.
	Names []string
	// Max is the largest number that the column can hold, or for text the
	// number of characters: it sets the width of the column in a table of more
	// rows than fit in memory. A wider value is shown whole all the same.
	Max uint64
	// Drop says in which order columns leave a table that is wider than the
	// terminal: those with the highest number first, those with 0 never. Columns
	// that hold nothing go before them, where all rows are known. The KindText of
	// the last one takes several lines before others go.
	Drop int
	// Show restricts the column to some formats.
	Show Formats
	// Colors are the colours of a table that has any: of a KindEnum that of each
	// of its Names, else one, for every value but 0, false and "". Names without
	// one have ColorNone; what is absent is dim.
	Colors []Color
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
	// Empty stands in place of a table without rows. Where it is empty too,
	// nothing does, and no title.
	Empty string
	// ClusterBits gives every KindAddr the number of its cluster; 0 leaves it
	// out.
	ClusterBits uint
	// Label is the key of the column whose text names a row of a LayoutList in plain
	// output; empty: rows are numbered from 0.
	Label string
	// Line formats a row of plain output without its newline. Where it is nil
	// a row is "key: value" lines.
	Line func(dst []byte, row []Value) []byte
	// Show restricts the section to some formats. A nested section is shown
	// where its column is.
	Show Formats
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

// check panics when a row does not fit its section: a mistake of the program,
// never of an image.
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
