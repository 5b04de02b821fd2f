package render

import (
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

const (
	testClusterBits = 16
	testCluster     = 1 << testClusterBits
)

// guestSection is a listing of a guest's clusters, made up after the one that
// a disk of many clusters has: the longest of all sections.
func guestSection() *Section {
	const largest = 1 << 40
	return &Section{
		Key:         "guest",
		Layout:      LayoutStream,
		ClusterBits: testClusterBits,
		Line:        guestLine,
		Columns: []Column{
			{Key: "start", Title: "GUEST", Kind: KindAddr, Max: largest},
			{Key: "length", Title: "LENGTH", Kind: KindSize, Max: largest},
			{Key: "depth", Title: "DEPTH", Kind: KindUint, Max: 1, Drop: 7},
			{Key: "present", Title: "PRESENT", Kind: KindBool, Drop: 6},
			{Key: "zero", Title: "ZERO", Kind: KindBool, Drop: 4},
			{Key: "data", Title: "DATA", Kind: KindBool, Drop: 5},
			{Key: "compressed", Title: "COMPRESSED", Kind: KindBool, Drop: 3},
			{Key: "offset", Kind: KindOffset, Max: largest, Show: InPlain | InJSON},
			{Key: "host-offset", Title: "HOST", Kind: KindAddr, Max: largest},
			{Key: "kind", Title: "KIND", Kind: KindEnum, Names: []string{"data", "zero", "zero-allocated", "compressed", "unallocated"},
				Tones: []Tone{ToneNone, ToneGood, ToneGood, ToneCompressed, ToneAbsent}},
			{Key: "sectors", Title: "SECTORS", Kind: KindUint, Max: 1 << 13, Drop: 8},
			{Key: "subclusters.allocated", Title: "ALLOCATED", Kind: KindHex, Max: 1<<32 - 1, Drop: 2},
			{Key: "subclusters.zero", Title: "ZERO BITS", Kind: KindHex, Max: 1<<32 - 1, Drop: 1},
			{Key: "problems", Title: "PROBLEMS", Kind: KindFlags, Names: []string{"unaligned", "beyond-end", "reserved-bits", "overlap"}, Tones: []Tone{ToneAlarm}},
		},
	}
}

// guestLine is the line that a plain listing has for a row.
func guestLine(dst []byte, row []Value) []byte {
	start, host := row[0].num, row[8].num
	dst = append(strconv.AppendUint(append(dst, "0x"...), start, 16), " (#"...)
	dst = append(strconv.AppendUint(dst, start>>testClusterBits, 10), "): 0x"...)
	dst = append(strconv.AppendUint(dst, host, 16), " (#"...)
	return append(strconv.AppendUint(dst, host>>testClusterBits, 10), ')')
}

// guestRow fills the row of the n-th cluster: most hold data, some are null
// where others have a number, and a few have problems.
func guestRow(row []Value, n int) []Value {
	start := uint64(n) * testCluster
	host := start + 0x50000
	row = append(row[:0],
		Addr(start), Size(testCluster), Uint(0), Bool(true), Bool(false), Bool(true), Bool(false),
		Offset(host), Addr(host), Enum(0), Null, Hex(start>>8&0xffffffff), Hex(0), Flags(0))
	switch n % 8 {
	case 3:
		row[6], row[7], row[9], row[10] = Bool(true), Null, Enum(3), Uint(uint64(n%128))
	case 5:
		row[3], row[7], row[8], row[9], row[11], row[12] = Bool(false), Null, Null, Enum(4), Null, Null
	case 7:
		row[13] = Flags(0b0101)
	}
	return row
}

// guestRows returns the first rows of a listing.
func guestRows(n int) [][]Value {
	rows := make([][]Value, n)
	for i := range rows {
		rows[i] = guestRow(nil, i)
	}
	return rows
}

// longSection begins a document with a section that is long already.
func longSection(f Format, s *Section, opts Options) (r Renderer, row []Value) {
	r = New(f, io.Discard, opts)
	r.Begin(testDocument)
	r.Section(s)
	row = make([]Value, len(s.Columns))
	for i := range 2 * bufferedRows {
		r.Row(guestRow(row, i)) // io.Discard takes everything
	}
	return r, row
}

// The buffer's last row of each 64 KiB is appended to memory of its own: less
// than one allocation in a hundred rows, which AllocsPerRun rounds to none.
func TestRowDoesNotAllocate(t *testing.T) {
	for name, output := range looks() {
		t.Run(name, func(t *testing.T) {
			r, row := longSection(output.format, guestSection(), output.opts)
			i := 0
			if n := testing.AllocsPerRun(10_000, func() {
				i++
				r.Row(guestRow(row, i))
			}); n != 0 {
				t.Errorf("a row takes %v allocations, want 0", n)
			}
		})
	}
}

// A look is how a section is written.
type look struct {
	format Format
	opts   Options
}

// looks yields every format, and the table in colours, by their names.
func looks() iter.Seq2[string, look] {
	return func(yield func(string, look) bool) {
		for _, f := range AllFormats() {
			if !yield(string(f), look{format: f}) {
				return
			}
		}
		yield("color", look{FormatTable, Options{Color: true}})
	}
}

func BenchmarkRows(b *testing.B) {
	for name, output := range looks() {
		b.Run(name, func(b *testing.B) {
			r, row := longSection(output.format, guestSection(), output.opts)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := r.Row(guestRow(row, i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTablewriter is what the table of BenchmarkRows would cost without
// the fast path; an operation is a table of 1000 rows.
func BenchmarkTablewriter(b *testing.B) {
	const rows = 1000
	s := guestSection()
	s.Columns = slices.DeleteFunc(s.Columns, func(c Column) bool { return !c.Show.has(InTable) })
	columns := tableColumns(s)
	row := make([]Value, 0, len(s.Columns)+1)
	var d drawer
	b.ReportAllocs()
	for b.Loop() {
		cells := make([][]string, rows)
		for i := range cells {
			cells[i] = textCells(s, slices.Delete(guestRow(row, i), 7, 8)) // offset is not in tables
		}
		d.whole(kinds(columns), new(tableRenderer).titles(columns), cells)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
}

// BenchmarkNumbers holds the appending of numbers against strconv, on numbers of
// all lengths as a listing has them.
func BenchmarkNumbers(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	numbers := make([]uint64, 1024)
	for i := range numbers {
		numbers[i] = random.Uint64() >> (16 + random.IntN(32))
	}
	for _, test := range []struct {
		name   string
		append func([]byte, uint64) []byte
	}{
		{"decimal/strconv", func(dst []byte, n uint64) []byte { return strconv.AppendUint(dst, n, 10) }},
		{"decimal/render", appendUint},
		{"hex/strconv", func(dst []byte, n uint64) []byte { return strconv.AppendUint(append(dst, "0x"...), n, 16) }},
		{"hex/render", appendHex},
	} {
		b.Run(test.name, func(b *testing.B) {
			var dst []byte
			for i := 0; b.Loop(); i++ {
				dst = test.append(dst[:0], numbers[i%len(numbers)])
			}
		})
	}
}
