package render

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tableColumns returns the columns of a section with nothing left out.
func tableColumns(s *Section) []tableColumn {
	var columns []tableColumn
	for i := range s.Columns {
		columns = append(columns, tableColumn{column: &s.Columns[i], index: i})
	}
	return columns
}

// textCells returns the text of a row's cells.
func textCells(s *Section, row []Value) []string { return paintedCells(s, row, new(tableRenderer)) }

// paintedCells returns the text of a row's cells in the colours of a table.
func paintedCells(s *Section, row []Value, r *tableRenderer) []string {
	cells := make([]string, len(row))
	for i := range row {
		cells[i] = r.cell(&s.Columns[i], &row[i], s.ClusterBits)
	}
	return cells
}

func TestStreamEqualsTablewriter(t *testing.T) {
	var d drawer
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		s := randomSection(rng)
		rows := randomRows(rng, s)
		r := &tableRenderer{opts: Options{Color: seed%2 == 1}}
		var cells [][]string
		for _, row := range rows {
			cells = append(cells, paintedCells(s, row, r))
		}
		columns := tableColumns(s)
		want := string(d.whole(kinds(columns), r.titles(columns), cells))
		got := output(t, FormatTable, r.opts, part{s, rows})
		if diff := cmp.Diff(strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")); diff != "" {
			t.Fatalf("seed %d: stream differs from tablewriter (-want +got):\n%s", seed, diff)
		}
	}
}

// lastLines returns the last lines of a text.
func lastLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[len(lines)-1-n:], "")
}

// A value that is wider than all that was declared is shown whole.
func TestStreamPushesTheFrame(t *testing.T) {
	s := &Section{Key: "rows", Layout: LayoutStream, Columns: []Column{
		{Key: "name", Title: "NAME", Kind: KindImageText, Max: 6},
		{Key: "n", Title: "N", Kind: KindUint, Max: 999},
		{Key: "end", Title: "E", Kind: KindText},
	}}
	rows := slices.Repeat([][]Value{{ImageText("a"), Uint(1), Text("e")}}, bufferedRows+1)
	rows = append(rows,
		[]Value{ImageText("fits"), Uint(999), Text("e")},
		[]Value{ImageText("does-not-fit"), Uint(1), Text("e")},
		[]Value{ImageText("a"), Uint(1234567), Text("end")},
		[]Value{ImageText("日本語日本"), Uint(1), Text("e")},
		[]Value{Null, Null, Null})
	checkOutput(t, `│ a      │   1 │ e │
│ fits   │ 999 │ e │
│ does-not-fit │   1 │ e │
│ a      │ 1234567 │ end │
│ 日本語日本 │   1 │ e │
│ -      │   - │ - │
└────────┴─────┴───┘
`, lastLines(output(t, FormatTable, Options{}, part{s, rows}), 7))
}

// The width that a column declares is there before a value needs it.
func TestStreamDeclaredWidths(t *testing.T) {
	names := []string{"free", "refcount-block"}
	tests := []struct {
		column Column
		value  Value
		want   string
	}{
		{Column{Kind: KindText, Max: 5}, Text("a"), "│ a     │\n"},
		{Column{Kind: KindImageText, Max: 5}, ImageText("a"), "│ a     │\n"},
		{Column{Kind: KindUint, Max: 1234}, Uint(1), "│    1 │\n"},
		{Column{Kind: KindOffset, Max: 0xabcd}, Offset(1), "│    0x1 │\n"},
		{Column{Kind: KindHex, Max: 0xabcd}, Hex(1), "│    0x1 │\n"},
		{Column{Kind: KindAddr, Max: 0xa0000}, Addr(0x10000), "│  0x10000 (#1) │\n"},   // as wide as 0xa0000 (#10)
		{Column{Kind: KindAddr, Max: 0x100000}, Addr(0x10000), "│   0x10000 (#1) │\n"}, // 0x100000 (#16)
		{Column{Kind: KindSize}, Size(1), "│         1 B │\n"},
		{Column{Kind: KindEnum, Names: names}, Enum(0), "│ free           │\n"},
		{Column{Kind: KindBool}, Bool(true), "│ yes │\n"},
	}
	for _, tt := range tests {
		tt.column.Key = "c"
		s := &Section{Key: "rows", Layout: LayoutStream, ClusterBits: testClusterBits, Columns: []Column{tt.column}}
		out := output(t, FormatTable, Options{}, part{s, slices.Repeat([][]Value{{tt.value}}, bufferedRows+1)})
		got, _, _ := strings.Cut(lastLines(out, 2), "└")
		if got != tt.want {
			t.Errorf("kind %d, max %d: row %q, want %q", tt.column.Kind, tt.column.Max, got, tt.want)
		}
	}
}

// listing returns a list of three columns with the given order of dropping.
func listing(layout Layout, drop ...int) *Section {
	s := &Section{Key: "rows", Layout: layout}
	for i, title := range []string{"ONE", "TWO", "THREE"} {
		s.Columns = append(s.Columns, Column{Key: title, Title: title, Kind: KindText, Drop: drop[i]})
	}
	return s
}

// Columns of 3, 3 and 5 characters make a table of 21, and leave it in the
// order of Drop, the highest first.
func TestDropColumns(t *testing.T) {
	tests := []struct {
		width int
		drop  []int
		want  string // the titles
		note  string
	}{
		{0, []int{1, 2, 3}, "ONE TWO THREE", ""},
		{21, []int{1, 2, 3}, "ONE TWO THREE", ""},
		{20, []int{1, 2, 3}, "ONE TWO", "left out to fit 20 columns: THREE"},
		{13, []int{1, 2, 3}, "ONE TWO", "left out to fit 13 columns: THREE"},
		{12, []int{1, 2, 3}, "ONE", "left out to fit 12 columns: TWO, THREE"},
		{20, []int{3, 0, 1}, "TWO THREE", "left out to fit 20 columns: ONE"},
		{14, []int{3, 0, 1}, "TWO", "left out to fit 14 columns: THREE, ONE"},
		{3, []int{3, 0, 1}, "TWO", "left out to fit 3 columns: THREE, ONE"}, // it goes no further
		{3, []int{0, 0, 0}, "ONE TWO THREE", ""},
		{20, []int{0, 5, 0}, "ONE THREE", "left out to fit 20 columns: TWO"},
	}
	for _, layout := range []Layout{LayoutList, LayoutStream} {
		for _, tt := range tests {
			t.Run(fmt.Sprint(layout, tt.width, tt.drop), func(t *testing.T) {
				var notes []string
				opts := Options{Width: tt.width, Note: func(s string) { notes = append(notes, s) }}
				rows := slices.Repeat([][]Value{{Text("a"), Text("b"), Text("c")}}, bufferedRows+int(layout))
				out := output(t, FormatTable, opts, part{listing(layout, tt.drop...), rows})
				heading := strings.Fields(strings.ReplaceAll(strings.Split(out, "\n")[1], "│", " "))
				if got := strings.Join(heading, " "); got != tt.want {
					t.Errorf("columns %q, want %q", got, tt.want)
				}
				if got := strings.Join(notes, "\n"); got != tt.note {
					t.Errorf("note %q, want %q", got, tt.note)
				}
			})
		}
	}
}

// Without anyone to tell, columns are left out all the same.
func TestDropWithoutNote(t *testing.T) {
	s := listing(LayoutList, 0, 1, 2)
	checkOutput(t, "┌─────┐\n│ ONE │\n├─────┤\n│ a   │\n└─────┘\n",
		output(t, FormatTable, Options{Width: 7}, part{s, [][]Value{{Text("a"), Text("b"), Text("c")}}}))
}

// A column that is as wide as a value of the image can be left out for it.
func TestDropCountsValues(t *testing.T) {
	s := listing(LayoutList, 0, 0, 1)
	row := []Value{Text("a"), Text("日本語日本語"), Text("c")}
	for width, want := range map[int]bool{30: true, 29: false} {
		out := output(t, FormatTable, Options{Width: width}, part{s, [][]Value{row}})
		if got := strings.Contains(out, "THREE"); got != want {
			t.Errorf("on %d columns THREE is shown: %t, want %t", width, got, want)
		}
	}
}

// Only tables have a width.
func TestWidthIsForTables(t *testing.T) {
	p := part{listing(LayoutList, 1, 2, 3), [][]Value{{Text("a"), Text("b"), Text("c")}}}
	for _, f := range []Format{FormatPlain, FormatJSON, FormatNDJSON} {
		checkOutput(t, output(t, f, Options{}, p), output(t, f, Options{Width: 5}, p))
	}
}

// A whole document: a heading, facts that are drawn sideways, a section
// without rows, one that has nothing to say then, one with nested rows, and empty
// lines between them.
func TestTableDocument(t *testing.T) {
	slots := &Section{Key: "slots", Title: "Key slots", Layout: LayoutList, Columns: []Column{{Key: "n", Title: "SLOT", Kind: KindUint}}}
	parts := []part{
		{&Section{Title: "Header", ClusterBits: testClusterBits, Columns: []Column{
			{Key: "version", Title: "Version", Kind: KindUint},
			{Key: "size", Title: "Size", Kind: KindSize},
			{Key: "small", Title: "Small", Kind: KindSize},
			{Key: "l1", Title: "L1 table", Kind: KindAddr},
			{Key: "json-only", Title: "JSON only", Kind: KindUint, Show: InJSON},
			{Key: "slots", Title: "Slots", Kind: KindRows},
		}}, [][]Value{{Uint(3), Size(1 << 30), Size(512), Addr(0x30000), Uint(1),
			Rows(slots, slices.Values([][]Value{{Uint(0)}, {Uint(7)}}))}}},
		{&Section{Key: "snapshots", Title: "Snapshots", Layout: LayoutList, Empty: "no snapshots", Columns: slots.Columns}, nil},
		{&Section{Key: "nothing", Title: "Nothing", Layout: LayoutList, Columns: slots.Columns}, nil},
		{&Section{Key: "untitled", Layout: LayoutList, Columns: slots.Columns}, [][]Value{{Null}}},
	}
	var b strings.Builder
	d := Document{Schema: "s/1", Filename: "a\n.qcow2", Heading: true}
	if err := writeDocument(New(FormatTable, &b, Options{}), d, parts...); err != nil {
		t.Fatal(err)
	}
	checkOutput(t, `a\n.qcow2
Header
┌──────────┬──────────────────────────┐
│ Version  │ 3                        │
│ Size     │ 1 GiB (1073741824 bytes) │
│ Small    │ 512 B                    │
│ L1 table │ 0x30000 (#3)             │
└──────────┴──────────────────────────┘

Key slots
┌──────┐
│ SLOT │
├──────┤
│    0 │
│    7 │
└──────┘

Snapshots
no snapshots

┌──────┐
│ SLOT │
├──────┤
│    - │
└──────┘
`, b.String())
}

// A second document is told from the first by its heading and an empty line.
func TestTableDocuments(t *testing.T) {
	var b strings.Builder
	r := New(FormatTable, &b, Options{})
	p := part{&Section{Columns: []Column{{Key: "k", Title: "K", Kind: KindUint}}}, [][]Value{{Uint(1)}}}
	for _, name := range []string{"a", "b"} {
		if err := writeDocument(r, Document{Filename: name, Heading: true}, p); err != nil {
			t.Fatal(err)
		}
	}
	checkOutput(t, "a\n┌───┬───┐\n│ K │ 1 │\n└───┴───┘\n\nb\n┌───┬───┐\n│ K │ 1 │\n└───┴───┘\n", b.String())
}

// A document without tables is told from the next as well.
func TestTableHeadings(t *testing.T) {
	var b strings.Builder
	r := New(FormatTable, &b, Options{})
	for _, d := range []Document{{}, {Filename: "a", Heading: true}, {Filename: "b", Heading: true}, {}, {Filename: "c", Heading: true}} {
		if err := writeDocument(r, d); err != nil {
			t.Fatal(err)
		}
	}
	checkOutput(t, "a\n\nb\n\nc\n", b.String())
}

// Nested sections below a long table: each has a title of its own.
func TestTableNestedBelowLong(t *testing.T) {
	nested := &Section{Title: "Below", Layout: LayoutList, Columns: []Column{{Key: "n", Title: "N", Kind: KindUint}}}
	s := &Section{Key: "rows", Layout: LayoutStream, Columns: []Column{
		{Key: "k", Title: "K", Kind: KindUint}, {Key: "rows", Kind: KindRows},
	}}
	rows := slices.Repeat([][]Value{{Uint(1), Null}}, bufferedRows+10)
	rows[3] = []Value{Uint(1), Rows(nested, slices.Values([][]Value{{Uint(8)}}))}
	rows[bufferedRows+5] = []Value{Uint(1), Rows(nested, slices.Values([][]Value{{Uint(9)}}))}
	checkOutput(t, `└───┘

Below
┌───┐
│ N │
├───┤
│ 8 │
└───┘

Below
┌───┐
│ N │
├───┤
│ 9 │
└───┘
`, lastLines(output(t, FormatTable, Options{}, part{s, rows}), 15))
}

// The last column stays in the narrowest table, and a section without columns
// for a table draws none, short or long.
func TestTableWithoutColumns(t *testing.T) {
	hidden := listing(LayoutStream, 0, 0, 0)
	for i := range hidden.Columns {
		hidden.Columns[i].Show = InPlain | InJSON
	}
	for name, s := range map[string]*Section{"b": listing(LayoutStream, 2, 1, 3), "": hidden} {
		for _, n := range []int{0, 1, wholeRows, wholeRows + 1, bufferedRows, bufferedRows + 1} {
			t.Run(fmt.Sprint(name, " ", n), func(t *testing.T) {
				defer failOnPanic(t)
				rows := slices.Repeat([][]Value{{Text("a"), Text("b"), Text("c")}}, n)
				out := output(t, FormatTable, Options{Width: 3}, part{s, rows})
				if strings.ContainsAny(out, "ac") || strings.Count(out, "b") != n*len(name) || name == "" && out != "" {
					t.Errorf("%d rows whose only column is %q:\n%s", n, name, out)
				}
			})
		}
	}
}

// One enormous name pads no other row, and its section is held no longer than
// bufferedText.
func TestTableEnormousCell(t *testing.T) {
	s := &Section{Key: "list", Layout: LayoutList, Columns: []Column{{Key: "n", Title: "N", Kind: KindImageText}, {Key: "k", Title: "K", Kind: KindUint}}}
	huge := strings.Repeat("h", 100_000)
	for _, n := range []int{3, wholeRows + 3, bufferedRows + 3} {
		rows := slices.Repeat([][]Value{{ImageText("a"), Uint(1)}}, n)
		rows[1] = []Value{ImageText(huge), Uint(2)}
		out := output(t, FormatTable, Options{}, part{s, rows})
		if !strings.Contains(out, huge) {
			t.Errorf("%d rows: the name is cut", n)
		}
		if most := len(huge) + (n+4)*4*(maxColumnWidth+20); len(out) > most {
			t.Errorf("%d rows: %d bytes, want %d at most", n, len(out), most)
		}
	}
}
