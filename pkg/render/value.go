package render

import "iter"

// Kind says what a value is. A column declares the kind of its values, so that
// a value can be a bare number wherever the column knows the rest.
type Kind uint8

// The kinds, and how each is shown in a table, in plain lines and in JSON.
const (
	kindNull Kind = iota // "-", "-", null: allowed in every column

	KindBool      // yes · true · true
	KindUint      // 1234 · 1234 · 1234
	KindSize      // bytes: 64 KiB · 65536 · 65536
	KindOffset    // byte offset: 0x70 · 0x70 · 112
	KindAddr      // byte offset of a cluster: 0x30000 (#3) · 0x30000 (#3) · 196608
	KindHex       // word: 0xff · 0xff · "0xff"
	KindTime      // seconds since the epoch: RFC 3339 in UTC · the same · "…"
	KindDuration  // nanoseconds: 00:00:01.500000000 · the same · 1500000000
	KindEnum      // index into Column.Names: name · name · "name"
	KindFlags     // set of Column.Names: a, b · a,b · ["a","b"]
	KindBits      // feature word: a, b (0x3) · 0x3 a,b · {"value":"0x3","names":["a","b"]}
	KindText      // text of this program: as it is · as it is · "…"
	KindImageText // bytes of an image: escaped · escaped · "…", and KEY-hex
	KindList      // strings, perhaps of an image: a, b · a,b · ["a","b"]
	KindRows      // a section: drawn below · longer keys · array or object
	KindNested    // a document: drawn below · longer keys · object
)

// A Value is one cell. It is a small tagged union, after log/slog's: numbers
// and strings are held without an allocation. The zero Value is null: absent,
// or unknown.
type Value struct {
	kind Kind
	num  uint64
	str  string
	ref  *payload
}

// payload holds what values of rarer kinds need.
type payload struct {
	list    []string
	section *Section
	rows    iter.Seq[[]Value]
	show    func(Sections)
}

// Null is the absent value.
var Null Value

// Bool returns a value of KindBool.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Uint returns a value of KindUint.
func Uint(n uint64) Value { return Value{kind: KindUint, num: n} }

// Size returns a value of KindSize: n bytes.
func Size(n uint64) Value { return Value{kind: KindSize, num: n} }

// Offset returns a value of KindOffset: a position in bytes.
func Offset(n uint64) Value { return Value{kind: KindOffset, num: n} }

// Addr returns a value of KindAddr: a position in bytes, shown with the number
// of its cluster where the section has a cluster size.
func Addr(n uint64) Value { return Value{kind: KindAddr, num: n} }

// Hex returns a value of KindHex.
func Hex(n uint64) Value { return Value{kind: KindHex, num: n} }

// Text returns a value of KindText. s must not hold bytes of an image.
func Text(s string) Value { return Value{kind: KindText, str: s} }

// ImageText returns a value of KindImageText: arbitrary bytes from an image.
func ImageText(s string) Value { return Value{kind: KindImageText, str: s} }

// Time returns a value of KindTime: seconds since the epoch.
func Time(seconds uint64) Value { return Value{kind: KindTime, num: seconds} }

// Duration returns a value of KindDuration: nanoseconds.
func Duration(ns uint64) Value { return Value{kind: KindDuration, num: ns} }

// Enum returns a value of KindEnum: the i-th of the column's names.
func Enum(i uint64) Value { return Value{kind: KindEnum, num: i} }

// Flags returns a value of KindFlags: bit i stands for the column's i-th name.
func Flags(bits uint64) Value { return Value{kind: KindFlags, num: bits} }

// Bits returns a value of KindBits: bit i stands for the column's i-th name.
func Bits(word uint64) Value { return Value{kind: KindBits, num: word} }

// List returns a value of KindList. The strings may be bytes of an image.
func List(s []string) Value { return Value{kind: KindList, ref: &payload{list: s}} }

// Rows returns a value of KindRows: a section and its rows, which are pulled
// once, when the value is rendered. In JSON a [LayoutSingle] section is an object,
// a [LayoutList] an array of objects. The key is that of the column.
func Rows(s *Section, rows iter.Seq[[]Value]) Value {
	return Value{kind: KindRows, ref: &payload{section: s, rows: rows}}
}

// Nested returns a value of KindNested: a document without a schema and a file name.
// show writes it. It is called once, when the value is rendered; never, where a
// format leaves the column out; in a [LayoutSingle] section, before Row returns. In
// plain output the keys of the document follow that of the column and a dot. In JSON
// the document is an object. It is written as it comes, so it can have any length.
func Nested(show func(Sections)) Value {
	return Value{kind: KindNested, ref: &payload{show: show}}
}

// Num returns the number that a value holds, for a [Section]'s Line.
func (v *Value) Num() uint64 { return v.num }

// Str returns the text that a value holds, for a [Section]'s Line.
func (v *Value) Str() string { return v.str }

// SetNum replaces the number that a value holds; its kind stays. It is cheaper
// than a new value where a row differs from the one before in numbers alone.
func (v *Value) SetNum(n uint64) { v.num = n }

// same reports whether two values of a column are known to be the same. It does
// not look into payloads.
func (v *Value) same(u *Value) bool {
	return v.num == u.num && v.kind == u.kind && (v.kind < KindText || v.ref == nil && u.ref == nil && v.str == u.str)
}

// isBelow reports whether tables draw values of the kind below themselves.
func (k Kind) isBelow() bool { return k == KindRows || k == KindNested }

// isAbsent reports whether a table shows that nothing is there: "-" or "none".
func (v *Value) isAbsent() bool {
	switch v.kind {
	case kindNull:
		return true
	case KindFlags, KindBits:
		return v.num == 0
	case KindList:
		return len(v.ref.list) == 0
	}
	return false
}

// IsNull reports whether v is absent.
func (v *Value) IsNull() bool { return v.kind == kindNull }
