package render

import "io"

// jsonStyle is where a JSON document has white space.
type jsonStyle struct {
	colon  string // after a key of the document
	member string // before a key of the document
	row    string // before a row of a list
	close  string // before the end of a list that has rows
	end    string // after the last member of the document
	// lines puts every row of a LayoutStream on a line of its own. The document
	// comes after them, and holds what follows the stream.
	lines bool
}

var (
	prettyJSON = jsonStyle{colon: ": ", member: "\n  ", row: "\n    ", close: "\n  ", end: "\n}\n"}
	lineJSON   = jsonStyle{colon: ":", end: "}\n", lines: true}
	nestedJSON = jsonStyle{colon: ":"}
)

// jsonRenderer writes one JSON object for each document. Lists are written as
// their rows come, so that a document of any length takes constant memory.
type jsonRenderer struct {
	w     *writer
	style jsonStyle
	doc   Document

	section *Section
	object  jsonObject
	hidden  bool   // the section has nothing to show in JSON
	inLines bool   // the section's rows are lines
	open    bool   // the section's list is open
	rows    int    // rows of the section so far
	comma   bool   // the document has a member
	begun   bool   // the document is being written
	head    []byte // the document so far, until then
	line    []byte // what each line of a stream begins with

	template template
}

func (r *jsonRenderer) Reset(w io.Writer, _ Options) {
	r.w.reset(w)
	*r = jsonRenderer{w: r.w, style: r.style, head: r.head, line: r.line}
}

func (r *jsonRenderer) Begin(d Document) {
	r.doc, r.section, r.begun = d, nil, false
	r.begin()
}

// begin starts the object of the document.
func (r *jsonRenderer) begin() {
	r.comma = false
	dst := r.appendKey(append(r.head[:0], '{'), "schema")
	dst = r.appendKey(appendJSONString(dst, r.doc.Schema), "filename")
	if r.doc.Unnamed {
		dst = append(dst, "null"...)
	} else {
		dst = appendJSONString(dst, r.doc.Filename)
	}
	r.head = appendHexBytes(r.appendKey(dst, "filename-hex"), r.doc.Filename)
}

// appendKey appends a key of the document and the colon.
func (r *jsonRenderer) appendKey(dst []byte, key string) []byte {
	dst = append(r.appendComma(dst), '"')
	dst = append(append(dst, key...), '"')
	return append(dst, r.style.colon...)
}

// appendComma appends what stands before a member of the document.
func (r *jsonRenderer) appendComma(dst []byte) []byte {
	if r.comma {
		dst = append(dst, ',')
	}
	r.comma = true
	return append(dst, r.style.member...)
}

func (r *jsonRenderer) Section(s *Section) {
	r.closeSection()
	r.section, r.rows = s, 0
	r.object = newJSONObject(s, r)
	r.inLines = r.style.lines && s.Layout == LayoutStream && !r.begun
	empty := len(r.object.members) == 0 && (s.Layout == LayoutSingle || r.inLines)
	r.hidden = empty || !s.Show.has(InJSON)
	switch {
	case r.hidden:
	case r.inLines:
		r.begin() // what came before the stream is not repeated after it
		r.line = r.appendLineStart(r.line[:0])
	case s.Layout != LayoutSingle:
		r.open = true
		r.flushHead()
		r.w.put(append(r.appendKey(r.w.take(), s.Key), '['))
	}
}

func (r *jsonRenderer) Row(row []Value) error {
	r.section.check(row)
	switch {
	case r.hidden:
		return nil
	case r.section.Layout == LayoutSingle:
		r.put(r.object.appendTopMembers(r.appendComma(r.take()), row, r.style))
		return r.w.err
	}
	dst := r.object.appendMembers(r.appendRowStart(r.w.take()), row)
	r.rows++
	return r.w.put(append(dst, r.rowEnd()...))
}

// appendRowStart appends what stands before the members of a row of a list.
func (r *jsonRenderer) appendRowStart(dst []byte) []byte {
	if r.inLines {
		return append(dst, r.line...)
	}
	if r.rows > 0 {
		dst = append(dst, ',')
	}
	return append(append(dst, r.style.row...), '{')
}

// appendLineStart appends what each line of a stream begins with.
func (r *jsonRenderer) appendLineStart(dst []byte) []byte {
	if r.doc.Unnamed {
		return append(dst, '{')
	}
	return append(appendJSONString(append(dst, `{"filename":`...), r.doc.Filename), ',')
}

// rowEnd returns what stands behind the members of a row of a list.
func (r *jsonRenderer) rowEnd() string {
	if r.inLines {
		return "}\n"
	}
	return "}"
}

func (r *jsonRenderer) Batch(b *Batch) error {
	r.section.check(b.Row)
	if r.hidden || r.section.Layout == LayoutSingle || r.rows == 0 || !r.template.begin(b) {
		return b.each(r.Row)
	}
	t := &r.template
	t.text = r.appendRowStart(t.text)
	if !r.object.record(t, b.Row) {
		return b.each(r.Row)
	}
	t.text = append(t.text, r.rowEnd()...)
	return t.write(r.w, b, r.Row)
}

// Incomplete changes nothing: the errors of a document are a part of it.
func (r *jsonRenderer) Incomplete() {}

func (r *jsonRenderer) Lines(func([]byte) []byte) error { return nil }

// closeSection ends the list of the current section.
func (r *jsonRenderer) closeSection() {
	if !r.open {
		return
	}
	r.open = false
	dst := r.w.take()
	if r.rows > 0 {
		dst = append(dst, r.style.close...)
	}
	r.w.put(append(dst, ']'))
}

func (r *jsonRenderer) Flush() error { return r.w.flush() }

func (r *jsonRenderer) End() error {
	r.flushHead()
	r.closeSection()
	r.w.put(append(r.w.take(), r.style.end...))
	return r.w.flush()
}

// flushHead writes what is held of the document.
func (r *jsonRenderer) flushHead() {
	r.begun = true
	r.w.add(r.head...)
	r.head = r.head[:0]
}

// inHead reports whether the row of the section belongs to the head.
func (r *jsonRenderer) inHead() bool { return !r.begun && r.section.Layout == LayoutSingle }

// take returns what a row is appended to.
func (r *jsonRenderer) take() []byte {
	if r.inHead() {
		return r.head
	}
	return r.w.take()
}

// put takes back what take returned, with more after it.
func (r *jsonRenderer) put(p []byte) {
	if r.inHead() {
		r.head = p
	} else {
		r.w.put(p)
	}
}

// spill takes what has been appended of a row so far, and returns what to append
// the rest to. It keeps rows that hold others in constant memory.
func (r *jsonRenderer) spill(p []byte) []byte {
	r.put(p)
	return r.take()
}

// appendDocument appends an object to a row: the document that show writes.
func (r *jsonRenderer) appendDocument(dst []byte, show func(Sections)) []byte {
	r.put(append(dst, '{'))
	if r.inHead() {
		r.flushHead() // the document can be of any length
	}
	nested := &jsonRenderer{w: r.w, style: nestedJSON, doc: r.doc, begun: true}
	show(nested)
	nested.closeSection()
	return append(r.w.take(), '}')
}
