package render

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBreakWords(t *testing.T) {
	tests := []struct {
		text  string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"one two three", 0, []string{"one two three"}},
		{"one two three", 13, []string{"one two three"}},
		{"one two three", 12, []string{"one two", "three"}},
		{"one two three", 6, []string{"one", "two", "three"}},
		{"a longest-of-all b", 4, []string{"a", "longest-of-all", "b"}},
		{"磁盘 快照 日本", 9, []string{"磁盘 快照", "日本"}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, breakWords(tt.text, tt.width)); diff != "" {
			t.Errorf("%q in %d columns (-want +got):\n%s", tt.text, tt.width, diff)
		}
	}
}

// messages returns a list with words in its last column.
func messages(layout Layout) *Section {
	return &Section{Key: "rows", Layout: layout, Columns: []Column{
		{Key: "n", Title: "N", Kind: KindUint},
		{Key: "drop", Title: "DROP", Kind: KindText, Drop: 1},
		{Key: "message", Title: "MESSAGE", Kind: KindText, Tones: []Tone{ToneAlarm}},
	}}
}

const message = "the corrupt bit is set: QEMU opens the image for reading only"

// Words give way before a column is dropped, and in a table too long for
// tablewriter as in a short one.
func TestWordsTakeLines(t *testing.T) {
	const row = "│ 1 │ here │ the corrupt bit is set: QEMU │\n│   │      │ opens the image for reading  │\n│   │      │ only                         │\n"
	for _, n := range []int{1, wholeRows + 1} {
		checkOutput(t, "┌───┬──────┬──────────────────────────────┐\n"+
			"│ N │ DROP │ MESSAGE                      │\n"+
			"├───┼──────┼──────────────────────────────┤\n"+strings.Repeat(row, n)+
			"└───┴──────┴──────────────────────────────┘\n",
			output(t, FormatTable, Options{Width: 45}, part{messages(LayoutList), slices.Repeat([][]Value{{Uint(1), Text("here"), Text(message)}}, n)}))
	}
}

// Where a terminal has no place for some words, columns go; words that fit stay
// on one line, and a word is never broken.
func TestWordsAndColumns(t *testing.T) {
	long := strings.Repeat("w", fewWords+9)
	tests := []struct {
		width   int
		text    string
		dropped bool
		lines   int
	}{
		{0, message, false, 1},
		{15 + len(message), message, false, 1},
		{14 + len(message), message, false, 2},
		{15 + fewWords, message, false, 4},
		{14 + fewWords, message, true, 3},
		{10, message, true, 4},
		{15 + fewWords, "short " + long, true, 2},
	}
	for _, tt := range tests {
		out := output(t, FormatTable, Options{Width: tt.width}, part{messages(LayoutList), [][]Value{{Uint(1), Text("here"), Text(tt.text)}}})
		if dropped := !strings.Contains(out, "DROP"); dropped != tt.dropped {
			t.Errorf("in %d columns DROP is left out: %t, want %t", tt.width, dropped, tt.dropped)
		}
		if lines := strings.Count(out, "\n") - 4; lines != tt.lines {
			t.Errorf("in %d columns the row has %d lines, want %d:\n%s", tt.width, lines, tt.lines, out)
		}
	}
}

// Each line has the colour, and only text of this program is broken.
func TestWordsOfFacts(t *testing.T) {
	s := &Section{Columns: []Column{
		{Key: "remark", Title: "Remark", Kind: KindText, Tones: []Tone{ToneAlarm}},
		{Key: "name", Title: "Name", Kind: KindImageText},
	}}
	checkOutput(t, "┌────────┬────────────────┐\n"+
		"│ Remark │ \x1b[31mmuch of it is\x1b[0m  │\n"+
		"│        │ \x1b[31mfree\x1b[0m           │\n"+
		"│ Name   │ of an image so │\n"+
		"└────────┴────────────────┘\n",
		output(t, FormatTable, Options{Width: 26, Color: true}, part{s, [][]Value{{Text("much of it is free"), ImageText("of an image so")}}}))
}

// Columns that hold nothing go first, whatever their order, if all rows are
// known.
func TestEmptyColumnsGoFirst(t *testing.T) {
	row := []Value{Text("a"), Null, Text("c")}
	for n, want := range map[int]string{1: "ONE THREE", bufferedRows + 1: "ONE TWO"} {
		var note string
		opts := Options{Width: 20, Note: func(s string) { note = s }}
		out := output(t, FormatTable, opts, part{listing(LayoutStream, 1, 0, 2), slices.Repeat([][]Value{row}, n)})
		heading := strings.Fields(strings.ReplaceAll(strings.Split(out, "\n")[1], "│", " "))
		if got := strings.Join(heading, " "); got != want {
			t.Errorf("%d rows: columns %q, want %q", n, got, want)
		}
		if want := map[bool]string{true: "TWO", false: "THREE"}[n == 1]; note != "left out to fit 20 columns: "+want {
			t.Errorf("%d rows: note %q", n, note)
		}
	}
}

// TestBreakWordsQuoted: a quoted part stays whole, with the blanks in it; an
// apostrophe is no quote.
func TestBreakWordsQuoted(t *testing.T) {
	for text, want := range map[string][]string{
		"delete it: tool -d 'a  b   c d' disk":        {"delete it:", "tool -d", "'a  b   c d'", "disk"},
		`tool 'a  '\''q'\''  b' x y`:                  {"tool", `'a  '\''q'\''  b'`, "x y"},
		"QEMU's own words and 'two words' at the end": {"QEMU's own", "words and", "'two words'", "at the end"},
		"an open 'quote goes on to the end":           {"an open", "'quote goes on to the end"},
	} {
		if got := breakWords(text, 11); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
