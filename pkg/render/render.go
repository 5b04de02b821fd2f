// Package render writes documents as tables, plain lines, JSON or NDJSON.
//
// A document is a sequence of sections. A section declares its columns once
// and then takes rows of [Value]; the caller reuses the slice of a row for the
// next. A list of header facts is a section of one row, drawn sideways; a
// mapping of a hundred million clusters is a section of as many rows. The same
// contract serves both, and no format allocates for a row of numbers in a long
// section. A value can hold the rows of another section ([Rows]) or a document
// ([Nested]), so that what is written as a document can be part of another.
//
// Text that comes from an image is given as [ImageText] or in a [List], and
// reaches neither a terminal nor a line of output unescaped.
//
// [New] is where to begin. The package is at version 0, as its module is: its
// names can change. What it writes for a given section does not, because the
// promises about JSON keys and plain lines rest on it.
package render

import (
	"fmt"
	"io"
)

// A Document names what a sequence of sections is about.
type Document struct {
	Schema   string // "qinspect/header/1"
	Filename string // as the user gave it
	Heading  bool   // show the file name in tables and plain lines too
	// Unnamed is for a document about several files: the file name is null in JSON, and
	// rows that are lines do not begin with it.
	Unnamed bool
}

// A Renderer writes documents, one after the other. The first write error sticks:
// nothing is written after it, and every Row that has something to write returns
// it, as does End.
type Renderer interface {
	// Begin begins a document.
	Begin(Document)
	Sections
	// Flush writes the rows that were pushed, for a reader who waits for them. A table
	// keeps the first until it knows how wide its columns are.
	Flush() error
	// End ends the document and flushes it.
	End() error
	// Reset makes the renderer what [New] returns, of the same format, without the
	// time and the memory that a new one takes. What it had not written is dropped.
	Reset(w io.Writer, opts Options)
}

// Sections takes the content of a document.
type Sections interface {
	// Section begins a section of the document, and ends the one before. A
	// section must not change until it has ended.
	Section(*Section)
	// Row adds a row to the section, with a value for each column. The slice
	// can be used again afterwards. The error is a write error.
	Row([]Value) error
	// Batch adds rows that differ in numbers alone, as Row would one after the
	// other, in less time. The batch can be used again afterwards.
	Batch(*Batch) error
	// Incomplete says that not all rows of the section could be read. A section
	// without rows is then not called empty.
	Incomplete()
	// Lines writes lines of text in plain output, and nothing in other formats.
	// The function appends them to dst, the last one without its newline. The
	// error is a write error.
	Lines(func(dst []byte) []byte) error
}

// Format is an output format.
type Format string

// The output formats.
const (
	FormatTable  Format = "table"
	FormatPlain  Format = "plain"
	FormatJSON   Format = "json"
	FormatNDJSON Format = "ndjson"
)

// AllFormats returns the output formats, the default first.
func AllFormats() []Format { return []Format{FormatTable, FormatPlain, FormatJSON, FormatNDJSON} }

// Options describe where a renderer writes to.
type Options struct {
	// Width is the width of the terminal in columns; 0: unlimited.
	Width int
	// Color makes tables show tones and titles in the colours of a terminal.
	Color bool
	// Note takes remarks to the user that are not part of the output, such as
	// which columns were left out. Nil: they are dropped.
	Note func(string)
}

// New returns a renderer that writes to w in the given format.
func New(f Format, w io.Writer, opts Options) Renderer {
	out := newWriter(w)
	switch f {
	case FormatTable:
		return &tableRenderer{w: out, opts: opts}
	case FormatPlain:
		return &plainRenderer{w: out}
	case FormatJSON:
		return &jsonRenderer{w: out, style: prettyJSON}
	case FormatNDJSON:
		return &jsonRenderer{w: out, style: lineJSON}
	}
	panic(fmt.Sprintf("render: no format %q", f))
}
