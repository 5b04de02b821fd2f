package qcow2_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A fault is an image with one thing wrong, and what Check reports about it.
type fault struct {
	image qcow2test.Image
	patch func(*qcow2test.Built)
	want  []string
}

// set returns a patch of one field.
func set(field string, value uint64) func(*qcow2test.Built) {
	return func(b *qcow2test.Built) { b.Set(field, value) }
}

// flip returns a patch that flips bits of a field.
func flip(field string, mask uint64) func(*qcow2test.Built) {
	return func(b *qcow2test.Built) { b.Set(field, b.Get(field)^mask) }
}

// faultImage has 4 KiB clusters: header, L1 table at 0x1000, L2 table at 0x2000,
// data at 0x3000 and 0x4000, refcount table at 0x5000, block at 0x6000.
func faultImage() qcow2test.Image {
	return qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: kinds{0: data, 5: data}}
}

// faults returns images of a version with clusters of 1<<bits bytes. Those that
// need version 3 have it in any case.
func faults(version uint32, bits uint) map[string]fault {
	c := uint64(1) << bits
	im := func() qcow2test.Image {
		i := faultImage()
		i.Version, i.ClusterBits, i.Size = version, bits, 256*c
		return i
	}
	v3 := func() qcow2test.Image { i := im(); i.Version = 3; return i }
	v2 := func() qcow2test.Image { i := im(); i.Version = 2; return i }
	zeros := func() qcow2test.Image {
		i := v3()
		i.Clusters = kinds{0: zeroAllocated, 5: data}
		return i
	}
	comp := func() qcow2test.Image {
		return qcow2test.Image{Version: version, ClusterBits: bits, Size: 256 * c, Compressed: map[uint64]qcow2test.Compressed{0: {Sectors: 2}}}
	}
	ext := func() qcow2test.Image {
		return qcow2test.Image{ClusterBits: max(bits, 14), Size: 64 * max(c, 1<<14), IncompatibleFeatures: 1 << 4, Clusters: kinds{0: data}}
	}
	dataFile := func() qcow2test.Image {
		i := v3()
		i.IncompatibleFeatures = 1 << 2
		i.Extensions = []qcow2test.Extension{{Type: uint32(qcow2.ExtDataFile), Data: []byte("/dev/null")}}
		return i
	}
	snap := func() qcow2test.Image {
		i := im()
		i.Snapshots = []qcow2test.Snapshot{{ID: "1", Name: "one"}, {ID: "2", Name: "two"}}
		return i
	}
	bitmaps := func() qcow2test.Image {
		i := v3()
		i.Bitmaps = []qcow2test.Bitmap{{Name: "b"}}
		return i
	}
	names := func() qcow2test.Image {
		i := v3()
		i.Extensions = []qcow2test.Extension{{Type: uint32(qcow2.ExtFeatureNames), Data: make([]byte, 48)}}
		return i
	}
	twoBehind := func(b *qcow2test.Built) { // one cluster more, and a run of two
		b.Bytes = append(b.Bytes, make([]byte, c)...)
		b.Set("l2[0][5]", copied|7*c)
		binary.BigEndian.PutUint64(b.Bytes[2*c+6*8:], copied|8*c)
	}
	return map[string]fault{
		"leak":                    {im(), set("refcount[3]", 2), []string{"leak leak 0x3000 +0x1000 refcount 2 references 1 data of -1 from 0x2000", "error copied-flag 0x3000 refcount 2 entry 0x2000"}},
		"leak of nothing":         {im(), set("l2[0][5]", 0), []string{"leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"leaks of neighbours":     {im(), set("l1[0]", 0), []string{"leak leak 0x2000 +0x3000 refcount 1 references 0"}},
		"refcount 0 of data":      {im(), set("refcount[4]", 0), []string{"error copied-flag 0x4000 refcount 0 entry 0x2028", "error refcount-too-low 0x4000 +0x1000 refcount 0 references 1 data of -1 from 0x2028"}},
		"refcount 0 of header":    {im(), set("refcount[0]", 0), []string{"error refcount-too-low 0x0 +0x1000 refcount 0 references 1 header of -2 from 0x0"}},
		"refcount 0 of L1 table":  {v2(), set("refcount[1]", 0), []string{"error refcount-too-low 0x1000 +0x1000 refcount 0 references 1 l1-table of -1 from 0x28"}},
		"refcount 0 of block":     {im(), set("refcount[6]", 0), []string{"error refcount-too-low 0x6000 +0x1000 refcount 0 references 1 refcount-block of -2 from 0x5000"}},
		"refcount of L2 table":    {im(), set("refcount[2]", 7), []string{"error copied-flag 0x2000 refcount 7 entry 0x1000", "leak leak 0x2000 +0x1000 refcount 7 references 1 l2-table of -1 from 0x1000"}},
		"COPIED missing in L1":    {im(), flip("l1[0]", copied), []string{"error copied-flag 0x2000 refcount 1 entry 0x1000"}},
		"COPIED missing in L2":    {v2(), flip("l2[0][0]", copied), []string{"error copied-flag 0x3000 refcount 1 entry 0x2000"}},
		"COPIED without offset":   {im(), set("l2[0][5]", copied), []string{"error copied-flag entry 0x2028", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"COPIED in L1 without":    {im(), set("l1[0]", copied), []string{"error copied-flag entry 0x1000", "leak leak 0x2000 +0x3000 refcount 1 references 0"}},
		"COPIED in snapshot's L1": {snap(), set("snapshot[1].l1[0]", copied), []string{"error copied-flag", "leak"}},
		"COPIED, but shared":      {snap(), flip("l2[0][0]", copied), []string{"error copied-flag 0x3000 refcount 3 entry 0x2000"}},
		"same cluster twice":      {im(), func(b *qcow2test.Built) { b.Set("l2[0][5]", b.Get("l2[0][0]")) }, []string{"error refcount-too-low 0x3000 +0x1000 refcount 1 references 2 data of -1 from 0x2000", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"unaligned data":          {im(), flip("l2[0][5]", c/2), []string{"error unaligned 0x4000 entry 0x2028", "error overlaps-metadata 0x5000 +0x1000 refcount 1 references 2 refcount-table of -2 from 0x30"}},
		"data beyond the end":     {im(), set("l2[0][5]", copied|9*c), []string{"error beyond-end-of-file 0x9000 entry 0x2028", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"run beyond the end":      {im(), twoBehind, []string{"error copied-flag 0x7000 refcount 0 entry 0x2028", "error beyond-end-of-file 0x8000 entry 0x2030", "leak leak 0x4000 +0x1000 refcount 1 references 0", "error refcount-too-low 0x7000 +0x1000 refcount 0 references 1 data of -1 from 0x2028"}},
		"reserved bit of data":    {im(), flip("l2[0][0]", 1<<57), []string{"error reserved-bits 0x3000 entry 0x2000"}},
		"zero bit in version 2":   {v2(), flip("l2[0][0]", 1), []string{"error reserved-bits 0x3000 entry 0x2000"}},
		"reserved bit of zeros":   {zeros(), flip("l2[0][0]", 2), []string{"error reserved-bits 0x3000 entry 0x2000"}},
		"reserved bit of nothing": {im(), set("l2[0][5]", 4), []string{"error reserved-bits entry 0x2028", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"reserved bit in L1":      {im(), flip("l1[0]", 1<<60), []string{"error reserved-bits 0x2000 entry 0x1000"}},
		"unaligned L2 table":      {im(), flip("l1[0]", c/2), []string{"error l1-table entry 0x1000", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"L2 table beyond the end": {im(), set("l1[0]", copied|16*c), []string{"error l1-table entry 0x1000", "leak leak 0x2000 +0x3000 refcount 1 references 0"}},
		"L1 entry to L1 table":    {im(), set("l1[0]", copied|c), []string{"error", "error overlaps-metadata 0x1000", "leak leak 0x2000 +0x3000"}},
		"data in L1 table":        {im(), set("l2[0][5]", copied|c), []string{"error overlaps-metadata 0x1000 +0x1000 refcount 1 references 2 l1-table of -1 from 0x28", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"data in its L2 table":    {im(), set("l2[0][5]", copied|2*c), []string{"error overlaps-metadata 0x2000 +0x1000 refcount 1 references 2 l2-table of -1 from 0x1000", "leak leak 0x4000"}},
		"data in refcount block":  {im(), set("l2[0][5]", copied|6*c), []string{"error overlaps-metadata 0x6000 +0x1000 refcount 1 references 2 refcount-block of -2 from 0x5000", "leak leak 0x4000"}},
		"one block twice":         {im(), func(b *qcow2test.Built) { binary.BigEndian.PutUint64(b.Bytes[5*c+8:], 6*c) }, []string{"error overlaps-metadata 0x6000 +0x1000 refcount 1 references 2 refcount-block of -2 from 0x5000"}},
		"block unaligned":         {im(), set("refcount_table[0]", 6*c+c/2), []string{"error refcount-table entry 0x5000", "error refcount-unknown"}},
		"block beyond the end":    {im(), set("refcount_table[0]", 16*c), []string{"error refcount-table entry 0x5000", "error refcount-unknown"}},
		"block with reserved bit": {im(), set("refcount_table[0]", 6*c|1), []string{"error refcount-table entry 0x5000"}},
		"refcount table gone":     {im(), set("refcount_table_offset", 256*c), []string{"error refcount-table entry 0x30", "error refcount-unknown"}},
		"data file, no COPIED":    {dataFile(), flip("l2[0][5]", copied), []string{"error copied-flag entry 0x2028"}},
		"data file, zero flag":    {dataFile(), set("l2[0][0]", copied|1), nil},
		"data file, zeros COPIED": {dataFile(), set("l2[0][5]", copied|1), []string{"error copied-flag entry 0x2028"}},
		"compressed with COPIED":  {comp(), flip("l2[0][0]", copied), []string{"error copied-flag 0x1000 entry 0x3000"}},
		"compressed beyond":       {comp(), set("l2[0][0]", 1<<62|32*c), []string{"error beyond-end-of-file 0x20000 entry 0x3000", "leak leak 0x1000"}},
		"compressed too long":     {comp(), flip("l2[0][0]", 15<<58), []string{"error overlaps-metadata 0x2000", ""}},
		"subcluster both":         {ext(), set("l2[0][0].bitmap", 1<<32|1), []string{"error invalid-subclusters 0xc000 entry 0x8000"}},
		"subcluster without host": {ext(), set("l2[0][0]", 0), []string{"error invalid-subclusters entry 0x8000", "leak leak 0xc000"}},
		"backing name outside":    {func() qcow2test.Image { i := im(); i.BackingFile = "base"; return i }(), set("backing_file_offset", c-2), []string{"error header entry 0x10"}},
		"dirty":                   {v3(), set("incompatible_features", 1), []string{"warning dirty entry 0x48"}},
		"corrupt":                 {v3(), set("incompatible_features", 2), []string{"warning corrupt entry 0x48"}},
		"padding":                 {v3(), func(b *qcow2test.Built) { b.Bytes[107] = 1 }, []string{"note header-padding entry 0x68"}},
		"length not of words":     {v3(), set("header_length", 108), []string{"note header-length entry 0x64"}},
		"name of no bit":          {names(), set("extension[0].data[0]", 64<<48), []string{"note feature-name entry 0x78"}},
		"backing name in header":  {func() qcow2test.Image { i := im(); i.BackingFile = "base"; return i }(), set("backing_file_offset", 8), []string{"warning backing-name-in-header entry 0x8"}},
		"data file without name":  {func() qcow2test.Image { i := dataFile(); i.Extensions = nil; return i }(), nil, []string{"error header entry 0x48"}},
		"refcount beyond the end": {im(), func(b *qcow2test.Built) { binary.BigEndian.PutUint16(b.Bytes[6*c+9*2:], 3) }, []string{"warning refcount-beyond-end-of-file 0x9000 +0x1000 refcount 3"}},
		"L1 table too small":      {im(), set("l1_size", 0), []string{"error header entry 0x24", "leak leak 0x1000 +0x4000"}},
		"snapshot L1 unaligned":   {snap(), flip("snapshot[0].l1_table_offset", c/2), []string{"error snapshot-table", "leak"}},
		"snapshot L1 beyond":      {snap(), set("snapshot[1].l1_table_offset", 256*c), []string{"error l1-table entry 0x7048", "leak"}},
		"too many snapshots":      {snap(), set("nb_snapshots", 200), []string{"error snapshot-table"}},
		"snapshot L1 too small":   {snap(), set("snapshot[0].l1_size", 0), []string{"warning snapshot-l1-too-small", "leak"}},
		"snapshots with one id":   {func() qcow2test.Image { i := snap(); i.Snapshots[1].ID = "1"; return i }(), nil, []string{"warning duplicate-snapshot-id"}},
		"snapshot named as an id": {func() qcow2test.Image { i := snap(); i.Snapshots[1].Name = "1"; return i }(), nil, []string{"warning ambiguous-snapshot-name"}},
		"VM state missing":        {func() qcow2test.Image { i := snap(); i.Snapshots[1].VMStateSize = 9; return i }(), nil, []string{"warning missing-vm-state"}},
		"bitmap in use":           {func() qcow2test.Image { i := bitmaps(); i.Bitmaps[0].Flags = 1; return i }(), nil, []string{"warning bitmap-in-use"}},
		"bitmaps stale":           {bitmaps(), set("autoclear_features", 0), []string{"warning bitmaps-inconsistent", "leak leak"}},
		"bitmaps without any":     {v3(), set("autoclear_features", 1), []string{"warning bitmaps-inconsistent entry 0x58"}},
		"file cut in L2 table":    {im(), func(b *qcow2test.Built) { b.Truncate(int(2*c + c/2)) }, []string{"error"}},
		"file cut in L1 table":    {im(), func(b *qcow2test.Built) { b.Truncate(int(c + 4)) }, []string{"error"}},
		"trailing garbage":        {im(), func(b *qcow2test.Built) { b.Bytes = append(b.Bytes, make([]byte, 512)...) }, nil},
	}
}

// TestCheckFaults: each finding begins with the wanted words, and there are no
// others if the fault lists all.
func TestCheckFaults(t *testing.T) {
	for name, f := range faults(3, 12) {
		t.Run(name, func(t *testing.T) {
			b := f.image.Build()
			if f.patch != nil {
				f.patch(b)
			}
			got, _ := check(t, open(t, b))
			for _, want := range f.want {
				if !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, want) }) {
					t.Errorf("no finding %q among\n%s", want, strings.Join(got, "\n"))
				}
			}
			if len(f.want) == 0 && len(got) > 0 || len(got) > len(f.want) && !slices.ContainsFunc(f.want, func(s string) bool { return strings.Count(s, " ") < 3 }) {
				t.Errorf("findings (-want +got):\n%s", gocmp.Diff(f.want, got))
			}
		})
	}
}
