package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// compact returns JSON without white space, and with it the proof that it is
// valid: order and double keys, which decoding would hide, stay.
func compact(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		t.Errorf("%v in:\n%s", err, s)
	}
	return b.String()
}

// column declares what JSON needs of a column.
func column(key string, kind Kind) Column {
	return Column{Key: key, Title: key, Kind: kind, Names: []string{"dirty", "corrupt", "a\"b"}}
}

// single returns a section of one row; without a key it is a document's own.
func single(row []Value, columns ...Column) part {
	return part{&Section{Columns: columns}, [][]Value{row}}
}

// list returns a list under the key "list".
func list(rows [][]Value, columns ...Column) part {
	return part{&Section{Key: "list", Layout: LayoutList, Columns: columns}, rows}
}

// nestedIn returns nested rows of the columns.
func nestedIn(layout Layout, rows [][]Value, columns ...Column) Value {
	return Rows(&Section{Key: "ignored", Layout: layout, Columns: columns}, slices.Values(rows))
}

type jsonTest struct {
	name  string
	parts []part
	want  string // after the file name
}

// jsonTests are documents without streams, so that json and ndjson have the
// same structure.
func jsonTests() []jsonTest {
	n, s := column("n", KindUint), column("s", KindText)
	offset, entries := column("l1.offset", KindAddr), column("l1.entries", KindUint)
	name, rows := column("name", KindImageText), column("rows", KindRows)
	two := [][]Value{{Uint(1), Text("a")}, {Uint(2), Text("b")}}
	return []jsonTest{
		{"nothing", nil, ``},
		{"flat", []part{single([]Value{Uint(1), Text("a")}, n, s)}, `,"n":1,"s":"a"`},
		{"flat without a row", []part{{&Section{Columns: []Column{n}}, nil}}, ``},
		{"two flat sections", []part{single([]Value{Uint(1)}, n), single([]Value{Text("a")}, s)}, `,"n":1,"s":"a"`},
		{"object", []part{single([]Value{Uint(1), Addr(65536), Uint(2), Text("a")}, n, offset, entries, s)},
			`,"n":1,"l1":{"offset":65536,"entries":2},"s":"a"`},
		{"object with a null member", []part{single([]Value{Null, Uint(2)}, offset, entries)}, `,"l1":{"offset":null,"entries":2}`},
		{"object of nulls", []part{single([]Value{Uint(1), Null, Null, Null}, n, offset, entries, s)}, `,"n":1,"l1":null,"s":null`},
		{"object of one member", []part{single([]Value{Text("luks")}, column("encrypt.format", KindText))}, `,"encrypt":{"format":"luks"}`},
		{"two objects", []part{single([]Value{Uint(1), Uint(2)}, entries, column("l2.entries", KindUint))},
			`,"l1":{"entries":1},"l2":{"entries":2}`},
		{"image text", []part{single([]Value{ImageText("a\nb"), Text("c")}, name, s)}, `,"name":"a\u000ab","name-hex":null,"s":"c"`},
		{"image text that is not valid", []part{single([]Value{ImageText("a\xff\xc3"), Text("c")}, name, s)},
			`,"name":"a` + "\ufffd\ufffd" + `","name-hex":"61ffc3","s":"c"`},
		{"no image text", []part{single([]Value{Null}, name)}, `,"name":null,"name-hex":null`},
		{"image text in an object", []part{single([]Value{ImageText("\xff")}, column("o.name", KindImageText))},
			`,"o":{"name":"` + "\ufffd" + `","name-hex":"ff"}`},
		{"no image text in an object", []part{single([]Value{Null}, column("o.name", KindImageText))}, `,"o":null`},
		{"list", []part{list(two, n, s)}, `,"list":[{"n":1,"s":"a"},{"n":2,"s":"b"}]`},
		{"empty list", []part{list(nil, n, s)}, `,"list":[]`},
		{"list of objects", []part{list([][]Value{{Null, Null}, {Addr(5), Null}}, offset, entries)},
			`,"list":[{"l1":null},{"l1":{"offset":5,"entries":null}}]`},
		{"list of image texts", []part{list([][]Value{{ImageText("\xff")}, {ImageText("")}}, name)},
			`,"list":[{"name":"` + "\ufffd" + `","name-hex":"ff"},{"name":"","name-hex":null}]`},
		{"flat before and after lists", []part{single([]Value{Uint(1)}, n), list(nil, n), single([]Value{Text("a")}, s),
			{&Section{Key: "errors", Layout: LayoutList, Columns: []Column{n}}, [][]Value{{Uint(3)}}}},
			`,"n":1,"list":[],"s":"a","errors":[{"n":3}]`},
		{"strings", []part{single([]Value{List([]string{"a", "\xff\n"}), List(nil), Null},
			column("a", KindList), column("b", KindList), column("c", KindList))},
			`,"a":["a","` + "\ufffd" + `\u000a"],"b":[],"c":null`},
		{"words", []part{single([]Value{Flags(5), Flags(0), Bits(3), Bits(0)},
			column("a", KindFlags), column("b", KindFlags), column("c", KindBits), column("d", KindBits))},
			`,"a":["dirty","a\"b"],"b":[],"c":{"value":"0x3","names":["dirty","corrupt"]},"d":{"value":"0x0","names":[]}`},
		{"nested object", []part{single([]Value{nestedIn(LayoutSingle, two[:1], n, s), Uint(9)}, rows, column("last", KindUint))},
			`,"rows":{"n":1,"s":"a"},"last":9`},
		{"nested list", []part{single([]Value{nestedIn(LayoutList, two, n, s), Uint(9)}, rows, column("last", KindUint))},
			`,"rows":[{"n":1,"s":"a"},{"n":2,"s":"b"}],"last":9`},
		{"nothing nested", []part{single([]Value{nestedIn(LayoutSingle, nil, n), nestedIn(LayoutList, nil, n), Null},
			rows, column("list", KindRows), column("null", KindRows))}, `,"rows":null,"list":[],"null":null`},
		{"nested in a list", []part{list([][]Value{{nestedIn(LayoutList, two, n, s), Uint(1)}, {nestedIn(LayoutList, nil, n), Uint(2)},
			{nestedIn(LayoutSingle, two, n, s), Null}}, rows, n)},
			`,"list":[{"rows":[{"n":1,"s":"a"},{"n":2,"s":"b"}],"n":1},{"rows":[],"n":2},{"rows":{"n":1,"s":"a"},"n":null}]`},
		{"nested twice", []part{list([][]Value{{Uint(1), nestedIn(LayoutList, [][]Value{
			{nestedIn(LayoutList, two, n, s), Addr(3)}, {nestedIn(LayoutSingle, two, n, s), Null}}, rows, offset)}}, n, rows)},
			`,"list":[{"n":1,"rows":[{"rows":[{"n":1,"s":"a"},{"n":2,"s":"b"}],"l1":{"offset":3}},{"rows":{"n":1,"s":"a"},"l1":null}]}]`},
		{"nested in an object", []part{single([]Value{Uint(1), nestedIn(LayoutList, two, n, s)}, column("o.n", KindUint), column("o.rows", KindRows))},
			`,"o":{"n":1,"rows":[{"n":1,"s":"a"},{"n":2,"s":"b"}]}`},
	}
}

func TestJSON(t *testing.T) {
	for _, tt := range jsonTests() {
		t.Run(tt.name, func(t *testing.T) {
			want := `{"schema":"s/1","filename":"a.qcow2","filename-hex":null` + tt.want + `}`
			checkOutput(t, want, compact(t, output(t, FormatJSON, Options{}, tt.parts...)))
			checkOutput(t, want+"\n", output(t, FormatNDJSON, Options{}, tt.parts...))
		})
	}
}

func TestJSONLooks(t *testing.T) {
	n, o := column("n", KindUint), column("o.n", KindUint)
	checkOutput(t, `{
  "schema": "s/1",
  "filename": "a.qcow2",
  "filename-hex": null,
  "n": 1,
  "o": {"n":2},
  "list": [
    {"n":3,"o":null},
    {"n":4,"o":{"n":5}}
  ],
  "list": []
}
`, output(t, FormatJSON, Options{},
		single([]Value{Uint(1), Uint(2)}, n, o),
		list([][]Value{{Uint(3), Null}, {Uint(4), Uint(5)}}, n, o),
		list(nil, n)))
}

// The name of a file is whatever the user gave.
func TestJSONFilename(t *testing.T) {
	for _, f := range []Format{FormatJSON, FormatNDJSON} {
		var b strings.Builder
		d := Document{Schema: "s/1", Filename: "a\"\n\xff", Heading: true}
		if err := writeDocument(New(f, &b, Options{}), d); err != nil {
			t.Fatal(err)
		}
		checkOutput(t, `{"schema":"s/1","filename":"a\"\u000a`+"\ufffd"+`","filename-hex":"61220aff"}`, compact(t, b.String()))
	}
}

// streamed returns the parts of a listing: facts before it, the rows, errors.
func streamed() []part {
	n := column("n", KindUint)
	return []part{
		single([]Value{Uint(7)}, column("virtual-size", KindSize)),
		{&Section{Key: "guest", Layout: LayoutStream, Columns: []Column{n, column("o.n", KindUint), column("name", KindImageText), column("rows", KindRows)}},
			[][]Value{{Uint(1), Null, ImageText("\xff"), nestedIn(LayoutList, [][]Value{{Uint(5)}, {Uint(6)}}, n)}, {Uint(2), Uint(3), Null, Null}}},
		{&Section{Key: "errors", Layout: LayoutList, Columns: []Column{column("message", KindImageText)}}, [][]Value{{ImageText("bad")}}},
	}
}

func TestJSONStream(t *testing.T) {
	checkOutput(t, `{"schema":"s/1","filename":"a.qcow2","filename-hex":null,"virtual-size":7,`+
		`"guest":[{"n":1,"o":null,"name":"`+"\ufffd"+`","name-hex":"ff","rows":[{"n":5},{"n":6}]},`+
		`{"n":2,"o":{"n":3},"name":null,"name-hex":null,"rows":null}],`+
		`"errors":[{"message":"bad","message-hex":null}]}`, compact(t, output(t, FormatJSON, Options{}, streamed()...)))
}

// Rows first, each with the name of its file, and then what ends them.
func TestNDJSONStream(t *testing.T) {
	checkOutput(t, `{"filename":"a.qcow2","n":1,"o":null,"name":"`+"\ufffd"+`","name-hex":"ff","rows":[{"n":5},{"n":6}]}
{"filename":"a.qcow2","n":2,"o":{"n":3},"name":null,"name-hex":null,"rows":null}
{"schema":"s/1","filename":"a.qcow2","filename-hex":null,"errors":[{"message":"bad","message-hex":null}]}
`, output(t, FormatNDJSON, Options{}, streamed()...))
}

func TestNDJSONEmptyStream(t *testing.T) {
	parts := streamed()
	parts[1].rows, parts[2].rows = nil, nil
	checkOutput(t, `{"schema":"s/1","filename":"a.qcow2","filename-hex":null,"errors":[]}`+"\n", output(t, FormatNDJSON, Options{}, parts...))
}

// Whatever stands before a stream, each line is an object.
func TestNDJSONLinesAreValid(t *testing.T) {
	parts := streamed()
	for name, parts := range map[string][]part{
		"two streams":          {parts[1], parts[1], parts[2]},
		"list before a stream": {parts[2], parts[1], parts[2]},
		"stream at the end":    {parts[0], parts[1]},
		"stream that only other formats show": {{
			&Section{Key: "guest", Layout: LayoutStream, Columns: []Column{{Key: "n", Kind: KindUint, Show: InTable}}},
			[][]Value{{Uint(1)}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for line := range strings.Lines(output(t, FormatNDJSON, Options{}, parts...)) {
				if !json.Valid([]byte(line)) {
					t.Errorf("a line that is not valid: %s", line)
				}
			}
		})
	}
}

// documents decodes documents that stand one after the other.
func documents(t *testing.T, s string) []any {
	t.Helper()
	var docs []any
	for d := json.NewDecoder(strings.NewReader(s)); ; {
		var v any
		err := d.Decode(&v)
		if err == io.EOF {
			return docs
		}
		if err != nil {
			t.Fatalf("%v in:\n%s", err, s)
		}
		docs = append(docs, v)
	}
}

// A document has nothing of the one before, and is on its own.
func TestJSONSeveralDocuments(t *testing.T) {
	for _, f := range []Format{FormatJSON, FormatNDJSON} {
		var together, apart strings.Builder
		r := New(f, &together, Options{})
		names := []string{"a", "b", "c"}
		for i, tt := range append(jsonTests(), jsonTest{"stream", streamed(), ""}, jsonTest{}) {
			d := Document{Schema: tt.name, Filename: names[i%len(names)]}
			if err := writeDocument(r, d, tt.parts...); err != nil {
				t.Fatal(err)
			}
			if err := writeDocument(New(f, &apart, Options{}), d, tt.parts...); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(documents(t, apart.String()), documents(t, together.String())); diff != "" {
			t.Errorf("%s: documents of one renderer differ (-want +got):\n%s", f, diff)
		}
	}
}

// Rows of any number, at the top and nested, go through a buffer of a fixed
// size, and none is lost or cut at its edges.
func TestJSONLong(t *testing.T) {
	const rows = 30_000
	columns := []Column{column("n", KindUint), column("s", KindText)}
	var all [][]Value
	for i := range rows {
		all = append(all, []Value{Uint(uint64(i)), Text(strings.Repeat("x", i%7))})
	}
	nested := nestedIn(LayoutList, all, columns...)
	for _, f := range []Format{FormatJSON, FormatNDJSON} {
		for name, p := range map[string]part{
			"list":           list(all, columns...),
			"nested":         single([]Value{nested}, column("list", KindRows)),
			"nested in list": list([][]Value{{nested}}, column("rows", KindRows)),
		} {
			t.Run(fmt.Sprint(f, " ", name), func(t *testing.T) {
				out := output(t, f, Options{}, p)
				checkNumbers(t, out, rows)
			})
		}
	}
}

// checkNumbers checks that a document's rows are numbered from 0.
func checkNumbers(t *testing.T, out string, rows int) {
	t.Helper()
	type row struct{ N int }
	var doc struct {
		List []struct {
			row
			Rows []row
		}
	}
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	var got []row
	for _, r := range doc.List {
		got = append(append(got, r.row), r.Rows...)
	}
	got = got[len(got)-rows:] // the row that the others are nested in has no number
	for i := range got {
		if got[i].N != i {
			t.Fatalf("row %d has the number %d", i, got[i].N)
		}
	}
}

// Nested rows do not wait for their end: a list of them takes no more memory
// than the buffer.
func TestJSONNestedRowsAreWritten(t *testing.T) {
	for _, f := range []Format{FormatJSON, FormatNDJSON} {
		w := &fullWriter{room: 1 << 30}
		written := 0
		rows := func(yield func([]Value) bool) {
			for range 2 * bufferSize / len(`{"n":1}`) {
				if !yield([]Value{Uint(1)}) {
					return
				}
			}
			written = w.got
		}
		nested := Rows(&Section{Layout: LayoutList, Columns: []Column{column("n", KindUint)}}, rows)
		if err := writeDocument(New(f, w, Options{}), testDocument, list([][]Value{{nested}}, column("rows", KindRows))); err != nil {
			t.Fatal(err)
		}
		if written < bufferSize {
			t.Errorf("%s: %d bytes written when the last of %d came, want %d at least", f, written, w.got, bufferSize)
		}
	}
}

// TestJSONRowAfterRow holds a row that follows others against the same row by
// itself: whatever varies, for however long, and whether it holds more.
func TestJSONRowAfterRow(t *testing.T) {
	nested := &Section{Key: "rows", Layout: LayoutList, Columns: []Column{column("n", KindUint)}}
	s := &Section{Key: "list", Layout: LayoutList, Columns: []Column{
		column("n", KindUint), column("o.n", KindUint), column("o.rows", KindRows), column("text", KindText),
		column("image", KindImageText), column("rows", KindRows), column("m", KindUint),
	}}
	random := rand.New(rand.NewPCG(1, 2))
	choose := func(v ...Value) Value { return v[random.IntN(len(v))] }
	out := &jsonRenderer{section: &Section{}} // nothing is written
	long := newJSONObject(s, out)
	for i := range 3 * rebuildEvery {
		rows := func(yield func([]Value) bool) { yield([]Value{Uint(uint64(i))}) }
		row := []Value{Uint(uint64(i)), Null, Null, Text("a"), ImageText("b"), Null, Uint(7)}
		if i/1000%2 == 0 {
			row = []Value{
				choose(Uint(0), Null), choose(Uint(1), Null), choose(Rows(nested, rows), Null), choose(Text("a"), Text("b")),
				choose(ImageText("\xff"), ImageText("b"), Null), choose(Rows(nested, rows), Null), Uint(7),
			}
		}
		alone := newJSONObject(s, out)
		want := string(alone.append([]byte("{"), alone.members, row, ",", ":")) + "}"
		if got := string(long.appendObject(nil, row)); got != want {
			t.Fatalf("row %d is %s, want %s", i, got, want)
		}
	}
}
