package render

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// alphabets are what the characters of a terminal can be like: one column
// wide, two, none, of ambiguous width, and of more code points than one.
var alphabets = [][]string{
	strings.Split("abcXYZ0189 -_.,()#\"'|", ""),
	strings.Split("0123456789abcdefx", ""),
	strings.Split("磁盘快照日本語한국어ｆｕ", ""),
	{"e\u0301", "o\u0308", "n\u0303\u0323", "\u0301", "a"},
	strings.Split("äöüßéñçøλЖшאب─│┼§±×°…", ""),
	{"🙂", "💾", "👍🏽", "🇩🇪", "❤\ufe0f", "#\ufe0f\u20e3", "☺", "x"},
	{"\x1b[31m", "\t", "\n", "\xff", "\u200d", "\\", "z"},
}

// randomText returns what an image can hold; one in eight is empty.
func randomText(rng *rand.Rand, longest int) string {
	if rng.IntN(8) == 0 {
		return ""
	}
	letters := alphabets[rng.IntN(len(alphabets))]
	var s strings.Builder
	for range 1 + rng.IntN(longest) {
		s.WriteString(letters[rng.IntN(len(letters))])
	}
	return s.String()
}

// randomTable returns a table of 1 to 8 columns of any kind, long enough for
// the fast path.
func randomTable(rng *rand.Rand) (kinds []Kind, titles []string, rows [][]string) {
	kinds = make([]Kind, 1+rng.IntN(8))
	for i := range kinds {
		kinds[i] = Kind(1 + rng.IntN(int(KindRows)))
	}
	line := func(longest int) []string {
		cells := make([]string, len(kinds))
		for i := range cells {
			cells[i] = Escape(randomText(rng, longest))
		}
		return cells
	}
	if rng.IntN(2) == 0 {
		titles = line(12)
	}
	for range wholeRows + 1 + rng.IntN(24) {
		rows = append(rows, line(1+rng.IntN(20)))
	}
	return kinds, titles, rows
}

func TestDrawEqualsTablewriter(t *testing.T) {
	var d drawer
	for seed := range uint64(200) {
		kinds, titles, rows := randomTable(rand.New(rand.NewPCG(seed, 0)))
		want, got := d.whole(kinds, titles, rows), d.draw(kinds, titles, rows)
		if diff := cmp.Diff(strings.SplitAfter(string(want), "\n"), strings.SplitAfter(string(got), "\n")); diff != "" {
			t.Fatalf("seed %d: fast path differs from tablewriter (-want +got):\n%s", seed, diff)
		}
	}
}

// Every kind has its alignment, in the cells as in the title.
func TestDrawAlignments(t *testing.T) {
	var d drawer
	for kind := KindBool; kind <= KindRows; kind++ {
		for _, titles := range [][]string{nil, {"T"}, {"LONG TITLE"}, {"標題標題標題"}} {
			rows := [][]string{{"x"}, {""}, {"longer"}, {"語"}}
			for len(rows) <= wholeRows {
				rows = append(rows, []string{strings.Repeat("y", len(rows)%9)})
			}
			want, got := d.whole([]Kind{kind}, titles, rows), d.draw([]Kind{kind}, titles, rows)
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("kind %d, titles %q (-want +got):\n%s", kind, titles, diff)
			}
		}
	}
}

// A column can be without any text, its title included.
func TestDrawEmptyColumns(t *testing.T) {
	tests := []struct {
		name   string
		titles []string
		row    []string
	}{
		{"only one", nil, []string{""}},
		{"only one with an empty title", []string{""}, []string{""}},
		{"title but no text", []string{"TITLE"}, []string{""}},
		{"first", nil, []string{"", "b", "c"}},
		{"middle", nil, []string{"a", "", "c"}},
		{"last", nil, []string{"a", "b", ""}},
		{"first of two", []string{"", "B"}, []string{"", "b"}},
		{"last of two", []string{"A", ""}, []string{"a", ""}},
		{"all of three", nil, []string{"", "", ""}},
		{"all but the last", nil, []string{"", "", "c"}},
		{"characters of no width", nil, []string{"\u0301", "b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer failOnPanic(t)
			var d drawer
			kinds := make([]Kind, len(tt.row))
			for i := range kinds {
				kinds[i] = KindImageText
			}
			var rows [][]string
			for range wholeRows + 1 {
				rows = append(rows, tt.row)
			}
			checkOutput(t, string(d.whole(kinds, tt.titles, rows)), string(d.draw(kinds, tt.titles, rows)))
		})
	}
}

// What was in the cells is in the lines, whole, whichever way a table took.
func TestDrawKeepsCells(t *testing.T) {
	var d drawer
	for seed := range uint64(50) {
		kinds, titles, rows := randomTable(rand.New(rand.NewPCG(seed, 3)))
		rows[0][0] = strings.Repeat("long  and  wide 語 ", 40)
		for _, rows := range [][][]string{rows, rows[:wholeRows]} {
			lines := strings.Split(string(d.draw(kinds, titles, rows)), "\n")
			lines = lines[len(lines)-2-len(rows):] // the border and what follows the last newline
			for i, row := range rows {
				rest := lines[i]
				for _, cell := range row {
					var found bool
					if _, rest, found = strings.Cut(rest, cell); !found {
						t.Fatalf("seed %d: cell %q is not in %s", seed, cell, lines[i])
					}
				}
			}
		}
	}
}

// One drawer draws table after table, whatever the one before was like.
func TestDrawerIsReused(t *testing.T) {
	var reused drawer
	for seed := range uint64(20) {
		kinds, titles, rows := randomTable(rand.New(rand.NewPCG(seed, 1)))
		rows = rows[:1+seed%wholeRows]
		var fresh drawer
		want, got := fresh.draw(kinds, titles, rows), reused.draw(kinds, titles, rows)
		if !bytes.Equal(want, got) {
			t.Errorf("seed %d: a drawer that was used before draws\n%s\nwant\n%s", seed, got, want)
		}
	}
}

func TestDrawLooks(t *testing.T) {
	var d drawer
	got := d.draw([]Kind{KindText, KindUint}, []string{"NAME", "N"}, [][]string{{"a", "1"}, {"快照", "4711"}})
	checkOutput(t, `┌──────┬──────┐
│ NAME │    N │
├──────┼──────┤
│ a    │    1 │
│ 快照 │ 4711 │
└──────┴──────┘
`, string(got))
}

func TestFrameWidth(t *testing.T) {
	var d drawer
	for _, widths := range [][]int{{1}, {5, 3}, {1, 2, 3, 40}} {
		t.Run(fmt.Sprint(widths), func(t *testing.T) {
			var cells []string
			for _, w := range widths {
				cells = append(cells, strings.Repeat("x", w))
			}
			line, _, _ := strings.Cut(string(d.whole(make([]Kind, len(widths)), nil, [][]string{cells})), "\n")
			if got, want := frameWidth(widths), displayWidth(line); got != want {
				t.Errorf("frameWidth is %d, tablewriter's line is %d wide", got, want)
			}
		})
	}
}

func TestAppendSpaces(t *testing.T) {
	for _, n := range []int{-3, 0, 1, len(spaces), len(spaces) + 1, 3*len(spaces) + 7} {
		if got, want := string(appendSpaces([]byte("x"), n)), "x"+strings.Repeat(" ", max(n, 0)); got != want {
			t.Errorf("appendSpaces(%d) appends %d, want %d", n, len(got)-1, len(want)-1)
		}
	}
}
