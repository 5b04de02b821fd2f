package render

import (
	"encoding/hex"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonStyle is where a JSON document has white space.
type jsonStyle struct {
	colon  string // behind a key of the document
	member string // before a key of the document
	row    string // before a row of a list
	close  string // before the end of a list that has rows
	end    string // behind the last member of the document
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
		r.begin() // what came before the stream is not repeated behind it
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

// A jsonObject is how the rows of a section become JSON objects: its members
// with their keys prepared.
type jsonObject struct {
	section *Section
	members []jsonMember
	// spill takes what has been appended so far and returns a buffer to go on
	// with, so that nested rows of any number take constant memory.
	spill func([]byte) []byte
}

// A jsonMember is one column, or several that form an object of their own.
type jsonMember struct {
	key     string // quoted, without the colon
	hexKey  string // the same of KEY-hex, for KindImageText
	column  int
	members []jsonMember // of an object; column is then unused
}

func newJSONObject(s *Section, spill func([]byte) []byte) jsonObject {
	o := jsonObject{section: s, spill: spill}
	group := "" // the object that the last member is, while it can grow
	for i := range s.Columns {
		c := &s.Columns[i]
		if !c.Show.has(InJSON) {
			continue
		}
		prefix, name, grouped := strings.Cut(c.Key, ".")
		if !grouped {
			group = ""
			o.members = append(o.members, newJSONMember(c.Key, c.Kind, i))
			continue
		}
		if prefix != group {
			group = prefix
			o.members = append(o.members, jsonMember{key: strconv.Quote(prefix)})
		}
		last := &o.members[len(o.members)-1]
		last.members = append(last.members, newJSONMember(name, c.Kind, i))
	}
	return o
}

func newJSONMember(key string, kind Kind, column int) jsonMember {
	m := jsonMember{key: strconv.Quote(key), column: column}
	if kind == KindImageText {
		m.hexKey = strconv.Quote(key + "-hex")
	}
	return m
}

// appendObject appends a row as an object.
func (o *jsonObject) appendObject(dst []byte, row []Value) []byte {
	return append(o.append(append(dst, '{'), o.members, row, ",", ":"), '}')
}

// appendMembers appends the members of a row without braces.
func (o *jsonObject) appendMembers(dst []byte, row []Value) []byte {
	return o.append(dst, o.members, row, ",", ":")
}

// appendTopMembers appends the members of a row as members of the document.
func (o *jsonObject) appendTopMembers(dst []byte, row []Value, style jsonStyle) []byte {
	return o.append(dst, o.members, row, ","+style.member, style.colon)
}

// append appends members of a row.
func (o *jsonObject) append(dst []byte, members []jsonMember, row []Value, sep, colon string) []byte {
	for i := range members {
		m := &members[i]
		if i > 0 {
			dst = append(dst, sep...)
		}
		dst = append(append(dst, m.key...), colon...)
		switch {
		case m.members == nil:
			dst = o.appendValue(dst, &o.section.Columns[m.column], &row[m.column])
		case allNull(m.members, row):
			dst = append(dst, "null"...)
		default:
			dst = append(o.append(append(dst, '{'), m.members, row, ",", ":"), '}')
		}
		if m.hexKey != "" {
			dst = append(append(append(dst, sep...), m.hexKey...), colon...)
			dst = appendHexBytes(dst, &row[m.column])
		}
	}
	return dst
}

// allNull reports whether every member of an object is null.
func allNull(members []jsonMember, row []Value) bool {
	for i := range members {
		if !row[members[i].column].IsNull() {
			return false
		}
	}
	return true
}

// appendHexBytes appends all bytes of a text that is not valid UTF-8, in
// hexadecimal, and null for one that is.
func appendHexBytes(dst []byte, v *Value) []byte {
	if utf8.ValidString(v.str) {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, []byte(v.str))
	return append(dst, '"')
}

// appendValue appends a value as JSON.
func (o *jsonObject) appendValue(dst []byte, c *Column, v *Value) []byte {
	switch v.kind {
	case kindNull:
		return append(dst, "null"...)
	case KindBool:
		return strconv.AppendBool(dst, v.num != 0)
	case KindUint, KindSize, KindOffset, KindAddr, KindDuration:
		return strconv.AppendUint(dst, v.num, 10)
	case KindHex:
		return append(appendHex(append(dst, '"'), v.num), '"')
	case KindText, KindImageText:
		return appendJSONString(dst, v.str)
	case KindTime:
		return append(appendTime(append(dst, '"'), v.num), '"')
	case KindEnum:
		return appendJSONString(dst, c.Names[v.num])
	case KindFlags:
		return appendJSONNames(dst, c.Names, v.num)
	case KindBits:
		dst = appendHex(append(dst, `{"value":"`...), v.num)
		dst = appendJSONNames(append(dst, `","names":`...), c.Names, v.num)
		return append(dst, '}')
	case KindList:
		return appendJSONList(dst, v.ref.list)
	case KindRows:
		return appendJSONRows(dst, v.ref, o.spill)
	}
	panic("render: a value of column " + c.Key + " has no JSON")
}

func appendJSONNames(dst []byte, names []string, word uint64) []byte {
	dst = append(dst, '[')
	for first := true; word != 0; word &= word - 1 {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendJSONString(dst, names[bits.TrailingZeros64(word)])
	}
	return append(dst, ']')
}

func appendJSONList(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, s)
	}
	return append(dst, ']')
}

// appendJSONRows appends a nested section: an object for a LayoutSingle, else
// an array of objects.
func appendJSONRows(dst []byte, p *payload, spill func([]byte) []byte) []byte {
	object := newJSONObject(p.section, spill)
	if p.section.Layout == LayoutSingle {
		for row := range p.rows {
			p.section.check(row)
			return object.appendObject(dst, row)
		}
		return append(dst, "null"...)
	}
	dst = append(dst, '[')
	first := true
	for row := range p.rows {
		p.section.check(row)
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = spill(object.appendObject(dst, row))
	}
	return append(dst, ']')
}
