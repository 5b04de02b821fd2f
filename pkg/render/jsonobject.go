package render

import (
	"encoding/hex"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A jsonObject is how the rows of a section become JSON objects: its members
// with their keys prepared. Most of a listing is the same row after row: text
// holds what is, and pieces say which members stand between.
type jsonObject struct {
	section *Section
	members []jsonMember
	// spill takes what has been appended so far and returns a buffer to go on
	// with, so that nested rows of any number take constant memory.
	spill func([]byte) []byte

	rows   int
	text   []byte
	pieces []jsonPiece
	fixed  []jsonCell // the cells that text has
}

// A jsonMember is one column, or several that form an object of their own.
type jsonMember struct {
	key     string // quoted, without the colon
	hexKey  string // the same of KEY-hex, for KindImageText
	column  int
	members []jsonMember // of an object; column is then unused
	varies  bool         // lately, from row to row
}

// A jsonPiece is a piece of text and the member after it, which varies.
type jsonPiece struct{ end, member int }

// A jsonCell is a cell that has been the same in all rows lately.
type jsonCell struct {
	value  Value
	column int
	member int // that it belongs to
}

// forgetEvery is after how many rows a member that varied may be the same
// again: what comes first in a listing is not what most of it is.
const forgetEvery = 4096

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
	return append(o.appendMembers(append(dst, '{'), row), '}')
}

// appendMembers appends the members of a row without braces.
func (o *jsonObject) appendMembers(dst []byte, row []Value) []byte {
	if o.rows%forgetEvery == 0 || !o.knows(row) {
		o.learn(row)
	}
	o.rows++
	at := 0
	for _, p := range o.pieces {
		dst = append(dst, o.text[at:p.end]...)
		dst = o.appendMember(dst, &o.members[p.member], row, ",", ":")
		at = p.end
	}
	return append(dst, o.text[at:]...)
}

// knows reports whether a row has the cells that text has.
func (o *jsonObject) knows(row []Value) bool {
	for i := range o.fixed {
		if c := &o.fixed[i]; !row[c.column].same(&c.value) {
			return false
		}
	}
	return true
}

// learn makes text and pieces for a row and those that are like it. What is not
// as before varies, and what holds more than itself.
func (o *jsonObject) learn(row []Value) {
	for i := range o.fixed {
		if c := &o.fixed[i]; !row[c.column].same(&c.value) {
			o.members[c.member].varies = true
		}
	}
	o.text, o.pieces, o.fixed = o.text[:0], o.pieces[:0], o.fixed[:0]
	for i := range o.members {
		m := &o.members[i]
		m.varies = m.varies && o.rows%forgetEvery != 0 || m.holdsMore(row)
		if i > 0 {
			o.text = append(o.text, ',')
		}
		o.text = append(append(o.text, m.key...), ':')
		if m.varies {
			o.pieces = append(o.pieces, jsonPiece{len(o.text), i})
			continue
		}
		o.text = o.appendMember(o.text, m, row, ",", ":")
		for j := range m.members {
			o.fix(row, m.members[j].column, i)
		}
		if m.members == nil {
			o.fix(row, m.column, i)
		}
	}
}

// holdsMore reports whether a cell of a member holds more than itself.
func (m *jsonMember) holdsMore(row []Value) bool {
	for i := range m.members {
		if m.members[i].holdsMore(row) {
			return true
		}
	}
	return m.members == nil && row[m.column].ref != nil
}

// fix remembers a cell of a row, which belongs to a member.
func (o *jsonObject) fix(row []Value, column, member int) {
	o.fixed = append(o.fixed, jsonCell{row[column], column, member})
}

// appendTopMembers appends the members of a row as members of the document.
func (o *jsonObject) appendTopMembers(dst []byte, row []Value, style jsonStyle) []byte {
	return o.append(dst, o.members, row, ","+style.member, style.colon)
}

// append appends members of a row, with a separator between them.
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
	case m.members == nil:
		dst = o.appendValue(dst, &o.section.Columns[m.column], &row[m.column])
	case allNull(m.members, row):
		return append(dst, "null"...)
	default:
		return append(o.append(append(dst, '{'), m.members, row, ",", ":"), '}')
	}
	if m.hexKey != "" {
		dst = append(append(append(dst, sep...), m.hexKey...), colon...)
		dst = appendHexBytes(dst, &row[m.column])
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
