package render

import (
	"slices"
	"strings"
	"testing"
)

// coloredSection has a column of each kind that can have colours.
func coloredSection(layout Layout) *Section {
	return &Section{Key: "rows", Title: "Clusters", Layout: layout, Columns: []Column{
		{Key: "n", Title: "N", Kind: KindUint, Max: 99, Tones: []Tone{ToneAlarm}},
		{Key: "kind", Title: "KIND", Kind: KindEnum, Names: []string{"data", "l1", "free", "other"}, Tones: []Tone{ToneNone, ToneMetadata, ToneAbsent}},
		{Key: "name", Title: "NAME", Kind: KindImageText, Max: 4, Tones: []Tone{ToneGood}},
		{Key: "problems", Title: "PROBLEMS", Kind: KindFlags, Names: []string{"bad", "worse"}, Tones: []Tone{ToneCaution}},
	}}
}

func coloredRows() [][]Value {
	return [][]Value{
		{Uint(7), Enum(0), ImageText("快照"), Flags(3)},
		{Uint(12), Enum(1), ImageText("\x1b[7m"), Flags(0)},
		{Uint(0), Enum(2), ImageText(""), Flags(0)},
		{Null, Enum(3), Null, Null},
	}
}

const coloredTable = "\x1b[1mClusters\x1b[0m\n" +
	"┌────┬───────┬─────────┬────────────┐\n" +
	"│  \x1b[1mN\x1b[0m │ \x1b[1mKIND\x1b[0m  │ \x1b[1mNAME\x1b[0m    │ \x1b[1mPROBLEMS\x1b[0m   │\n" +
	"├────┼───────┼─────────┼────────────┤\n" +
	"│  \x1b[31m7\x1b[0m │ data  │ \x1b[32m快照\x1b[0m    │ \x1b[33mbad, worse\x1b[0m │\n" +
	"│ \x1b[31m12\x1b[0m │ \x1b[36ml1\x1b[0m    │ \x1b[32m\\x1b[7m\x1b[0m │ \x1b[2m-\x1b[0m          │\n" +
	"│  0 │ \x1b[2mfree\x1b[0m  │         │ \x1b[2m-\x1b[0m          │\n" +
	"│  \x1b[2m-\x1b[0m │ other │ \x1b[2m-\x1b[0m       │ \x1b[2m-\x1b[0m          │\n"

const coloredEnd = "└────┴───────┴─────────┴────────────┘\n"

// The widths are those of the text, and what an image says is escaped as ever.
func TestColors(t *testing.T) {
	checkOutput(t, coloredTable+coloredEnd,
		output(t, FormatTable, Options{Color: true}, part{coloredSection(LayoutList), coloredRows()}))
}

// A table whose rows do not fit in memory has the colours of a short one.
func TestColorsOfLongTable(t *testing.T) {
	body := coloredTable[strings.Index(coloredTable, "│  \x1b[31m7"):]
	const times = bufferedRows
	checkOutput(t, coloredTable+strings.Repeat(body, times-1)+coloredEnd,
		output(t, FormatTable, Options{Color: true}, part{coloredSection(LayoutStream), slices.Repeat(coloredRows(), times)}))
}

// A fact is coloured as a cell is; its name and the exact number of bytes are not.
func TestColorsOfFacts(t *testing.T) {
	s := &Section{Title: "Facts", Columns: []Column{
		{Key: "dirty", Title: "Dirty", Kind: KindBool, Tones: []Tone{ToneCaution}},
		{Key: "corrupt", Title: "Corrupt", Kind: KindBool, Tones: []Tone{ToneAlarm}},
		{Key: "tail", Title: "Tail", Kind: KindSize, Tones: []Tone{ToneCaution}},
		{Key: "bits", Title: "Bits", Kind: KindBits},
		{Key: "flags", Title: "Flags", Kind: KindList},
	}}
	checkOutput(t, "\x1b[1mFacts\x1b[0m\n"+
		"┌─────────┬────────────────────┐\n"+
		"│ Dirty   │ \x1b[33myes\x1b[0m                │\n"+
		"│ Corrupt │ no                 │\n"+
		"│ Tail    │ \x1b[33m1 KiB\x1b[0m (1024 bytes) │\n"+
		"│ Bits    │ \x1b[2mnone\x1b[0m               │\n"+
		"│ Flags   │ \x1b[2m-\x1b[0m                  │\n"+
		"└─────────┴────────────────────┘\n",
		output(t, FormatTable, Options{Color: true}, part{s, [][]Value{{Bool(true), Bool(false), Size(1024), Bits(0), List(nil)}}}))
}

// Colours take no columns of the terminal.
func TestColorsTakeNoWidth(t *testing.T) {
	for _, layout := range []Layout{LayoutList, LayoutStream} {
		p := part{coloredSection(layout), slices.Repeat(coloredRows(), 1+int(layout)*bufferedRows)}
		for i := range p.section.Columns {
			p.section.Columns[i].Drop = i
		}
		for _, width := range []int{37, 36, 20} {
			plain := output(t, FormatTable, Options{Width: width}, p)
			if got := uncolored(output(t, FormatTable, Options{Width: width, Color: true}, p)); got != plain {
				t.Errorf("in %d columns the table with colours is another:\n%s\nwant\n%s", width, got, plain)
			}
		}
	}
}

// uncolored returns text without the sequences that this package makes.
func uncolored(s string) string {
	for c := ToneAlarm; c <= toneTitle; c++ {
		s = strings.ReplaceAll(strings.ReplaceAll(s, c.begin(), ""), c.end(), "")
	}
	return s
}

// Only tables have colours.
func TestColorsAreForTables(t *testing.T) {
	p := part{coloredSection(LayoutList), coloredRows()}
	for _, f := range []Format{FormatPlain, FormatJSON, FormatNDJSON} {
		checkOutput(t, output(t, f, Options{}, p), output(t, f, Options{Color: true}, p))
	}
}
