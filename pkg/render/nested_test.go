package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// shows returns a function that writes parts, as a command writes its document.
func shows(parts ...part) func(Sections) {
	return func(r Sections) {
		for _, p := range parts {
			r.Section(p.section)
			for _, row := range p.rows {
				if r.Row(row) != nil {
					return
				}
			}
		}
	}
}

// nestedColumn declares a column that holds documents.
func nestedColumn(key string) Column { return Column{Key: key, Kind: KindNested} }

// checkDocument returns the parts of a document as a command could write it:
// facts, a list, and a stream.
func checkDocument() []part {
	n, k := Column{Key: "n", Title: "N", Kind: KindUint}, Column{Key: "k", Title: "K", Kind: KindText}
	return []part{
		{&Section{Title: "Facts", Columns: []Column{n, k}}, [][]Value{{Uint(1), Text("a")}}},
		{&Section{Key: "list", Title: "List", Layout: LayoutList, Columns: []Column{n}}, [][]Value{{Uint(2)}, {Uint(3)}}},
		{&Section{Key: "none", Title: "None", Layout: LayoutList, Empty: "nothing", Columns: []Column{n}}, nil},
		{&Section{Key: "stream", Title: "Stream", Layout: LayoutStream, Columns: []Column{k}}, [][]Value{{Text("b")}}},
		{&Section{Columns: []Column{{Key: "last", Title: "Last", Kind: KindBool}}}, [][]Value{{Bool(true)}}},
	}
}

const (
	checkMembers = `"n":1,"k":"a","list":[{"n":2},{"n":3}],"none":[],"stream":[{"k":"b"}],"last":true`
	checkLines   = "n: 1\nk: a\nlist.0.n: 2\nlist.1.n: 3\nstream.0.k: b\nlast: true\n"
)

// prefixed returns lines that each begin with a prefix.
func prefixed(prefix, lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString(prefix + line)
	}
	return b.String()
}

// A document under a key has the members, lines and tables that it has alone.
func TestNestedDocument(t *testing.T) {
	facts := single([]Value{Uint(7)}, column("before", KindUint))
	document := single([]Value{Nested(shows(checkDocument()...))}, nestedColumn("check"))
	after := list([][]Value{{Uint(8)}}, column("n", KindUint))
	parts := []part{facts, document, after}

	want := `{"schema":"s/1","filename":"a.qcow2","filename-hex":null,"before":7,"check":{` + checkMembers + `},"list":[{"n":8}]}`
	checkOutput(t, want+"\n", output(t, FormatNDJSON, Options{}, parts...))
	checkOutput(t, want, compact(t, output(t, FormatJSON, Options{}, parts...)))
	checkOutput(t, "before: 7\n"+prefixed("check.", checkLines)+"list.0.n: 8\n", output(t, FormatPlain, Options{}, parts...))
	flat := append(append([]part{facts}, checkDocument()...), after)
	checkOutput(t, output(t, FormatTable, Options{}, flat...), output(t, FormatTable, Options{}, parts...))
}

// On a page a nested document has a line.
func TestNestedDocumentLooks(t *testing.T) {
	checkOutput(t, `{
  "schema": "s/1",
  "filename": "a.qcow2",
  "filename-hex": null,
  "check": {`+checkMembers+`},
  "n": 1
}
`, output(t, FormatJSON, Options{},
		single([]Value{Nested(shows(checkDocument()...))}, nestedColumn("check")), single([]Value{Uint(1)}, column("n", KindUint))))
}

// A row of a listing can hold a document, and a document another.
func TestNestedInRows(t *testing.T) {
	inner := part{&Section{Key: "images", Layout: LayoutStream, Label: "name", Columns: []Column{
		{Key: "name", Title: "NAME", Kind: KindText}, nestedColumn("check"), {Key: "n", Title: "N", Kind: KindUint},
	}}, [][]Value{
		{Text("a"), Nested(shows(checkDocument()...)), Uint(1)},
		{Text("b"), Nested(shows()), Uint(2)},
		{Text("c"), Null, Uint(3)},
	}}
	rows := []string{
		`"name":"a","check":{` + checkMembers + `},"n":1`,
		`"name":"b","check":{},"n":2`,
		`"name":"c","check":null,"n":3`,
	}
	array := "[{" + strings.Join(rows, "},{") + "}]"
	lines := prefixed("images.a.check.", checkLines) + "images.a.n: 1\nimages.b.n: 2\nimages.c.check: -\nimages.c.n: 3\n"

	checkOutput(t, `{"schema":"s/1","filename":"a.qcow2","filename-hex":null,"images":`+array+`}`, compact(t, output(t, FormatJSON, Options{}, inner)))
	var want strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&want, "{\"filename\":\"a.qcow2\",%s}\n", row)
	}
	checkOutput(t, want.String()+`{"schema":"s/1","filename":"a.qcow2","filename-hex":null}`+"\n", output(t, FormatNDJSON, Options{}, inner))
	checkOutput(t, lines, output(t, FormatPlain, Options{}, inner))

	outer := single([]Value{Nested(shows(inner))}, nestedColumn("scan"))
	deep := `{"schema":"s/1","filename":"a.qcow2","filename-hex":null,"scan":{"images":` + array + `}}`
	checkOutput(t, deep+"\n", output(t, FormatNDJSON, Options{}, outer))
	checkOutput(t, deep, compact(t, output(t, FormatJSON, Options{}, outer)))
	checkOutput(t, prefixed("scan.", lines), output(t, FormatPlain, Options{}, outer))
	checkOutput(t, output(t, FormatTable, Options{}, inner), output(t, FormatTable, Options{}, outer))
}

// Who shows a document under a key learns at once what came of it.
func TestNestedDocumentIsShownAtOnce(t *testing.T) {
	for _, f := range AllFormats() {
		r := New(f, &strings.Builder{}, Options{})
		r.Begin(testDocument)
		r.Section(&Section{Columns: []Column{nestedColumn("check")}})
		shown := 0
		if err := r.Row([]Value{Nested(func(Sections) { shown++ })}); err != nil || shown != 1 {
			t.Errorf("%s: after Row the document was shown %d times, error %v", f, shown, err)
		}
		if err := r.End(); err != nil || shown != 1 {
			t.Errorf("%s: after End the document was shown %d times, error %v", f, shown, err)
		}
	}
}

// A format that leaves a document out does not make it.
func TestNestedDocumentLeftOut(t *testing.T) {
	for mask, want := range masks() {
		var made []Format
		for _, f := range AllFormats() {
			show := func(Sections) { made = append(made, f) }
			s := &Section{Columns: []Column{{Key: "k", Kind: KindNested, Show: mask}, {Key: "n", Title: "N", Kind: KindUint}}}
			output(t, f, Options{}, part{s, [][]Value{{Nested(show), Uint(1)}}})
		}
		if got := fmt.Sprint(made); got != want {
			t.Errorf("with mask %03b made in %s, want %s", mask, got, want)
		}
	}
}

// A nested document of any length takes no more memory than the buffer, wherever
// it stands.
func TestNestedDocumentStreams(t *testing.T) {
	for _, f := range AllFormats() {
		for name, declare := range map[string]func(Value) part{
			"under a key": func(v Value) part { return single([]Value{v}, nestedColumn("k")) },
			"in a row":    func(v Value) part { return list([][]Value{{v}}, nestedColumn("k")) },
			"in another": func(v Value) part {
				return single([]Value{Nested(shows(single([]Value{v}, nestedColumn("k"))))}, nestedColumn("k"))
			},
		} {
			w := &fullWriter{room: 1 << 30}
			written := 0
			show := func(r Sections) {
				r.Section(&Section{Key: "rows", Layout: LayoutStream, Columns: []Column{{Key: "n", Title: "N", Kind: KindUint}}})
				for range 2 * bufferSize / len("1\n") {
					r.Row([]Value{Uint(1)})
				}
				written = w.got
			}
			if err := writeDocument(New(f, w, Options{}), testDocument, declare(Nested(show))); err != nil {
				t.Fatal(err)
			}
			if written < bufferSize {
				t.Errorf("%s, %s: %d bytes written when the last row of %d bytes came, want %d at least", f, name, written, w.got, bufferSize)
			}
		}
	}
}

// A write error inside of a nested document is one of the row that holds it.
func TestNestedWriteError(t *testing.T) {
	for _, f := range AllFormats() {
		p := part{guestSection(), guestRows(2000)}
		r := New(f, &fullWriter{room: 1000}, Options{})
		r.Begin(testDocument)
		r.Section(&Section{Columns: []Column{nestedColumn("k")}})
		if err := r.Row([]Value{Nested(shows(p))}); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v, want %v", f, err, errFull)
		}
	}
}

// Where rows are missing nobody can say that there are none.
func TestIncomplete(t *testing.T) {
	s := &Section{Key: "list", Title: "List", Layout: LayoutList, Empty: "nothing", Columns: []Column{{Key: "n", Title: "N", Kind: KindUint}}}
	write := func(f Format, incomplete bool, rows ...[]Value) string {
		var b strings.Builder
		r := New(f, &b, Options{})
		r.Begin(testDocument)
		r.Section(s)
		if incomplete {
			r.Incomplete()
		}
		shows(part{s, nil})(r) // the next section is complete
		for _, row := range rows {
			r.Row(row)
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const none, one = "List\nnothing\n", "List\n┌───┐\n│ N │\n├───┤\n│ 1 │\n└───┘\n"
	checkOutput(t, none+"\n"+none, write(FormatTable, false))
	checkOutput(t, none, write(FormatTable, true))
	checkOutput(t, one, write(FormatTable, true, []Value{Uint(1)}))
	for _, f := range []Format{FormatPlain, FormatJSON, FormatNDJSON} {
		checkOutput(t, write(f, false), write(f, true))
	}
}

// Lines are for plain output alone, wherever they come.
func TestLines(t *testing.T) {
	s := &Section{Key: "list", Layout: LayoutStream, Columns: []Column{{Key: "n", Title: "N", Kind: KindUint}}}
	write := func(f Format, lines bool) string {
		var b strings.Builder
		r := New(f, &b, Options{})
		text := func(dst []byte) []byte { return append(dst, "two\nlines"...) }
		say := func() {
			if lines {
				if err := r.Lines(text); err != nil {
					t.Errorf("%s: %v", f, err)
				}
			}
		}
		r.Begin(testDocument)
		say()
		r.Section(s)
		say()
		for n := range uint64(2) {
			r.Row([]Value{Uint(n)})
			say()
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const said = "two\nlines\n"
	checkOutput(t, said+said+"list.0.n: 0\n"+said+"list.1.n: 1\n"+said, write(FormatPlain, true))
	for _, f := range []Format{FormatTable, FormatJSON, FormatNDJSON} {
		checkOutput(t, write(f, false), write(f, true))
	}
}

func TestLinesReturnWriteError(t *testing.T) {
	r := New(FormatPlain, &fullWriter{}, Options{})
	r.Begin(testDocument)
	long := slices.Repeat([]byte("x"), bufferSize)
	if err := r.Lines(func(dst []byte) []byte { return append(dst, long...) }); !errors.Is(err, errFull) {
		t.Errorf("error %v, want %v", err, errFull)
	}
}
