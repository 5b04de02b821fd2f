package render

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// facts declares a section of facts with nested ones.
func facts(layout Layout, label string) *Section {
	return &Section{Key: "list", Layout: layout, Label: label, ClusterBits: testClusterBits, Columns: []Column{
		{Key: "name", Title: "NAME", Kind: KindImageText},
		{Key: "size", Title: "SIZE", Kind: KindSize},
		{Key: "l1-table.offset", Title: "L1", Kind: KindAddr},
		{Key: "nested", Kind: KindRows},
	}}
}

// nestedRows returns rows of one number each.
func nestedRows(layout Layout, label string, numbers ...uint64) Value {
	s := &Section{Key: "ignored", Layout: layout, Label: label, Columns: []Column{
		{Key: "n", Kind: KindUint}, {Key: "hex", Kind: KindHex},
	}}
	return Rows(s, func(yield func([]Value) bool) {
		for _, n := range numbers {
			if !yield([]Value{Uint(n), Hex(n)}) {
				return
			}
		}
	})
}

func TestPlain(t *testing.T) {
	tests := []struct {
		name    string
		section *Section
		rows    [][]Value
		want    string
	}{
		{"facts", facts(LayoutSingle, ""),
			[][]Value{{ImageText("a"), Size(65536), Addr(0x30000), nestedRows(LayoutSingle, "", 5)}},
			"name: a\nsize: 65536\nl1-table.offset: 0x30000 (#3)\nnested.n: 5\nnested.hex: 0x5\n"},
		{"null", facts(LayoutSingle, ""), [][]Value{{Null, Null, Null, Null}},
			"name: -\nsize: -\nl1-table.offset: -\nnested: -\n"},
		{"escaped", facts(LayoutSingle, ""), [][]Value{{ImageText("a\nsize: 1\x1b\\\xff"), Null, Null, Null}},
			`name: a\nsize: 1\x1b\\\xff` + "\nsize: -\nl1-table.offset: -\nnested: -\n"},
		{"no facts", facts(LayoutSingle, ""), nil, ""},
		{"rows by index", facts(LayoutList, ""),
			[][]Value{{ImageText("a"), Size(1), Null, Null}, {ImageText("b"), Size(2), Null, Null}},
			"list.0.name: a\nlist.0.size: 1\nlist.0.l1-table.offset: -\nlist.0.nested: -\n" +
				"list.1.name: b\nlist.1.size: 2\nlist.1.l1-table.offset: -\nlist.1.nested: -\n"},
		{"rows by label", facts(LayoutList, "name"),
			[][]Value{{ImageText("a"), Size(1), Null, Null}, {ImageText("b\n"), Size(2), Null, Null}},
			"list.a.size: 1\nlist.a.l1-table.offset: -\nlist.a.nested: -\n" +
				`list.b\n.size: 2` + "\n" + `list.b\n.l1-table.offset: -` + "\n" + `list.b\n.nested: -` + "\n"},
		{"nested rows by index", facts(LayoutList, "name"),
			[][]Value{{ImageText("a"), Size(1), Null, nestedRows(LayoutList, "", 7, 8)}},
			"list.a.size: 1\nlist.a.l1-table.offset: -\n" +
				"list.a.nested.0.n: 7\nlist.a.nested.0.hex: 0x7\nlist.a.nested.1.n: 8\nlist.a.nested.1.hex: 0x8\n"},
		{"nested rows by label", facts(LayoutList, ""),
			[][]Value{{ImageText("a"), Size(1), Null, nestedRows(LayoutList, "n", 7, 8)}},
			"list.0.name: a\nlist.0.size: 1\nlist.0.l1-table.offset: -\n" +
				"list.0.nested.7.hex: 0x7\nlist.0.nested.8.hex: 0x8\n"},
		{"no nested rows", facts(LayoutSingle, ""), [][]Value{{Null, Null, Null, nestedRows(LayoutList, "")}},
			"name: -\nsize: -\nl1-table.offset: -\n"},
		{"stream", facts(LayoutStream, "name"), [][]Value{{ImageText("a"), Null, Null, Null}},
			"list.a.size: -\nlist.a.l1-table.offset: -\nlist.a.nested: -\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkOutput(t, tt.want, output(t, FormatPlain, Options{}, part{tt.section, tt.rows}))
		})
	}
}

// Rows are numbered anew in each section.
func TestPlainSections(t *testing.T) {
	s := &Section{Key: "a", Layout: LayoutList, Columns: []Column{{Key: "n", Kind: KindUint}}}
	other := *s
	other.Key = "b"
	rows := [][]Value{{Uint(5)}, {Uint(6)}}
	checkOutput(t, "a.0.n: 5\na.1.n: 6\nb.0.n: 5\nb.1.n: 6\n",
		output(t, FormatPlain, Options{}, part{s, rows}, part{&other, rows}))
}

func TestPlainLine(t *testing.T) {
	for _, layout := range []Layout{LayoutSingle, LayoutList, LayoutStream} {
		s := guestSection()
		s.Layout = layout
		checkOutput(t, "0x0 (#0): 0x50000 (#5)\n0x10000 (#1): 0x60000 (#6)\n",
			output(t, FormatPlain, Options{}, part{s, guestRows(2)}))
	}
}

// More lines than the buffer takes come out whole and in order.
func TestPlainManyLines(t *testing.T) {
	const rows = 20_000
	var want strings.Builder
	var line []byte
	for _, row := range guestRows(rows) {
		line = append(guestLine(line[:0], row), '\n')
		want.Write(line)
	}
	got := output(t, FormatPlain, Options{}, part{guestSection(), guestRows(rows)})
	if got != want.String() {
		t.Errorf("%d bytes of %d rows differ from %d wanted", len(got), rows, want.Len())
	}
}

func TestPlainHeading(t *testing.T) {
	s := &Section{Columns: []Column{{Key: "k", Kind: KindUint}}}
	var b strings.Builder
	r := New(FormatPlain, &b, Options{})
	for _, d := range []Document{
		{Filename: "a\x1b.qcow2", Heading: true}, {Filename: "hidden"}, {Filename: "b.qcow2", Heading: true},
	} {
		if err := writeDocument(r, d, part{s, [][]Value{{Uint(1)}}}); err != nil {
			t.Fatal(err)
		}
	}
	checkOutput(t, `filename: a\x1b.qcow2`+"\nk: 1\nk: 1\nfilename: b.qcow2\nk: 1\n", b.String())
}

// Nothing of an image can look like a line of its own, or move the cursor.
func TestPlainIsPrintable(t *testing.T) {
	evil := "\n\r\t\x1b[2J\x00\u202e\u2028\xff"
	s := &Section{Key: "list", Layout: LayoutList, Label: "label", Columns: []Column{
		{Key: "label", Kind: KindImageText},
		{Key: "text", Kind: KindImageText},
		{Key: "list", Kind: KindList},
		{Key: "flags", Kind: KindFlags, Names: []string{evil}},
		{Key: "bits", Kind: KindBits, Names: []string{evil}},
	}}
	row := []Value{ImageText(evil), ImageText(evil), List([]string{evil, evil}), Flags(1), Bits(1)}
	for _, f := range []Format{FormatTable, FormatPlain} {
		out := output(t, f, Options{}, part{s, slices.Repeat([][]Value{row}, 2)})
		if i := strings.IndexAny(out, "\r\t\x1b\x00\u202e\u2028"); i >= 0 || !utf8.ValidString(out) {
			t.Errorf("%s: an unescaped character in the output: %q", f, out)
		}
		if got, want := strings.Count(out, "\n"), map[Format]int{FormatTable: 6, FormatPlain: 8}[f]; got != want {
			t.Errorf("%s: %d lines, want %d:\n%s", f, got, want, out)
		}
	}
}
