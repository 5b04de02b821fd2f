package render

import (
	"encoding/hex"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A jsonObject makes JSON objects of the rows of a section. Its members have
// their keys prepared. Consecutive rows of a listing differ in a few members: the
// others stand in a template.
type jsonObject struct {
	section  *Section
	members  []jsonMember
	out      *jsonRenderer // where rows go
	rows     int
	template jsonTemplate
	holes    *template // of a batch that is being recorded
}

// A jsonMember is one column, or several that form an object of their own.
type jsonMember struct {
	key      string // quoted, without the colon
	hexKey   string // the same of KEY-hex, for KindImageText
	column   int
	members  []jsonMember // of an object; column is then unused
	constant bool         // the same in all rows lately
}

// A jsonTemplate is the text of a row. It has a gap for each member that is not
// constant.
type jsonTemplate struct {
	text  []byte
	gaps  []jsonGap
	cells []jsonCell // those that text has
}

// A jsonGap is where in the text of a template a member is missing.
type jsonGap struct{ at, member int }

// A jsonCell is a cell of a constant member.
type jsonCell struct {
	value  Value
	column int
	member int
}

// rebuildEvery is the number of rows after which every member can be constant
// again: the first rows of a listing may differ from most of it.
const rebuildEvery = 4096

func newJSONObject(s *Section, out *jsonRenderer) jsonObject {
	o := jsonObject{section: s, out: out}
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
	return append(o.appendMembers(append(dst, '{'), row), '}')
}

// appendMembers appends the members of a row without braces.
func (o *jsonObject) appendMembers(dst []byte, row []Value) []byte {
	t := &o.template
	if o.rows%rebuildEvery == 0 || !t.fits(row) {
		o.rebuild(row)
	}
	o.rows++
	at := 0
	for _, g := range t.gaps {
		dst = append(dst, t.text[at:g.at]...)
		dst = o.appendMember(dst, &o.members[g.member], row, ",", ":")
		at = g.at
	}
	return append(dst, t.text[at:]...)
}

// record makes the members of the rows of a batch the text of a template, whose rows
// have the row's cells where they do not differ. It returns false if they differ in
// other things than numbers.
func (o *jsonObject) record(t *template, row []Value) bool {
	for i, numbers := range t.numbers {
		if numbers != nil && !isJSONNumber(row[i].kind) {
			return false
		}
	}
	o.holes = t
	t.text = o.append(t.text, o.members, row, ",", ":")
	o.holes = nil
	return true
}

// isJSONNumber reports whether values of the kind are digits in JSON.
func isJSONNumber(k Kind) bool {
	switch k {
	case KindUint, KindSize, KindOffset, KindAddr, KindDuration, KindHex:
		return true
	}
	return false
}

// isHole reports whether the rows that are being recorded differ in a column.
func (o *jsonObject) isHole(column int) bool { return o.holes != nil && o.holes.differs(column) }

// addJSON adds a hole for a number behind dst, which is the text, and returns the text.
func (t *template) addJSON(dst []byte, column int, kind Kind) []byte {
	if t.text = dst; kind != KindHex {
		t.add(column, KindUint, 0, 0)
		return t.text
	}
	t.text = append(t.text, '"')
	t.add(column, KindHex, 0, 0)
	return append(t.text, '"')
}

// fits reports whether a row has the cells that the template has.
func (t *jsonTemplate) fits(row []Value) bool {
	for i := range t.cells {
		if c := &t.cells[i]; !row[c.column].same(&c.value) {
			return false
		}
	}
	return true
}

// rebuild makes the template for a row and those that are like it. A member whose
// cells differ from those before is not constant any more.
func (o *jsonObject) rebuild(row []Value) {
	t := &o.template
	for i := range t.cells {
		if c := &t.cells[i]; !row[c.column].same(&c.value) {
			o.members[c.member].constant = false
		}
	}
	t.text, t.gaps, t.cells = t.text[:0], t.gaps[:0], t.cells[:0]
	for i := range o.members {
		m := &o.members[i]
		m.constant = (m.constant || o.rows%rebuildEvery == 0) && !m.hasPayload(row)
		if i > 0 {
			t.text = append(t.text, ',')
		}
		t.text = append(append(t.text, m.key...), ':')
		if !m.constant {
			t.gaps = append(t.gaps, jsonGap{len(t.text), i})
			continue
		}
		t.text = o.appendMember(t.text, m, row, ",", ":")
		for j := range m.members {
			t.keep(row, m.members[j].column, i)
		}
		if m.members == nil {
			t.keep(row, m.column, i)
		}
	}
}

// keep remembers a cell of a row, which belongs to a member.
func (t *jsonTemplate) keep(row []Value, column, member int) {
	t.cells = append(t.cells, jsonCell{row[column], column, member})
}

// hasPayload reports whether a cell of a member has one.
func (m *jsonMember) hasPayload(row []Value) bool {
	for i := range m.members {
		if m.members[i].hasPayload(row) {
			return true
		}
	}
	return m.members == nil && row[m.column].ref != nil
}

// appendTopMembers appends the members of a row as members of the document.
func (o *jsonObject) appendTopMembers(dst []byte, row []Value, style jsonStyle) []byte {
	return o.append(dst, o.members, row, ","+style.member, style.colon)
}

// append appends members of a row, with sep between them.
func (o *jsonObject) append(dst []byte, members []jsonMember, row []Value, sep, colon string) []byte {
	for i := range members {
		if i > 0 {
			dst = append(dst, sep...)
		}
		dst = append(append(dst, members[i].key...), colon...)
		dst = o.appendMember(dst, &members[i], row, sep, colon)
	}
	return dst
}

// appendMember appends what stands after the key of a member and before the
// next separator.
func (o *jsonObject) appendMember(dst []byte, m *jsonMember, row []Value, sep, colon string) []byte {
	switch {
	case m.members == nil && o.isHole(m.column):
		return o.holes.addJSON(dst, m.column, row[m.column].kind)
	case m.members == nil:
		dst = o.appendValue(dst, &o.section.Columns[m.column], &row[m.column])
	case allNull(m.members, row):
		return append(dst, "null"...)
	default:
		return append(o.append(append(dst, '{'), m.members, row, ",", ":"), '}')
	}
	if m.hexKey != "" {
		dst = append(append(append(dst, sep...), m.hexKey...), colon...)
		dst = appendHexBytes(dst, row[m.column].str)
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

// appendHexBytes appends the bytes of a text in hexadecimal, or null if the text is
// valid UTF-8.
func appendHexBytes(dst []byte, s string) []byte {
	if utf8.ValidString(s) {
		return append(dst, "null"...)
	}
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, []byte(s))
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
		return appendUint(dst, v.num)
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
		return o.appendRows(dst, v.ref)
	case KindNested:
		return o.out.appendDocument(dst, v.ref.show)
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

// appendRows appends the rows of a section: an object for a LayoutSingle, else an
// array of objects.
func (o *jsonObject) appendRows(dst []byte, p *payload) []byte {
	object := newJSONObject(p.section, o.out)
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
		dst = o.out.spill(object.appendObject(dst, row))
	}
	return append(dst, ']')
}
