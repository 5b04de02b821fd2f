package render

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestRowOfWrongLengthPanics(t *testing.T) {
	const want = `render: section "list" has 2 columns, its row %d values`
	for _, f := range AllFormats() {
		for _, layout := range []Layout{LayoutSingle, LayoutList, LayoutStream} {
			s := &Section{Key: "list", Layout: layout, Columns: []Column{{Key: "a", Kind: KindUint}, {Key: "b", Kind: KindUint}}}
			for _, row := range [][]Value{nil, {Uint(1)}, {Uint(1), Uint(2), Uint(3)}} {
				if got, want := panicOf(f, part{s, [][]Value{row}}), fmt.Sprintf(want, len(row)); got != want {
					t.Errorf("%s, layout %d: panic %v, want %s", f, layout, got, want)
				}
			}
		}
	}
}

// panicOf returns what writing a document panics with.
func panicOf(f Format, p part) (r any) {
	defer func() { r = recover() }()
	return writeDocument(New(f, &strings.Builder{}, Options{}), testDocument, p)
}

// A nested row is checked too, in every format.
func TestNestedRowOfWrongLengthPanics(t *testing.T) {
	nested := &Section{Key: "nested", Layout: LayoutList, Columns: []Column{{Key: "a", Kind: KindUint}}}
	rows := Rows(nested, func(yield func([]Value) bool) { yield([]Value{Uint(1), Uint(2)}) })
	s := &Section{Columns: []Column{{Key: "rows", Kind: KindRows}}}
	for _, f := range AllFormats() {
		want := `render: section "nested" has 1 columns, its row 2 values`
		if got := panicOf(f, part{s, [][]Value{{rows}}}); got != want {
			t.Errorf("%s: panic %v, want %s", f, got, want)
		}
	}
}

// shown returns the formats in which the word "shown" stands, of a document
// with the given part.
func shown(t *testing.T, p part) []Format {
	var formats []Format
	for _, f := range AllFormats() {
		if strings.Contains(output(t, f, Options{}, p), "shown") {
			formats = append(formats, f)
		}
	}
	return formats
}

// masks are restrictions to formats, and where they let something be shown.
func masks() map[Audience]string {
	return map[Audience]string{
		0:                 "[table plain json ndjson]",
		InTable:           "[table]",
		InPlain:           "[plain]",
		InJSON:            "[json ndjson]",
		InTable | InPlain: "[table plain]",
		InTable | InJSON:  "[table json ndjson]",
		InPlain | InJSON:  "[plain json ndjson]",
	}
}

func TestColumnShow(t *testing.T) {
	for mask, want := range masks() {
		for _, layout := range []Layout{LayoutSingle, LayoutList, LayoutStream} {
			s := &Section{Key: "list", Layout: layout, Columns: []Column{
				{Key: "always", Title: "ALWAYS", Kind: KindUint},
				{Key: "sometimes", Title: "SOMETIMES", Kind: KindText, Show: mask},
			}}
			if got := fmt.Sprint(shown(t, part{s, [][]Value{{Uint(1), Text("shown")}}})); got != want {
				t.Errorf("column with mask %03b, layout %d: in %s, want %s", mask, layout, got, want)
			}
		}
	}
}

func TestSectionShow(t *testing.T) {
	for mask, want := range masks() {
		for _, layout := range []Layout{LayoutSingle, LayoutList, LayoutStream} {
			s := &Section{Key: "list", Layout: layout, Show: mask, Columns: []Column{{Key: "k", Title: "K", Kind: KindText}}}
			if got := fmt.Sprint(shown(t, part{s, [][]Value{{Text("shown")}}})); got != want {
				t.Errorf("section with mask %03b, layout %d: in %s, want %s", mask, layout, got, want)
			}
		}
	}
}

// A section that a format leaves out leaves nothing behind, not even a key.
func TestSectionShowLeavesNothing(t *testing.T) {
	s := &Section{Key: "list", Title: "List", Layout: LayoutList, Empty: "none", Columns: []Column{{Key: "k", Kind: KindText}}}
	for f, mask := range map[Format]Audience{
		FormatTable: InPlain | InJSON, FormatPlain: InTable | InJSON, FormatJSON: InTable | InPlain, FormatNDJSON: InTable | InPlain,
	} {
		s.Show = mask
		want := output(t, f, Options{})
		for _, rows := range [][][]Value{nil, {{Text("a")}, {Text("b")}}} {
			checkOutput(t, want, output(t, f, Options{}, part{s, rows}))
		}
	}
}

func TestAudienceHas(t *testing.T) {
	for _, tt := range []struct {
		f, g Audience
		want bool
	}{
		{0, InTable, true},
		{0, InJSON, true},
		{InTable, InTable, true},
		{InTable, InPlain, false},
		{InPlain | InJSON, InJSON, true},
		{InPlain | InJSON, InTable, false},
	} {
		if got := tt.f.has(tt.g); got != tt.want {
			t.Errorf("Audience(%03b).has(%03b) = %t, want %t", tt.f, tt.g, got, tt.want)
		}
	}
}

// Members that a format does not show leave no comma.
func TestJSONShow(t *testing.T) {
	hidden := func(key string) Column { return Column{Key: key, Kind: KindUint, Show: InTable | InPlain} }
	n := column("n", KindUint)
	one := []Value{Uint(1)}
	tests := []struct {
		name string
		part part
		want string
	}{
		{"first", single([]Value{Uint(1), Uint(2)}, hidden("h"), n), `,"n":2`},
		{"last", single([]Value{Uint(2), Uint(1)}, n, hidden("h")), `,"n":2`},
		{"between members of an object", single([]Value{Uint(1), Uint(2), Uint(3)},
			column("o.a", KindUint), hidden("h"), column("o.b", KindUint)), `,"o":{"a":1,"b":3}`},
		{"member of an object", single([]Value{Uint(1), Uint(2)}, hidden("o.h"), column("o.n", KindUint)), `,"o":{"n":2}`},
		{"other members of the object are null", single([]Value{Uint(1), Null}, hidden("o.h"), column("o.n", KindUint)), `,"o":null`},
		{"all of an object", single([]Value{Uint(1), Uint(2)}, hidden("o.h"), n), `,"n":2`},
		{"in a list", list([][]Value{{Uint(1), Uint(2)}}, hidden("h"), n), `,"list":[{"n":2}]`},
		{"all in a list", list([][]Value{one, one}, hidden("h")), `,"list":[{},{}]`},
		{"in nested rows", single([]Value{nestedIn(LayoutList, [][]Value{{Uint(1), Uint(2)}}, hidden("h"), n)}, column("rows", KindRows)),
			`,"rows":[{"n":2}]`},
		{"all", single(one, hidden("h")), ``},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := `{"schema":"s/1","filename":"a.qcow2","filename-hex":null` + tt.want + `}`
			for _, f := range []Format{FormatJSON, FormatNDJSON} {
				checkOutput(t, want, compact(t, output(t, f, Options{}, tt.part)))
			}
		})
	}
}

// randomSection returns a stream of 1 to 8 columns of any kind.
func randomSection(rng *rand.Rand) *Section {
	s := &Section{Key: "rows", Layout: LayoutStream, ClusterBits: uint(rng.IntN(2) * testClusterBits)}
	for i := range 1 + rng.IntN(8) {
		kind := KindBool + Kind(rng.IntN(int(KindList)))
		title := "T" + Escape(randomText(rng, 9))
		s.Columns = append(s.Columns, Column{Key: fmt.Sprint("c", i), Title: title, Kind: kind, Names: randomNames(kind), Tones: randomTones(rng)})
	}
	return s
}

// randomTones returns tones for up to three names.
func randomTones(rng *rand.Rand) []Tone {
	tones := make([]Tone, rng.IntN(4))
	for i := range tones {
		tones[i] = Tone(rng.IntN(int(toneTitle)))
	}
	return tones
}

// randomRows returns rows whose widest are among the first that a renderer
// holds back: those after repeat them.
func randomRows(rng *rand.Rand, s *Section) [][]Value {
	rows := make([][]Value, bufferedRows+1+rng.IntN(100))
	for i := range rows {
		if i >= bufferedRows {
			rows[i] = rows[rng.IntN(bufferedRows)]
			continue
		}
		for _, c := range s.Columns {
			value := randomValue
			if i == 0 {
				value = widestValue
			}
			rows[i] = append(rows[i], value(rng, c.Kind))
		}
	}
	return rows
}
