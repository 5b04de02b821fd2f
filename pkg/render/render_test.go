package render

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A part is a section with its rows.
type part struct {
	section *Section
	rows    [][]Value
}

// testDocument is what the tests write; its schema and name are short to keep
// what is expected of them short.
var testDocument = Document{Schema: "s/1", Filename: "a.qcow2"}

// writeDocument writes a document and returns the first error that Row or End
// returned.
func writeDocument(r Renderer, d Document, parts ...part) error {
	r.Begin(d)
	for _, p := range parts {
		r.Section(p.section)
		for _, row := range p.rows {
			if err := r.Row(row); err != nil {
				return errors.Join(err, r.End())
			}
		}
	}
	return r.End()
}

// output returns what a document of the given parts looks like.
func output(t *testing.T, f Format, opts Options, parts ...part) string {
	t.Helper()
	var b strings.Builder
	if err := writeDocument(New(f, &b, opts), testDocument, parts...); err != nil {
		t.Fatalf("%s: %v", f, err)
	}
	return b.String()
}

// checkOutput compares what was written with what was wanted.
func checkOutput(t *testing.T, want, got string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output differs (-want +got):\n%s", diff)
	}
}

// failOnPanic fails a test that panicked and lets the others run.
func failOnPanic(t *testing.T) {
	if r := recover(); r != nil {
		t.Errorf("panic: %v", r)
	}
}

// TestReset: after Reset a renderer writes what a new one would, whatever it wrote
// before, and whether or not it could.
func TestReset(t *testing.T) {
	heading := Document{Schema: "s/1", Filename: "b.qcow2", Heading: true}
	for _, f := range AllFormats() {
		for _, width := range []int{0, 20} {
			var want, got strings.Builder
			opts := Options{Width: width, Color: width > 0}
			if err := writeDocument(New(f, &want, opts), heading, checkDocument()...); err != nil {
				t.Fatal(err)
			}
			r := New(f, &strings.Builder{}, Options{})
			for name, before := range map[string]func(){
				"nothing":            func() {},
				"a document":         func() { writeDocument(r, testDocument, checkDocument()...) },
				"a long document":    func() { writeDocument(r, testDocument, wideDocument()...) },
				"no end":             func() { r.Begin(heading); r.Section(checkDocument()[1].section); r.Row([]Value{Uint(1)}) },
				"a failure to write": func() { r.Reset(&fullWriter{}, Options{}); writeDocument(r, testDocument, wideDocument()...) },
			} {
				before()
				got.Reset()
				r.Reset(&got, opts)
				if err := writeDocument(r, heading, checkDocument()...); err != nil {
					t.Errorf("%s after %s: %v", f, name, err)
				}
				checkOutput(t, want.String(), got.String())
			}
		}
	}
}

func TestAllFormats(t *testing.T) {
	want := []Format{"table", "plain", "json", "ndjson"}
	if diff := cmp.Diff(want, AllFormats()); diff != "" {
		t.Errorf("formats differ (-want +got):\n%s", diff)
	}
}

func TestNewUnknownFormat(t *testing.T) {
	defer func() {
		if got, want := recover(), `render: no format "yaml"`; got != want {
			t.Errorf("New panicked with %v, want %s", got, want)
		}
	}()
	New("yaml", &strings.Builder{}, Options{})
}

var errFull = errors.New("no space left on device")

// A fullWriter has room for some bytes and counts the writes after the one
// that failed.
type fullWriter struct {
	room   int
	got    int
	failed bool
	later  int
}

func (w *fullWriter) Write(p []byte) (int, error) {
	if w.failed {
		w.later++
	}
	n := min(len(p), w.room-w.got)
	w.got += n
	if n < len(p) {
		w.failed = true
		return n, errFull
	}
	return n, nil
}

// wideDocument returns sections of every layout, with nested rows, each long
// enough for its output not to fit in a buffer.
func wideDocument() []part {
	nested := &Section{Key: "nested", Layout: LayoutList, Columns: []Column{{Key: "n", Title: "N", Kind: KindUint}}}
	deep := func(n int) Value {
		return Rows(nested, func(yield func([]Value) bool) {
			for i := range n {
				if !yield([]Value{Uint(uint64(i))}) {
					return
				}
			}
		})
	}
	facts := &Section{Columns: []Column{
		{Key: "text", Title: "Text", Kind: KindText}, {Key: "rows", Title: "Rows", Kind: KindRows},
	}}
	list := &Section{Key: "list", Layout: LayoutList, Columns: facts.Columns}
	return []part{
		{facts, [][]Value{{Text(strings.Repeat("long ", 100)), deep(5000)}}},
		{list, slices.Repeat([][]Value{{Text("text"), deep(3)}}, 200)},
		single([]Value{Nested(shows(part{guestSection(), guestRows(500)}))}, nestedColumn("guest")),
		{guestSection(), guestRows(2000)},
	}
}

// Every place where a write can fail: in the head, in nested rows, in a table
// that is drawn at its end, in rows that stream, in the last flush.
func TestWriteErrorsStick(t *testing.T) {
	for _, f := range AllFormats() {
		size := len(output(t, f, Options{}, wideDocument()...))
		for _, room := range []int{0, 1, bufferSize - 1, bufferSize, size / 2, size - bufferSize, size - 1} {
			t.Run(fmt.Sprintf("%s/%d", f, room), func(t *testing.T) {
				w := &fullWriter{room: room}
				r := New(f, w, Options{})
				for range 3 {
					if err := writeDocument(r, testDocument, wideDocument()...); !errors.Is(err, errFull) {
						t.Errorf("writing a document: error %v, want %v", err, errFull)
					}
				}
				if w.got != room || w.later != 0 {
					t.Errorf("%d bytes written and %d writes after the error, want %d and 0", w.got, w.later, room)
				}
			})
		}
	}
}

// A long section must not go on for hours when nobody takes its output.
func TestRowReturnsWriteError(t *testing.T) {
	const enough = 10_000 // rows, to fill the buffer with the shortest of formats
	for _, f := range AllFormats() {
		t.Run(string(f), func(t *testing.T) {
			r := New(f, &fullWriter{}, Options{})
			r.Begin(testDocument)
			r.Section(guestSection())
			row := make([]Value, len(guestSection().Columns))
			n := 0
			for n < enough && r.Row(guestRow(row, n)) == nil {
				n++
			}
			if n == enough {
				t.Fatalf("no Row of %d returned the error", n)
			}
			for range 3 {
				if err := r.Row(row); !errors.Is(err, errFull) {
					t.Errorf("a later Row: error %v, want %v", err, errFull)
				}
			}
			if err := r.End(); !errors.Is(err, errFull) {
				t.Errorf("End: error %v, want %v", err, errFull)
			}
		})
	}
}

// A short document meets its writer in End alone.
func TestEndReturnsWriteError(t *testing.T) {
	short := part{&Section{Columns: []Column{{Key: "k", Title: "K", Kind: KindUint}}}, [][]Value{{Uint(1)}}}
	for _, f := range AllFormats() {
		r := New(f, &fullWriter{room: 3}, Options{})
		if err := writeDocument(r, testDocument, short); !errors.Is(err, errFull) {
			t.Errorf("%s: error %v, want %v", f, err, errFull)
		}
	}
}
