package render

import (
	"encoding/hex"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A jsonObject is how the rows of a section become JSON objects: its members
// with their keys prepared.
type jsonObject struct {
	section *Section
	members []jsonMember
	// spill takes what has been appended so far and returns a buffer to go on
	// with, so that nested rows of any number take constant memory.
	spill func([]byte) []byte
	// last is the text of the members of the last row, where it can be used
	// again: most of a listing is the same row after row.
	last    []byte
	scratch []byte
}

// A jsonMember is one column, or several that form an object of their own.
type jsonMember struct {
	key     string // quoted, without the colon
	hexKey  string // the same of KEY-hex, for KindImageText
	column  int
	members []jsonMember // of an object; column is then unused

	value    Value // in the last row
	at, size int   // where its text is in the last row
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
	return append(o.appendMembers(append(dst, '{'), row), '}')
}

// appendMembers appends the members of a row without braces. It changes the text
// of the last row where the values differ, and copies it.
func (o *jsonObject) appendMembers(dst []byte, row []Value) []byte {
	if len(o.last) == 0 {
		return o.learn(dst, row)
	}
	for i := range o.members {
		m := &o.members[i]
		if m.members != nil {
			if !m.same(row) {
				return o.learn(dst, row)
			}
			continue
		}
		v := &row[m.column]
		if v.same(&m.value) {
			continue
		}
		if v.ref != nil || m.hexKey != "" {
			return o.learn(dst, row)
		}
		m.value = *v
		o.scratch = o.appendValue(o.scratch[:0], &o.section.Columns[m.column], v)
		o.replace(i, o.scratch)
	}
	return append(dst, o.last...)
}

// replace replaces the text of the i-th member in the last row.
func (o *jsonObject) replace(i int, text []byte) {
	m := &o.members[i]
	if moved := len(text) - m.size; moved != 0 {
		o.last = slices.Replace(o.last, m.at, m.at+m.size, text...)
		m.size = len(text)
		for k := range o.members[i+1:] {
			o.members[i+1+k].at += moved
		}
		return
	}
	copy(o.last[m.at:], text)
}

// learn appends the members of a row, and remembers them for the next unless
// one of them holds more than itself.
func (o *jsonObject) learn(dst []byte, row []Value) []byte {
	o.last = o.last[:0]
	for i := range row {
		if row[i].ref != nil {
			return o.append(dst, o.members, row, ",", ":", false)
		}
	}
	base := len(dst)
	for i := range o.members {
		m := &o.members[i]
		m.at = len(dst) - base + len(m.key) + len(":")
		if i > 0 {
			m.at += len(",")
		}
		dst = o.append(dst, o.members[i:i+1], row, ",", ":", i > 0)
		m.size = len(dst) - base - m.at
		m.value = row[m.column]
		for j := range m.members {
			m.members[j].value = row[m.members[j].column]
		}
	}
	o.last = append(o.last, dst[base:]...)
	return dst
}

// same reports whether the members of an object are as in the last row.
func (m *jsonMember) same(row []Value) bool {
	for i := range m.members {
		if m := &m.members[i]; !row[m.column].same(&m.value) {
			return false
		}
	}
	return true
}

// appendTopMembers appends the members of a row as members of the document.
func (o *jsonObject) appendTopMembers(dst []byte, row []Value, style jsonStyle) []byte {
	return o.append(dst, o.members, row, ","+style.member, style.colon, false)
}

// append appends members of a row, with a separator between them, and one in
// front if they are not the first.
func (o *jsonObject) append(dst []byte, members []jsonMember, row []Value, sep, colon string, more bool) []byte {
	for i := range members {
		m := &members[i]
		if more || i > 0 {
			dst = append(dst, sep...)
		}
		dst = append(append(dst, m.key...), colon...)
		switch {
		case m.members == nil:
			dst = o.appendValue(dst, &o.section.Columns[m.column], &row[m.column])
		case allNull(m.members, row):
			dst = append(dst, "null"...)
		default:
			dst = append(o.append(append(dst, '{'), m.members, row, ",", ":", false), '}')
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
