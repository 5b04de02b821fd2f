package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// whole returns all that a finding says of places: "error copied-flag 0x3000
// refcount 3 entry 0x2000: 1× data of -1 [0], L1 0, guest 0x0+0x1000".
func whole(f *qcow2.Finding) string {
	text := fmt.Sprintf("%s: %d×", finding(f), f.Count)
	if f.HasReference {
		text += " " + place(f.HostKind, &f.Reference)
	}
	if f.GuestLength > 0 {
		text += fmt.Sprintf("+%#x", f.GuestLength)
	}
	if f.HasWith {
		text += " with " + place(f.WithKind, &f.With) + fmt.Sprintf(" from %#x", f.With.Entry)
	}
	return text
}

func place(kind qcow2.HostKind, r *qcow2.Reference) string {
	return fmt.Sprintf("%s of %s [%d], L1 %d, guest %#x", kind, r.Owner, r.Index, r.L1Index, r.GuestOffset)
}

// situation opens an image and returns what Check says of it.
func situation(t *testing.T, b *qcow2test.Built, name string, opts ...qcow2.Option) ([]string, []string, qcow2.CheckResult) {
	t.Helper()
	img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)), opts...)
	if err != nil {
		t.Fatal(err)
	}
	var all, details []string
	result, err := img.Check(t.Context(), qcow2.CheckOptions{Name: name, Finding: func(f *qcow2.Finding) bool {
		all, details = append(all, whole(f)), append(details, f.Detail)
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	return all, details, result
}

// TestCheckSituations has images as people have met them, with all that is said
// of their places.
func TestCheckSituations(t *testing.T) {
	const c = 1 << 12
	two := func(im qcow2test.Image) qcow2test.Image {
		im.Snapshots = []qcow2test.Snapshot{{ID: "1", Name: "one"}}
		return im
	}
	tests := map[string]struct {
		image   qcow2test.Image
		patch   func(*qcow2test.Built)
		want    []string
		words   string // of a message
		missing qcow2.Missing
	}{
		"a library put the L1 table past the end": {
			image: faultImage(), patch: set("l1_table_offset", 256*c),
			want: []string{
				"error l1-table entry 0x28: 1×",
				"leak leak 0x1000 +0x4000 refcount 1 references 0: 4×",
			},
			words: "8 bytes at 0x100000, but the file ends at 0x7000", missing: qcow2.Missing{FileBytes: 250 * c, GuestBytes: 1 << 20},
		},
		"a resize put the L1 table where data was": {
			image: faultImage(), patch: func(b *qcow2test.Built) { b.Set("l2[0][5]", copied|c).Set("incompatible_features", 2) },
			want: []string{
				"warning corrupt entry 0x48: 1×",
				"error overlaps-metadata 0x1000 +0x1000 refcount 1 references 2 l1-table of -1 from 0x28: 1× l1-table of active [0], L1 0, guest 0x0" +
					" with data of active [5], L1 0, guest 0x5000 from 0x2028",
				"leak leak 0x4000 +0x1000 refcount 1 references 0: 1×",
			},
		},
		"two tables in one place": {
			image: two(faultImage()), patch: func(b *qcow2test.Built) { b.Set("snapshot[0].l1_table_offset", c) },
			want: []string{
				"error overlaps-metadata 0x1000 +0x1000 refcount 1 references 2 l1-table of -1 from 0x28: 1× l1-table of active [0], L1 0, guest 0x0" +
					" with l1-table of @0 [0], L1 0, guest 0x0 from 0x6000",
				"leak leak 0x5000 +0x1000 refcount 1 references 0: 1×",
			},
		},
		"a table of a snapshot in a refcount block": {
			image: two(faultImage()), patch: func(b *qcow2test.Built) { b.Set("snapshot[0].l1[0]", b.Get("refcount_table[0]")) },
			want: []string{
				"error beyond-end-of-file 0x1000100020000 entry 0x8000: 3× data of @0 [0], L1 0, guest 0x0+0x3000",
				"error reserved-bits 0x1000100020000 entry 0x8000: 1× data of @0 [0], L1 0, guest 0x0+0x1000",
				"leak leak 0x2000 +0x3000 refcount 2 references 1 l2-table of -1 from 0x1000: 3× l2-table of active [0], L1 0, guest 0x0",
				"error overlaps-metadata 0x8000 +0x1000 refcount 1 references 2 refcount-block of -2 from 0x7000: 1× refcount-block of image [0], L1 0, guest 0x0" +
					" with l2-table of @0 [0], L1 0, guest 0x0 from 0x5000",
			},
		},
		"COPIED missing in the L1 table": {
			image: faultImage(), patch: flip("l1[0]", copied),
			want: []string{"error copied-flag 0x2000 refcount 1 entry 0x1000: 1× l2-table of active [0], L1 0, guest 0x0"},
		},
		"COPIED on what a snapshot shares": {
			image: two(faultImage()), patch: func(b *qcow2test.Built) {
				b.Set("l2[0][0]", b.Get("l2[0][0]")|copied).Set("l2[0][5]", b.Get("l2[0][5]")|copied)
			},
			want: []string{
				"error copied-flag 0x3000 refcount 2 entry 0x2000: 1× data of active [0], L1 0, guest 0x0+0x1000",
				"error copied-flag 0x4000 refcount 2 entry 0x2028: 1× data of active [5], L1 0, guest 0x5000+0x1000",
			},
			words: "by its refcount the cluster is shared",
		},
		"bit 63 in the refcount table": {
			image: qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Clusters: dataRun(0, 512)},
			patch: func(b *qcow2test.Built) { b.Set("refcount_table[1]", b.Get("refcount_table[1]")|1<<63) },
			want: []string{
				"error refcount-table entry 0x41408: 1×",
				"error refcount-unknown 0x20000 +0x20000 references 1 data of -1 from 0x18bd0: 256× data of active [58], L1 3, guest 0x1f400",
				"leak leak 0x41800 +0x200 refcount 1 references 0: 1×",
			},
			words: "entry 1 is 0x8000000000041800, an offset past the end of the file; with bit 63 clear it would be 0x41800, inside the file",
		},
		"a copy that stopped": {
			image: qcow2test.Image{ClusterBits: 12, Size: 4 << 20, Clusters: dataRun(500, 20)},
			patch: func(b *qcow2test.Built) { b.Truncate(0x8000 + 100) },
			want: []string{
				"error refcount-table entry 0x30: 1×",
				"error l1-table entry 0x1008: 1×",
				"error beyond-end-of-file 0x9000 +0x6000 entry 0x2fd0: 6× data of active [506], L1 0, guest 0x1fa000+0x6000",
				"error refcount-unknown 0x0 +0x9000 references 1 header of -2 from 0x0: 9× header of image [0], L1 0, guest 0x0",
			},
			missing: qcow2.Missing{FileBytes: 0x19000 - 0x8064, GuestBytes: 2<<20 + 0x6000},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := test.image.Build()
			test.patch(b)
			got, details, result := situation(t, b, "")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !slices.ContainsFunc(details, func(s string) bool { return strings.Contains(s, test.words) }) {
				t.Errorf("no message has %q:\n%s", test.words, strings.Join(details, "\n"))
			}
			if result.Missing != test.missing {
				t.Errorf("missing: %+v, want %+v", result.Missing, test.missing)
			}
		})
	}
}

// dataRun returns n data clusters from one on.
func dataRun(first, n uint64) kinds {
	all := kinds{}
	for i := range n {
		all[first+i] = data
	}
	return all
}

// TestCheckBacking: what is said of a backing file goes by its name.
func TestCheckBacking(t *testing.T) {
	const backs, over = "warning backs-itself entry 0x8: 1×", "note snapshots-over-backing-file entry 0x3c: 1×"
	for _, test := range []struct {
		name, backing string
		snapshots     []qcow2test.Snapshot
		want          []string
	}{
		{"/images/a.qcow2", "a.qcow2", nil, []string{backs}},
		{"/images/a.qcow2", "./a.qcow2\x00rest", nil, []string{backs}},
		{"/images/a.qcow2", "../images/a.qcow2", nil, []string{backs}},
		{"/images/a.qcow2", "/images/a.qcow2", []qcow2test.Snapshot{{ID: "1"}}, []string{backs, over}},
		{"a.qcow2", "a.qcow2", nil, []string{backs}},
		{"", "a.qcow2", nil, nil},
		{"/images/a.qcow2", "b/a.qcow2", nil, nil},
		{"/images/a.qcow2", "nbd:a.qcow2", []qcow2test.Snapshot{{ID: "1"}}, []string{over}},
		{"/images/a.qcow2", "", []qcow2test.Snapshot{{ID: "1"}}, nil},
	} {
		im := faultImage()
		im.BackingFile, im.Snapshots = test.backing, test.snapshots
		if got, _, _ := situation(t, im.Build(), test.name); !slices.Equal(got, test.want) {
			t.Errorf("%s over %q: %q, want %q", test.name, test.backing, got, test.want)
		}
	}
}

// TestCheckDoubt: what looks leaked may be in use where not all was read that
// refers to clusters.
func TestCheckDoubt(t *testing.T) {
	snapshots := faultImage()
	snapshots.Snapshots = []qcow2test.Snapshot{{ID: "1"}, {ID: "2"}}
	unknown := faultImage()
	unknown.AutoclearFeatures, unknown.Extensions = 1<<2, []qcow2test.Extension{{Type: 0x434c4233, Data: make([]byte, 8)}}
	one := qcow2.DefaultLimits()
	one.Snapshots = 1
	leak := func(b *qcow2test.Built) { b.Set("l2[0][5]", 0) }
	tests := map[string]struct {
		image  qcow2test.Image
		patch  func(*qcow2test.Built)
		limits qcow2.Limits
		unread []string
		above  bool
	}{
		"nothing":         {faultImage(), leak, qcow2.DefaultLimits(), nil, false},
		"limit":           {snapshots, leak, one, []string{"snapshot-table"}, true},
		"damage":          {faultImage(), set("l1[0]", copied|1<<30), qcow2.DefaultLimits(), []string{"l1-table"}, false},
		"unknown feature": {unknown, leak, qcow2.DefaultLimits(), []string{"unknown-feature"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := test.image.Build()
			test.patch(b)
			all, details, result := situation(t, b, "", qcow2.WithLimits(test.limits))
			if diff := cmp.Diff(test.unread, result.Unread.Names()); diff != "" || result.AboveLimit != test.above {
				t.Errorf("above a limit: %t; unread (-want +got):\n%s", result.AboveLimit, diff)
			}
			leaks := 0
			for i := range all {
				if strings.HasPrefix(all[i], "leak") {
					leaks++
					if got, want := details[i] != "", test.unread != nil; got != want || want && !strings.Contains(details[i], test.unread[0]) {
						t.Errorf("%s, message %q", all[i], details[i])
					}
				}
			}
			if leaks == 0 {
				t.Errorf("no leak: %q", all)
			}
		})
	}
}

// TestCheckNotes has what is no fault, and worth knowing.
func TestCheckNotes(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*qcow2test.Image)
		field  string
		value  uint64
		want   []string
		words  string
	}{
		"VDI":              {func(*qcow2test.Image) {}, "snapshots_offset", 0x7f10dabe << 32, []string{"warning vdi-signature entry 0x40: 1×"}, "VDI"},
		"autoclear bit":    {func(im *qcow2test.Image) { im.AutoclearFeatures = 1 << 2 }, "nb_snapshots", 0, []string{"note unknown-feature entry 0x58: 1×"}, `"bit-2"`},
		"compatible bit":   {func(im *qcow2test.Image) { im.CompatibleFeatures = 3 }, "nb_snapshots", 0, []string{"note unknown-feature entry 0x50: 1×"}, `"bit-1"`},
		"one extension":    {func(im *qcow2test.Image) { im.Extensions = []qcow2test.Extension{{Type: 7}} }, "nb_snapshots", 0, []string{"note unknown-feature entry 0x70: 1×"}, "the header extension 0x00000007 is not known"},
		"three extensions": {func(im *qcow2test.Image) { im.Extensions = []qcow2test.Extension{{Type: 9}, {Type: 8}, {Type: 9}} }, "nb_snapshots", 0, []string{"note unknown-feature entry 0x70: 1×"}, "3 header extensions are not known, the first is 0x00000009"},
	} {
		im := faultImage()
		test.change(&im)
		got, details, _ := situation(t, im.Build().Set(test.field, test.value), "")
		if !slices.Equal(got, test.want) || !strings.Contains(details[0], test.words) {
			t.Errorf("%s: %q, want %q; message %q, want %q", name, got, test.want, details, test.words)
		}
	}
}

// TestCheckMissing cuts an image at each of its clusters and inside of them: what
// is missing adds up to the whole.
func TestCheckMissing(t *testing.T) {
	im := qcow2test.Image{ClusterBits: 9, Size: 40 << 9, Clusters: dataRun(0, 40)} // header, L1, L2, 40 data clusters, refcounts
	whole := im.Build()
	size := uint64(len(whole.Bytes))
	for cut := uint64(0x400); cut < size; cut += 0x100 {
		b := &qcow2test.Built{Bytes: slices.Clone(whole.Bytes[:cut]), Fields: whole.Fields}
		_, _, result := situation(t, b, "")
		want := qcow2.Missing{FileBytes: size - cut}
		if cut < size-0x400+8 { // the refcount table does not say where the block is
			want.FileBytes -= 0x200
		}
		switch {
		case cut < 0x600: // in the L2 table, of which 40 entries are used
			want.GuestBytes = 40<<9 - (cut-0x400)/8<<9
			if cut > 0x400 { // clusters that begin past the end, which the entries in the file point to
				want.GuestBytes = 40 << 9
			}
		default:
			first := (cut - 0x600 + 0x1ff) / 0x200 // data clusters that begin in the file
			want.GuestBytes = (40 - min(first, 40)) << 9
		}
		if cut > size-0x200 { // of the refcount block the rest is zeros
			want = qcow2.Missing{}
		}
		if result.Missing != want {
			t.Errorf("cut at %#x: %+v, want %+v", cut, result.Missing, want)
		}
	}
	if _, _, result := situation(t, whole, ""); result.Missing != (qcow2.Missing{}) {
		t.Errorf("of a whole image %+v is missing", result.Missing)
	}
}

// TestCheckCountsOnce: an error counts once, however many there are before it.
func TestCheckCountsOnce(t *testing.T) {
	im := qcow2test.Image{Size: 1 << 20, AutoclearFeatures: 1}
	for range 1500 {
		im.Extensions = append(im.Extensions, qcow2test.Extension{Type: uint32(qcow2.ExtBitmaps), Data: make([]byte, 8)})
	}
	if _, result := check(t, open(t, im.Build())); result.Corruptions != 1500 {
		t.Errorf("%d errors of 1500 extensions", result.Corruptions)
	}
}

// TestCheckBeyondJoins: the refcounts of a block for clusters past the end of the
// file are one finding, however they alternate.
func TestCheckBeyondJoins(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 12, RefcountBits: 1, Size: 1 << 20, Clusters: kinds{0: data}}.Build()
	block := b.Get("refcount_table[0]")
	fill(b.Bytes[block+8:block+c4096], 0x55)
	got, details, result := situation(t, b, "")
	first, last := uint64(64), uint64(c4096*8-2)
	want := []string{fmt.Sprintf("warning refcount-beyond-end-of-file %#x +%#x refcount 1: %d×", first<<12, (last-first+1)<<12, (last-first)/2+1)}
	if diff := cmp.Diff(want, got); diff != "" || result.Corruptions != 0 {
		t.Errorf("%+v (-want +got):\n%s", result, diff)
	}
	if want := "16352 of these 32703 clusters have a refcount"; len(details) != 1 || details[0] != want {
		t.Errorf("message %q, want %q", details, want)
	}
}

const c4096 = 4096

func fill(p []byte, b byte) { copy(p, bytes.Repeat([]byte{b}, len(p))) }

// TestCheckJoins: entries that are wrong alike are one finding, whatever lies
// between two kinds of faults, and clusters with equal numbers are.
func TestCheckJoins(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: dataRun(0, 40)}.Build()
	end := uint64(len(b.Bytes)+c4096-1) &^ (c4096 - 1)
	for i, word := range map[uint64]uint64{
		3: end, 4: end + 0x5000, 5: end + 0x2000, // past the end, scattered
		8: 0x100 | 1<<57, 9: 1<<57 | end, 10: 1<<57 | end + 0x1000, // two faults each
		20: 0, 21: 0, 22: 0, // leaks
	} {
		binary.BigEndian.PutUint64(b.Bytes[b.Field("l2[0][0]").Offset+i*8:], word)
	}
	got, _, _ := situation(t, b, "")
	want := []string{
		fmt.Sprintf("error beyond-end-of-file %#x entry 0x2018: 3× data of active [3], L1 0, guest 0x3000+0x3000", end),
		"error reserved-bits entry 0x2040: 1× data of active [8], L1 0, guest 0x8000+0x1000",
		fmt.Sprintf("error beyond-end-of-file %#x +0x2000 entry 0x2048: 2× data of active [9], L1 0, guest 0x9000+0x2000", end),
		fmt.Sprintf("error reserved-bits %#x +0x2000 entry 0x2048: 2× data of active [9], L1 0, guest 0x9000+0x2000", end),
		"leak leak 0x6000 +0x3000 refcount 1 references 0: 3×",
		"leak leak 0xb000 +0x3000 refcount 1 references 0: 3×",
		"leak leak 0x17000 +0x3000 refcount 1 references 0: 3×",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckManyFindings: those of a kind after the first thousands are one, and
// count as before.
func TestCheckManyFindings(t *testing.T) {
	const bits, most = 9, 4096
	im := qcow2test.Image{ClusterBits: bits, RefcountBits: 1, Size: 1 << 20, Clusters: kinds{0: data}}
	b := im.Build()
	table, end := b.Get("refcount_table_offset"), uint64(len(b.Bytes))
	b.Bytes = append(b.Bytes, make([]byte, 1<<9<<13-end)...) // two blocks of 4096 refcounts each, and two more with holes
	block := b.Get("refcount_table[0]")
	fill(b.Bytes[block+8:block+512], 0x55)
	for i := range uint64(2) {
		at := end + i<<bits
		fill(b.Bytes[at:at+512], 0x55)
		binary.BigEndian.PutUint64(b.Bytes[table+(i+1)*8:], at)
	}
	b.Bytes = append(b.Bytes, make([]byte, 1<<9<<12)...)
	all, details, result := situation(t, b, "")
	leaks := slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !strings.HasPrefix(s, "leak leak") })
	wantLeaks := uint64(3*4096-64) / 2 // the blocks lie before
	if result.Leaks != wantLeaks || len(leaks) != most+1 {
		t.Fatalf("%d leaks in %d findings, want %d in %d", result.Leaks, len(leaks), wantLeaks, most+1)
	}
	rest := wantLeaks - most
	if want := fmt.Sprintf("+%#x refcount 1 references 0: %d×", rest<<bits, rest); !strings.HasSuffix(leaks[most], want) {
		t.Errorf("%s, want …%s", leaks[most], want)
	}
	if want := fmt.Sprintf("the rest of %d findings of this kind, not next to each other; the first is here", wantLeaks); !slices.Contains(details, want) {
		t.Errorf("no message %q", want)
	}
}

// TestCheckLengths: of every malformed image, the lengths of the findings add up
// to the counts, with neighbours joined.
func TestCheckLengths(t *testing.T) {
	for name, b := range qcow2test.Malformed() {
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		if err != nil || img.Supported() != nil {
			continue
		}
		t.Run(name, func(t *testing.T) { check(t, img) })
	}
}
