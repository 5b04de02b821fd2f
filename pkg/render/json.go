package render

// jsonStyle is where a JSON document has white space.
type jsonStyle struct {
	colon  string // after a key of the document
	member string // before a key of the document
	row    string // before a row of a list
	close  string // before the end of a list that has rows
	end    string // after the last member of the document
	// lines has every row of a LayoutStream on a line of its own, before the
	// document, which then holds what follows the stream.
	lines bool
}

var (
	prettyJSON = jsonStyle{colon: ": ", member: "\n  ", row: "\n    ", close: "\n  ", end: "\n}\n"}
	lineJSON   = jsonStyle{colon: ":", end: "}\n", lines: true}
)

// jsonRenderer writes one JSON document for each document. Lists are written
// as their rows come, so that a document of any length takes constant memory.
type jsonRenderer struct {
	w     *writer
	style jsonStyle
	doc   Document

	section *Section
	object  jsonObject
	hidden  bool   // the section has nothing to show in JSON
	inLines bool   // the section's rows are lines
	open    bool   // the section's list is open
	begun   bool   // a part of the document has been written
	rows    int    // rows of the section so far
	head    []byte // the document so far, until it is certain that it is wanted
	line    []byte // what each line of a stream begins with
}

func (r *jsonRenderer) Begin(d Document) {
	r.doc, r.section, r.begun = d, nil, false
	r.begin()
}

// begin starts the object of the document.
func (r *jsonRenderer) begin() {
	dst := append(r.head[:0], '{')
	dst = append(append(dst, r.style.member...), `"schema"`...)
	dst = appendJSONString(append(dst, r.style.colon...), r.doc.Schema)
	dst = append(append(append(dst, ','), r.style.member...), `"filename"`...)
	r.head = appendJSONString(append(dst, r.style.colon...), r.doc.Filename)
}

func (r *jsonRenderer) Section(s *Section) {
	r.closeSection()
	r.section, r.rows = s, 0
	r.object = newJSONObject(s, r.spill(s))
	r.inLines = r.style.lines && s.Layout == LayoutStream && !r.begun
	empty := len(r.object.members) == 0 && (s.Layout == LayoutSingle || r.inLines)
	r.hidden = empty || !s.Show.has(InJSON)
	switch {
	case r.hidden:
	case r.inLines:
		r.begin() // what came before the stream is not repeated after it
		r.line = appendJSONString(append(r.line[:0], `{"filename":`...), r.doc.Filename)
	case s.Layout != LayoutSingle:
		r.open = true
		r.flushHead()
		dst := r.appendMember(r.w.take(), s.Key)
		r.w.put(append(dst, '['))
	}
}

// appendMember appends a key of the document.
func (r *jsonRenderer) appendMember(dst []byte, key string) []byte {
	dst = append(append(append(dst, ','), r.style.member...), '"')
	dst = append(append(dst, key...), '"')
	return append(dst, r.style.colon...)
}

func (r *jsonRenderer) Row(row []Value) error {
	r.section.check(row)
	r.rows++
	switch {
	case r.hidden:
		return nil
	case r.inLines:
		dst := append(r.w.take(), r.line...)
		dst = r.object.appendMembers(append(dst, ','), row)
		return r.w.put(append(dst, "}\n"...))
	case r.section.Layout == LayoutSingle:
		r.head = append(append(r.head, ','), r.style.member...)
		r.head = r.object.appendTopMembers(r.head, row, r.style)
		return nil
	}
	dst := r.w.take()
	if r.rows > 1 {
		dst = append(dst, ',')
	}
	return r.w.put(r.object.appendObject(append(dst, r.style.row...), row))
}

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

// spill returns what becomes of a row that is being appended: the rows of a
// list are written, those of a LayoutSingle stay together in the head.
func (r *jsonRenderer) spill(s *Section) func([]byte) []byte {
	if s.Layout == LayoutSingle {
		return func(dst []byte) []byte { return dst }
	}
	return func(dst []byte) []byte {
		r.w.put(dst)
		return r.w.take()
	}
}
