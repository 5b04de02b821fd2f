package qcow2_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// finding returns a finding as text: "error refcount-too-low 0x50000 refcount 1
// references 2 entry 0x40000".
func finding(f *qcow2.Finding) string {
	words := []string{f.Severity.String(), f.Kind.String()}
	if f.HasOffset {
		words = append(words, fmt.Sprintf("%#x", f.Offset))
	}
	if f.Length > 0 {
		words = append(words, fmt.Sprintf("+%#x", f.Length))
	}
	if f.HasRefcount {
		words = append(words, fmt.Sprintf("refcount %d", f.Refcount))
	}
	if f.HasReferences {
		words = append(words, fmt.Sprintf("references %d", f.References))
	}
	if f.HasReference {
		words = append(words, fmt.Sprintf("%v of %d from %#x", f.HostKind, f.Reference.Owner, f.Reference.Entry))
	}
	if f.HasEntry {
		words = append(words, fmt.Sprintf("entry %#x", f.Entry))
	}
	return strings.Join(words, " ")
}

// check returns the findings as text, and the result.
func check(t *testing.T, img *qcow2.Image) ([]string, qcow2.CheckResult) {
	t.Helper()
	var all []string
	var counted qcow2.CheckResult
	result, err := img.Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
		all = append(all, finding(f))
		g, _ := img.Geometry()
		n := max(f.Length/g.ClusterSize, 1)
		switch f.Severity {
		case qcow2.SeverityError:
			counted.Corruptions += n
		case qcow2.SeverityLeak:
			counted.Leaks += n
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	if counted.Corruptions != result.Corruptions || counted.Leaks != result.Leaks {
		t.Errorf("findings of %d errors and %d leaks, but the result has %d and %d", counted.Corruptions, counted.Leaks, result.Corruptions, result.Leaks)
	}
	return all, result
}

// TestCheckModel compares what Check says of clusters with the model, on random
// images.
func TestCheckModel(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			im := randomHostImage(r)
			if seed%4 == 0 {
				im.Subclusters = nil // random ones are not healthy
			}
			b := im.Build()
			if seed%4 != 0 {
				damageTables(r, b)
				damage(r, b)
			}
			img := open(t, b)
			m := newHostModel(t, img, b.Bytes)
			leaks, low, overlaps := map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
			for c := range m.g.HostClusters {
				refcount, ok := m.refcount(c)
				n := uint64(len(m.refs[c]))
				overlaps[c] = m.problems[c]&qcow2.OverlapsMetadata != 0
				leaks[c] = ok && refcount > n
				low[c] = ok && refcount < n && !overlaps[c]
			}
			_, err := img.Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
				for c := f.Offset / m.g.ClusterSize; c < ceilDiv(f.Offset+f.Length, m.g.ClusterSize); c++ {
					sets := map[qcow2.FindingKind]map[uint64]bool{qcow2.FindingLeak: leaks, qcow2.FindingRefcountTooLow: low, qcow2.FindingOverlap: overlaps}
					if set, ok := sets[f.Kind]; ok && !set[c] {
						t.Errorf("cluster %d: %s, but the model does not say so", c, finding(f))
					} else if ok {
						delete(set, c)
					}
					if f.HasReference && m.refs[c][0] != (hostRef{f.HostKind, f.Reference}) {
						t.Errorf("cluster %d is referred to by %+v, the model says %+v", c, f.Reference, m.refs[c][0])
					}
				}
				return true
			}})
			if err != nil {
				t.Fatal(err)
			}
			for name, set := range map[string]map[uint64]bool{"leaks": leaks, "has a refcount too low": low, "overlaps": overlaps} {
				for c, is := range set {
					if refcount, known := m.refcount(c); is && known {
						t.Errorf("cluster %d %s (refcount %d, %d references), but Check does not say so", c, name, refcount, len(m.refs[c]))
					}
				}
			}
			if found, result := check(t, img); seed%4 == 0 && len(found) > 0 && !harmless(found) {
				t.Errorf("a healthy image: %+v %q", result, found)
			}
		})
	}
}

// harmless reports whether no finding is an error or a leak.
func harmless(found []string) bool {
	return !slices.ContainsFunc(found, func(s string) bool { return strings.HasPrefix(s, "error") || strings.HasPrefix(s, "leak") })
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }

// A fault is an image with one thing wrong, and what Check says of it.
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

func faults() map[string]fault {
	im := faultImage
	v2 := func() qcow2test.Image { i := im(); i.Version = 2; return i }
	zeros := func() qcow2test.Image {
		i := im()
		i.Clusters = kinds{0: zeroAllocated, 5: data}
		return i
	}
	comp := func() qcow2test.Image {
		return qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Compressed: map[uint64]qcow2test.Compressed{0: {Sectors: 2}}}
	}
	ext := func() qcow2test.Image {
		return qcow2test.Image{ClusterBits: 14, Size: 1 << 20, IncompatibleFeatures: 1 << 4, Clusters: kinds{0: data}}
	}
	snap := func() qcow2test.Image {
		i := im()
		i.Snapshots = []qcow2test.Snapshot{{ID: "1", Name: "one"}, {ID: "2", Name: "two"}}
		return i
	}
	bitmaps := func() qcow2test.Image {
		i := im()
		i.Bitmaps = []qcow2test.Bitmap{{Name: "b"}}
		return i
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
		"COPIED, but shared":      {snap(), flip("l2[0][0]", copied), []string{"error copied-flag 0x3000 refcount 3 entry 0x2000"}},
		"same cluster twice":      {im(), func(b *qcow2test.Built) { b.Set("l2[0][5]", b.Get("l2[0][0]")) }, []string{"error refcount-too-low 0x3000 +0x1000 refcount 1 references 2 data of -1 from 0x2000", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"unaligned data":          {im(), flip("l2[0][5]", 0x200), []string{"error unaligned 0x4000 entry 0x2028", "error overlaps-metadata 0x5000 +0x1000 refcount 1 references 2 refcount-table of -2 from 0x30"}},
		"data beyond the end":     {im(), set("l2[0][5]", copied|0x9000), []string{"error beyond-end-of-file 0x9000 entry 0x2028", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"reserved bit of data":    {im(), flip("l2[0][0]", 1<<57), []string{"error reserved-bits 0x3000 entry 0x2000"}},
		"zero bit in version 2":   {v2(), flip("l2[0][0]", 1), []string{"error reserved-bits 0x3000 entry 0x2000"}},
		"reserved bit of zeros":   {zeros(), flip("l2[0][0]", 2), []string{"error reserved-bits 0x3000 entry 0x2000"}},
		"reserved bit of nothing": {im(), set("l2[0][5]", 4), []string{"error reserved-bits entry 0x2028", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"reserved bit in L1":      {im(), flip("l1[0]", 1<<60), []string{"error reserved-bits 0x2000 entry 0x1000"}},
		"unaligned L2 table":      {im(), flip("l1[0]", 0x200), []string{"error l1-table entry 0x1000", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"L2 table beyond the end": {im(), set("l1[0]", copied|0x10000), []string{"error l1-table entry 0x1000", "leak leak 0x2000 +0x3000 refcount 1 references 0"}},
		"L1 entry to L1 table":    {im(), set("l1[0]", copied|0x1000), []string{"error", "error overlaps-metadata 0x1000", "leak leak 0x2000 +0x3000"}},
		"data in L1 table":        {im(), set("l2[0][5]", copied|0x1000), []string{"error overlaps-metadata 0x1000 +0x1000 refcount 1 references 2 l1-table of -1 from 0x28", "leak leak 0x4000 +0x1000 refcount 1 references 0"}},
		"data in its L2 table":    {im(), set("l2[0][5]", copied|0x2000), []string{"error overlaps-metadata 0x2000 +0x1000 refcount 1 references 2 l2-table of -1 from 0x1000", "leak leak 0x4000"}},
		"data in refcount block":  {im(), set("l2[0][5]", copied|0x6000), []string{"error overlaps-metadata 0x6000 +0x1000 refcount 1 references 2 refcount-block of -2 from 0x5000", "leak leak 0x4000"}},
		"one block twice":         {im(), func(b *qcow2test.Built) { binary.BigEndian.PutUint64(b.Bytes[0x5008:], 0x6000) }, []string{"error overlaps-metadata 0x6000 +0x1000 refcount 1 references 2 refcount-block of -2 from 0x5000"}},
		"block unaligned":         {im(), set("refcount_table[0]", 0x6200), []string{"error refcount-table entry 0x5000", "error refcount-unknown"}},
		"block beyond the end":    {im(), set("refcount_table[0]", 0x10000), []string{"error refcount-table entry 0x5000", "error refcount-unknown"}},
		"block with reserved bit": {im(), set("refcount_table[0]", 0x6001), []string{"error refcount-table entry 0x5000"}},
		"refcount table gone":     {im(), set("refcount_table_offset", 0x100000), []string{"error refcount-table entry 0x100000", "error refcount-unknown"}},
		"compressed with COPIED":  {comp(), flip("l2[0][0]", copied), []string{"error copied-flag 0x1000 entry 0x3000"}},
		"compressed beyond":       {comp(), set("l2[0][0]", 1<<62|0x20000), []string{"error beyond-end-of-file 0x20000 entry 0x3000", "leak leak 0x1000"}},
		"compressed too long":     {comp(), flip("l2[0][0]", 15<<58), []string{"error overlaps-metadata 0x2000", ""}},
		"subcluster both":         {ext(), set("l2[0][0].bitmap", 1<<32|1), []string{"error invalid-subclusters 0xc000 entry 0x8000"}},
		"subcluster without host": {ext(), set("l2[0][0]", 0), []string{"error invalid-subclusters entry 0x8000", "leak leak 0xc000"}},
		"dirty":                   {im(), set("incompatible_features", 1), []string{"warning dirty entry 0x48"}},
		"corrupt":                 {im(), set("incompatible_features", 2), []string{"warning corrupt entry 0x48"}},
		"padding":                 {im(), func(b *qcow2test.Built) { b.Bytes[107] = 1 }, []string{"note header-padding entry 0x68"}},
		"L1 table too small":      {im(), set("l1_size", 0), []string{"error header entry 0x24", "leak leak 0x1000 +0x4000"}},
		"snapshot L1 unaligned":   {snap(), flip("snapshot[0].l1_table_offset", 0x200), []string{"error snapshot-table", "leak"}},
		"snapshot L1 beyond":      {snap(), set("snapshot[1].l1_table_offset", 0x100000), []string{"error l1-table entry 0x100000", "leak"}},
		"too many snapshots":      {snap(), set("nb_snapshots", 200), []string{"error snapshot-table"}},
		"snapshot L1 too small":   {snap(), set("snapshot[0].l1_size", 0), []string{"warning snapshot-l1-too-small", "leak"}},
		"snapshots with one id":   {func() qcow2test.Image { i := snap(); i.Snapshots[1].ID = "1"; return i }(), nil, []string{"warning duplicate-snapshot-id"}},
		"snapshot named as an id": {func() qcow2test.Image { i := snap(); i.Snapshots[1].Name = "1"; return i }(), nil, []string{"warning ambiguous-snapshot-name"}},
		"VM state missing":        {func() qcow2test.Image { i := snap(); i.Snapshots[1].VMStateSize = 9; return i }(), nil, []string{"warning missing-vm-state"}},
		"bitmap in use":           {func() qcow2test.Image { i := bitmaps(); i.Bitmaps[0].Flags = 1; return i }(), nil, []string{"warning bitmap-in-use"}},
		"bitmaps stale":           {bitmaps(), set("autoclear_features", 0), []string{"warning bitmaps-inconsistent", "leak leak"}},
		"bitmaps without any":     {im(), set("autoclear_features", 1), []string{"warning bitmaps-inconsistent entry 0x58"}},
		"file cut in L2 table":    {im(), func(b *qcow2test.Built) { b.Truncate(0x2800) }, []string{"error"}},
		"file cut in L1 table":    {im(), func(b *qcow2test.Built) { b.Truncate(0x1004) }, []string{"error"}},
		"trailing garbage":        {im(), func(b *qcow2test.Built) { b.Bytes = append(b.Bytes, make([]byte, 512)...) }, nil},
	}
}

// TestCheckFaults: each finding begins with what is wanted of it, and there are
// no others where the wanted ones say all.
func TestCheckFaults(t *testing.T) {
	for name, f := range faults() {
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

// TestCheckMany: one L2 table that 100 000 L1 entries lead to is read once, and
// counted for each.
func TestCheckMany(t *testing.T) {
	const n = 100_000
	im := qcow2test.Image{ClusterBits: 9, Size: n << 15, L1Size: n, RefcountBits: 32, Clusters: kinds{5: data}}
	b := im.Build()
	l1 := b.Get("l1_table_offset")
	for i := range uint64(n) {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], b.Get("l1[0]")&^copied)
	}
	table := b.Get("l1[0]") &^ copied
	b.Set("l1[0]", table).Set("l2[0][5]", b.Get("l2[0][5]")&^copied)
	b.Set(fmt.Sprintf("refcount[%d]", table>>9), n).Set(fmt.Sprintf("refcount[%d]", b.Get("l2[0][5]")>>9), n)
	img, r := openCounted(t, b)
	if found, result := check(t, img); len(found) > 0 || result.AllocatedClusters != 1 {
		t.Errorf("%+v %q", result, found)
	}
	if most := 3 * len(b.Bytes); r.bytes > most {
		t.Errorf("%d bytes read of a file of %d", r.bytes, len(b.Bytes))
	}
}

func TestCheckStops(t *testing.T) {
	b := faultImage().Build()
	b.Set("l1[0]", 0).Set("incompatible_features", 1)
	calls := 0
	result, err := open(t, b).Check(t.Context(), qcow2.CheckOptions{Finding: func(*qcow2.Finding) bool { calls++; return false }})
	if calls != 1 || err != nil || result.Leaks != 0 {
		t.Errorf("%d calls after the first returned false, %+v, %v", calls, result, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, b).Check(ctx, qcow2.CheckOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v of a context that is done", err)
	}
	b.Set("incompatible_features", 1<<40)
	if _, err := open(t, b).Check(t.Context(), qcow2.CheckOptions{}); !errors.Is(err, qcow2.ErrUnsupported) {
		t.Errorf("error %v of an unknown feature", err)
	}
}
