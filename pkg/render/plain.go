package render

import (
	"bytes"
	"io"
	"math/bits"
	"slices"
	"strconv"
)

// plainRenderer writes lines for grep, awk and diff: "key: value", or the
// section's own lines.
type plainRenderer struct {
	w       *writer
	above   []byte // the key of a nested document, and a dot
	section *Section
	row     int
	prefix  []byte // what the keys of the row begin with

	lines    Line
	template template
}

func (r *plainRenderer) Reset(w io.Writer, _ Options) {
	r.w.reset(w)
	*r = plainRenderer{w: r.w, prefix: r.prefix}
}

func (r *plainRenderer) Begin(d Document) {
	if d.Heading {
		r.line(appendEscaped(append(r.w.take(), "filename: "...), d.Filename))
	}
}

func (r *plainRenderer) Section(s *Section) { r.section, r.row = s, 0 }

func (r *plainRenderer) Row(row []Value) error {
	s := r.section
	s.check(row)
	if !s.Show.has(InPlain) {
		return nil
	}
	if s.Write != nil {
		return r.write(row)
	}
	if s.Line != nil {
		return r.line(s.Line(r.w.take(), row))
	}
	r.prefix = append(r.prefix[:0], r.above...)
	if s.Layout != LayoutSingle {
		r.prefix = rowPrefix(append(r.prefix, s.Key...), s, row, r.row)
	}
	r.row++
	return r.keys(r.prefix, s, row)
}

// write writes a row with the section's Write.
func (r *plainRenderer) write(row []Value) error {
	r.lines = Line{dst: r.w.take(), row: row, clusterBits: r.section.ClusterBits}
	r.section.Write(&r.lines)
	return r.line(r.lines.dst)
}

func (r *plainRenderer) Batch(b *Batch) error {
	s := r.section
	s.check(b.Row)
	if s.Write == nil || !s.Show.has(InPlain) || !r.template.begin(b) || !r.record(b.Row) {
		return b.each(r.Row)
	}
	return r.template.write(r.w, b, r.Row)
}

// record makes the line of a row the text of the template. It returns false if other
// rows of the batch have other lines.
func (r *plainRenderer) record(row []Value) bool {
	t, l := &r.template, &r.lines
	*l = Line{dst: t.text, row: row, clusterBits: r.section.ClusterBits, template: t}
	r.section.Write(l)
	t.text = append(l.dst, '\n')
	return !l.decided
}

func (r *plainRenderer) Incomplete() {}

func (r *plainRenderer) Lines(text func(dst []byte) []byte) error { return r.line(text(r.w.take())) }

func (r *plainRenderer) Flush() error { return r.w.flush() }

func (r *plainRenderer) End() error { return r.w.flush() }

// line puts back what was taken from the writer, and a newline.
func (r *plainRenderer) line(p []byte) error { return r.w.put(append(p, '\n')) }

// rowPrefix appends what names the n-th row of a list: ".label." or ".n.".
func rowPrefix(dst []byte, s *Section, row []Value, n int) []byte {
	dst = append(dst, '.')
	if i := s.column(s.Label); i >= 0 {
		dst = appendPlain(dst, &s.Columns[i], &row[i], 0)
	} else {
		dst = strconv.AppendInt(dst, int64(n), 10)
	}
	return append(dst, '.')
}

// keys writes a line for each value of a row. What a value holds has longer keys.
func (r *plainRenderer) keys(prefix []byte, s *Section, row []Value) error {
	for i := range s.Columns {
		c, v := &s.Columns[i], &row[i]
		if !c.Show.has(InPlain) || c.Key == s.Label && s.Label != "" {
			continue
		}
		if v.kind.isBelow() {
			if err := r.nested(append(slices.Clip(prefix), c.Key...), v.ref); err != nil {
				return err
			}
			continue
		}
		dst := append(append(r.w.take(), prefix...), c.Key...)
		if err := r.line(appendPlain(append(dst, ": "...), c, v, s.ClusterBits)); err != nil {
			return err
		}
	}
	return nil
}

// nested writes a document, or the rows of a section, under its key.
func (r *plainRenderer) nested(key []byte, p *payload) error {
	if p.show != nil {
		p.show(&plainRenderer{w: r.w, above: append(key, '.')})
		return r.w.err
	}
	n := 0
	for row := range p.rows {
		p.section.check(row)
		prefix := append(slices.Clip(key), '.')
		if p.section.Layout != LayoutSingle {
			prefix = rowPrefix(slices.Clip(key), p.section, row, n)
		}
		n++
		if err := r.keys(prefix, p.section, row); err != nil {
			return err
		}
	}
	return nil
}

// appendPlain appends a value as plain output shows it.
func appendPlain(dst []byte, c *Column, v *Value, clusterBits uint) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(dst, v.num != 0)
	case KindSize:
		return appendUint(dst, v.num)
	case KindFlags:
		if v.num == 0 {
			return append(dst, '-')
		}
		return appendNames(dst, c.Names, v.num, ",")
	case KindBits:
		dst = appendHex(dst, v.num)
		if v.num != 0 {
			dst = append(dst, ' ')
		}
		return appendNames(dst, c.Names, v.num, ",")
	case KindList:
		return appendList(dst, v.ref.list, ",")
	}
	return appendText(dst, c, v, clusterBits)
}

// appendText appends a value of a kind that tables and plain lines show alike.
func appendText(dst []byte, c *Column, v *Value, clusterBits uint) []byte {
	switch v.kind {
	case kindNull:
		return append(dst, '-')
	case KindUint:
		return appendUint(dst, v.num)
	case KindOffset, KindHex:
		return appendHex(dst, v.num)
	case KindAddr:
		return AppendAddr(dst, v.num, clusterBits)
	case KindText:
		return append(dst, v.str...)
	case KindImageText:
		if v.str == "-" { // not the same as none
			return append(dst, `\x2d`...)
		}
		return appendEscaped(dst, v.str)
	case KindTime:
		return appendTime(dst, v.num)
	case KindDuration:
		return appendDuration(dst, v.num)
	case KindEnum:
		return append(dst, c.Names[v.num]...)
	}
	panic("render: a value of column " + c.Key + " has no text")
}

// AppendNames appends the names of the bits that are set in word, as plain lines
// do: "a,b".
func AppendNames(dst []byte, names []string, word uint64) []byte {
	return appendNames(dst, names, word, ",")
}

// appendNames appends the names of the bits that are set, each as appendItem does.
func appendNames(dst []byte, names []string, word uint64, sep string) []byte {
	for first := true; word != 0; word &= word - 1 {
		if !first {
			dst = append(dst, sep...)
		}
		first = false
		dst = appendItem(dst, names[bits.TrailingZeros64(word)])
	}
	return dst
}

// appendList appends escaped strings, "-" if there are none.
func appendList(dst []byte, list []string, sep string) []byte {
	if len(list) == 0 {
		return append(dst, '-')
	}
	for i, s := range list {
		if i > 0 {
			dst = append(dst, sep...)
		}
		dst = appendItem(dst, s)
	}
	return dst
}

// appendItem appends a string of a list, escaped. A comma in the string is escaped
// too, because it would pass for the end of the item.
func appendItem(dst []byte, s string) []byte {
	start := len(dst)
	if dst = appendEscaped(dst, s); !slices.Contains(dst[start:], ',') {
		return dst
	}
	item := bytes.ReplaceAll(dst[start:], []byte(","), []byte(`\x2c`))
	return append(dst[:start], item...)
}
