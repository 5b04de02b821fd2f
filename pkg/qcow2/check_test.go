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

	"github.com/google/go-cmp/cmp"

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
	if f.HasReference && !f.HasEntry {
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
		n := max(f.Length/g.ClusterSize, f.GuestLength/g.ClusterSize, 1)
		if f.Severity <= qcow2.SeverityLeak && n != f.Count && f.HostKind != qcow2.HostL2Table {
			t.Errorf("%s: %d clusters by its lengths, but it counts %d", finding(f), n, f.Count)
		}
		n = f.Count
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

// TestCheckModel compares what Check reports about clusters with the model, on
// random images.
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
					if f.HasReference && !f.HasEntry && c == f.Offset/m.g.ClusterSize && m.refs[c][0] != (hostRef{f.HostKind, f.Reference}) {
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

// TestCheckMany: one L2 table that 100 000 L1 entries point to is read once, and
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

// TestCheckRefcountOffset: a finding says where the refcount lies, whatever its
// width.
func TestCheckRefcountOffset(t *testing.T) {
	for bits := uint64(2); bits <= 64; bits *= 2 {
		b := qcow2test.Image{ClusterBits: 9, Size: 1 << 15, RefcountBits: bits, Clusters: kinds{0: data, 5: data}}.Build()
		b.Set("l2[0][5]", b.Get("l2[0][0]")) // cluster 3 twice, 4 not at all
		want := map[uint64]uint64{}
		for _, cluster := range []uint64{3, 4} {
			want[cluster<<9] = b.Get("refcount_table[0]") + cluster*bits/8
		}
		got := map[uint64]uint64{}
		if _, err := open(t, b).Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
			got[f.Offset] = f.RefcountOffset
			return true
		}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d bits (-want +got):\n%s", bits, diff)
		}
	}
}

// TestCheckTruncatedRefcountTable: a refcount table that the file cuts in its
// last cluster is one error.
func TestCheckTruncatedRefcountTable(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: kinds{3: data}}.Build()
	table, end := b.Get("refcount_table_offset"), uint64(len(b.Bytes)+4095)&^4095
	moved := append(slices.Clone(b.Bytes), make([]byte, end-uint64(len(b.Bytes)))...)
	moved = append(moved, b.Bytes[table:table+800]...)
	b.Bytes = moved
	b.Set("refcount_table_offset", end)
	all, _ := check(t, open(t, b))
	want := []string{
		fmt.Sprintf("error refcount-table entry %#x", end+800),
		fmt.Sprintf("leak leak %#x +0x1000 refcount 1 references 0", table),
		fmt.Sprintf("error refcount-too-low %#x +0x1000 refcount 0 references 1 refcount-table of -2 from 0x30", end),
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckSmallL1TableOfDuplicate: a snapshot with the id of another is judged
// as the others are.
func TestCheckSmallL1TableOfDuplicate(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 4 << 15, Clusters: kinds{3: data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}, {ID: "1"}}}.Build()
	b.Set("snapshot[1].l1_size", 1)
	all, _ := check(t, open(t, b))
	at := b.Field("snapshot[1].l1_table_offset").Offset
	want := []string{
		fmt.Sprintf("warning duplicate-snapshot-id entry %#x", at),
		fmt.Sprintf("warning snapshot-l1-too-small entry %#x", at+8),
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckLongNames: the words of findings have the start of a name, or what check
// writes is many times the file.
func TestCheckLongNames(t *testing.T) {
	long := strings.Repeat("\x00", 65528)
	b := qcow2test.Image{
		ClusterBits: 9, Size: 4 << 15, Clusters: kinds{3: data},
		Bitmaps:   []qcow2test.Bitmap{{Name: strings.Repeat("\x01", 1023), Flags: uint32(qcow2.BitmapInUse)}},
		Snapshots: []qcow2test.Snapshot{{ID: long}, {ID: long, Name: long, VMStateSize: 1 << 20}},
	}.Build()
	b.Set("snapshot[1].l1_size", 1)
	words := map[qcow2.FindingKind]int{}
	if _, err := open(t, b).Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
		if f.Severity == qcow2.SeverityWarning {
			words[f.Kind] = len(f.Detail)
		}
		return true
	}}); err != nil {
		t.Fatal(err)
	}
	for _, k := range []qcow2.FindingKind{qcow2.FindingBitmapInUse, qcow2.FindingDuplicateSnapshotID, qcow2.FindingAmbiguousSnapshotName, qcow2.FindingSnapshotL1TooSmall, qcow2.FindingMissingVMState} {
		if n := words[k]; n == 0 || n > 400 {
			t.Errorf("%v: %d bytes of words", k, n)
		}
	}
}
