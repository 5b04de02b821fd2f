package qcow2_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// snapshots returns the snapshots of img and the error at the end.
func snapshots(img *qcow2.Image) ([]qcow2.Snapshot, error) { return collect(img.Snapshots()) }

func TestSnapshots(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Snapshots: []qcow2test.Snapshot{
		{ID: "1", Name: "evil\x1b[31m\n", Seconds: math.MaxUint32, Nanoseconds: 5, VMClock: 1<<63 + 1, VMStateSize: 1 << 40, VMState32: 7, DiskSize: 1 << 19, ICount: 99},
		{ID: strings.Repeat("i", 300), Name: strings.Repeat("n", 1000), ICount: math.MaxUint64},
		{ID: "", Name: "\xff\xfe", UnknownExtra: []byte("future")},
	}}.Build()
	got, err := snapshots(open(t, b))
	if err != nil {
		t.Fatal(err)
	}
	want := []qcow2.Snapshot{
		{ID: "1", Name: "evil\x1b[31m\n", Seconds: math.MaxUint32, Nanoseconds: 5, VMClock: 1<<63 + 1, VMStateSize: 1 << 40, DiskSize: 1 << 19, ICount: 99, HasICount: true, ExtraSize: 24},
		{ID: strings.Repeat("i", 300), Name: strings.Repeat("n", 1000), DiskSize: 1 << 20, ICount: math.MaxUint64, ExtraSize: 24},
		{Name: "\xff\xfe", DiskSize: 1 << 20, HasICount: true, ExtraSize: 30, Extra: []byte("future")},
	}
	for i := range want {
		name := func(field string) string { return "snapshot[" + string(rune('0'+i)) + "]." + field }
		want[i].Index = i
		want[i].Offset = b.Field(name("l1_table_offset")).Offset
		want[i].L1TableOffset = b.Get(name("l1_table_offset"))
		want[i].L1Size = 32
		want[i].IDSize, want[i].NameSize = uint16(len(want[i].ID)), uint16(len(want[i].Name))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
}

func TestSnapshotExtraData(t *testing.T) {
	for _, test := range []struct {
		size int // −1: none
		want qcow2.Snapshot
	}{
		{-1, qcow2.Snapshot{VMStateSize: 32, DiskSize: 1 << 20}},
		{4, qcow2.Snapshot{VMStateSize: 32, DiskSize: 1 << 20, ExtraSize: 4, Extra: []byte{0, 0, 0, 0}}},
		{8, qcow2.Snapshot{VMStateSize: 64, DiskSize: 1 << 20, ExtraSize: 8}},
		{12, qcow2.Snapshot{VMStateSize: 64, DiskSize: 1 << 20, ExtraSize: 12, Extra: []byte{0, 0, 0, 0}}},
		{16, qcow2.Snapshot{VMStateSize: 64, DiskSize: 1 << 19, ExtraSize: 16}},
		{23, qcow2.Snapshot{VMStateSize: 64, DiskSize: 1 << 19, ExtraSize: 23, Extra: []byte{0, 0, 0, 0, 0, 0, 0}}},
		{24, qcow2.Snapshot{VMStateSize: 64, DiskSize: 1 << 19, ExtraSize: 24, ICount: 9, HasICount: true}},
		{32, qcow2.Snapshot{VMStateSize: 64, DiskSize: 1 << 19, ExtraSize: 32, ICount: 9, HasICount: true, Extra: []byte("newfield")}},
	} {
		b := qcow2test.Image{Version: 2, Size: 1 << 20, Snapshots: []qcow2test.Snapshot{
			{ID: "1", Name: "n", ExtraSize: test.size, VMState32: 32, VMStateSize: 64, DiskSize: 1 << 19, ICount: 9, UnknownExtra: []byte("newfield")},
		}}.Build()
		got, err := snapshots(open(t, b))
		if err != nil || len(got) != 1 {
			t.Fatalf("extra data of %d bytes: %d snapshots, %v", test.size, len(got), err)
		}
		test.want.ID, test.want.Name = "1", "n"
		if diff := cmp.Diff(test.want, got[0], cmpopts.IgnoreFields(qcow2.Snapshot{}, "Offset", "L1TableOffset", "L1Size", "IDSize", "NameSize")); diff != "" {
			t.Errorf("extra data of %d bytes (-want +got):\n%s", test.size, diff)
		}
	}
}

func twoSnapshots() qcow2test.Image {
	return qcow2test.Image{Size: 1 << 20, Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "a"}, {ID: "2", Name: "b"}}}
}

func TestBrokenSnapshotTable(t *testing.T) {
	tests := map[string]struct {
		field string
		value uint64
		n     int
		kind  error
		words string
	}{
		"4 billion":      {"nb_snapshots", 0xffffffff, 0, limit, "nb_snapshots 4294967295 is above the limit of 65536 (Snapshots)"},
		"offset 0":       {"snapshots_offset", 0, 0, corrupt, "snapshots_offset 0x0 is not that of a cluster"},
		"unaligned":      {"snapshots_offset", 0x10200, 0, corrupt, "snapshots_offset 0x10200"},
		"past the end":   {"snapshots_offset", 1 << 40, 0, qcow2.ErrTruncated, "entry 0: fixed part of 40 bytes, but the file ends at 0x"},
		"largest offset": {"snapshots_offset", math.MaxUint64 &^ 0xffff, 0, qcow2.ErrTruncated, "entry 0: fixed part of 40 bytes, but the file ends at 0x"},
		"extra data":     {"snapshot[0].extra_data_size", 0xffffffff, 1, qcow2.ErrTruncated, "entry 1: fixed part of 40 bytes, but the file ends at 0x"},
		"extra data cut": {"snapshot[0].extra_data_size", 1 << 20, 1, qcow2.ErrTruncated, "entry 1: fixed part of 40 bytes, but the file ends at 0x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := snapshots(open(t, twoSnapshots().Build().Set(test.field, test.value)))
			if e := asError(t, err); len(got) != test.n || !errors.Is(e, test.kind) || !strings.Contains(e.Detail, test.words) {
				t.Errorf("%d snapshots and %q of kind %v, want %d and %q of kind %v", len(got), e, e.Kind, test.n, test.words, test.kind)
			}
		})
	}
}

// damages returns the first thing that is wrong with each entry of the snapshot
// table, "" if nothing is, and the error at the end.
func damages(img *qcow2.Image) []string {
	var all []string
	for s, err := range img.Snapshots() {
		switch e, isError := errors.AsType[*qcow2.Error](err); {
		case isError:
			all = append(all, "error: "+e.Detail)
		case len(s.Damage) > 0:
			all = append(all, s.Damage[0].Detail)
		default:
			all = append(all, "")
		}
	}
	return all
}

// TestSnapshotExtraDataTooLarge: an entry with too much extra data is there as far
// as the file has it, and its clusters are its own.
func TestSnapshotExtraDataTooLarge(t *testing.T) {
	const tooMuch = "entry 0: 1025 bytes of extra data are above the limit of 1024 (SnapshotExtraBytes)"
	image := twoSnapshots()
	image.Clusters = kinds{0: data}
	image.Snapshots[0].UnknownExtra = make([]byte, 1001) // beside 24 bytes
	image.Snapshots[0].DiskSize = 1 << 19
	b := image.Build()
	img := open(t, b)
	got, err := snapshots(img)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d snapshots, %v", len(got), err)
	}
	if diff := cmp.Diff([]string{tooMuch, ""}, damages(img)); diff != "" {
		t.Errorf("what is wrong with the entries (-want +got):\n%s", diff)
	}
	if s := got[0]; s.ID != "1" || s.Name != "a" || s.DiskSize != 1<<19 || s.ExtraSize != 1025 || len(s.Extra) != 1001 || !errors.Is(s.Damage[0], limit) ||
		s.Damage[0].Offset != b.Field("snapshot[0].extra_data_size").Offset || s.L1TableOffset != b.Get("snapshot[0].l1_table_offset") {
		t.Errorf("entry 0 is %+v", s)
	}
	if s := got[1]; s.ID != "2" || s.Name != "b" || s.L1TableOffset != b.Get("snapshot[1].l1_table_offset") {
		t.Errorf("entry 1 is %+v", s)
	}
	if _, result := check(t, img); result.Corruptions != 1 || result.Leaks != 0 {
		t.Errorf("check: %+v, want 1 error and no leak", result)
	}
	image.Snapshots[0].UnknownExtra = nil // the lengths of the file say what is not there
	got, err = snapshots(open(t, image.Build().Set("snapshot[0].extra_data_size", 1<<20)))
	if e := asError(t, err); len(got) != 1 || !errors.Is(e, qcow2.ErrTruncated) || got[0].ID != "" || got[0].DiskSize != 1<<19 || len(got[0].Damage) != 2 ||
		!strings.HasPrefix(got[0].Damage[1].Detail, "entry 0: extra data of 1048576 bytes, but the file ends at 0x") {
		t.Errorf("extra data past the end: %+v, %v", got, err)
	}
}

// TestSnapshotTableCut ends the file at every byte of the table: the entries
// whose fixed parts are before the cut are there, with what the file has of their
// text, and the error says where the file ends.
func TestSnapshotTableCut(t *testing.T) {
	whole := twoSnapshots().Build()
	first, second := whole.Field("snapshot[0].l1_table_offset").Offset, whole.Field("snapshot[1].l1_table_offset").Offset
	end := second + (second - first)
	for n := first; n < end; n++ {
		b := qcow2test.Built{Bytes: whole.Bytes[:n]}
		got, err := snapshots(open(t, &b))
		want := 0
		if n >= first+40 {
			want = 1
		}
		if n >= second+40 {
			want = 2
		}
		if len(got) != want || (err == nil) != (want == 2) {
			t.Errorf("file of %#x bytes: %d snapshots, %v; want %d", n, len(got), err, want)
			continue
		}
		for i, s := range got {
			there := n - s.Offset - 40 // of 24 bytes of extra data, id and name
			text := fmt.Sprintf("%d%c", i+1, 'a'+i)[:min(max(there, 24)-24, 2)]
			if s.ID+s.Name != text || (len(s.Damage) == 0) != (there >= 26) || len(s.Damage) > 0 && !errors.Is(s.Damage[0], qcow2.ErrTruncated) {
				t.Errorf("file of %#x bytes: snapshot %+v, want text %q", n, s, text)
			}
		}
	}
}

// TestSnapshotCountTooLarge ends the file where the table ends.
func TestSnapshotCountTooLarge(t *testing.T) {
	b := twoSnapshots().Build().Set("nb_snapshots", 3)
	end := b.Field("snapshot[1].l1_table_offset").Offset + 72
	got, err := snapshots(open(t, b.Truncate(int(end))))
	if e := asError(t, err); len(got) != 2 || !errors.Is(e, qcow2.ErrTruncated) || e.Offset != end {
		t.Errorf("%d snapshots and %v, want 2 and an error at %#x", len(got), err, end)
	}
}

func TestDamagedSnapshot(t *testing.T) {
	for _, test := range []struct {
		field string
		value uint64
		kind  error
		words string
	}{
		{"snapshot[0].l1_table_offset", 0x10200, corrupt, "the L1 table offset 0x10200 of entry 0 is not a multiple"},
		{"snapshot[0].l1_table_offset", math.MaxUint64 &^ 0xffff, corrupt, "would reach beyond 2^63"},
		{"snapshot[0].l1_size", 4<<20 + 1, limit, "the L1 table of entry 0 has 33554440 bytes, above the limit"},
	} {
		b := twoSnapshots().Build().Set(test.field, test.value)
		got, err := snapshots(open(t, b))
		if err != nil || len(got) != 2 || len(got[0].Damage) != 1 || len(got[1].Damage) != 0 {
			t.Fatalf("%s = %#x: %+v, %v", test.field, test.value, got, err)
		}
		if e := got[0].Damage[0]; !errors.Is(e, test.kind) || !strings.Contains(e.Detail, test.words) || e.Offset != b.Field(test.field).Offset {
			t.Errorf("%s = %#x: damage %q of kind %v, want %q of kind %v", test.field, test.value, e, e.Kind, test.words, test.kind)
		}
	}
}

// TestShortExtraData holds that version 3, unlike 2, wants the disk size.
func TestShortExtraData(t *testing.T) {
	for _, test := range []struct {
		version   uint32
		extraSize int
		damage    int
	}{{3, -1, 1}, {3, 15, 1}, {3, 16, 0}, {2, -1, 0}, {2, 8, 0}} {
		b := qcow2test.Image{Version: test.version, Snapshots: []qcow2test.Snapshot{{ID: "1", ExtraSize: test.extraSize}}}.Build()
		got, err := snapshots(open(t, b))
		if err != nil || len(got) != 1 || len(got[0].Damage) != test.damage {
			t.Errorf("version %d, extra data of %d bytes: %+v, %v", test.version, test.extraSize, got, err)
		}
	}
}

func TestSnapshotLimits(t *testing.T) {
	l := qcow2.DefaultLimits()
	three := twoSnapshots()
	three.Snapshots = append(three.Snapshots, qcow2test.Snapshot{ID: "3"})
	for limit, want := range map[uint64][]string{ // entries of 66, 66 and 65 bytes, padded to 72
		2*72 + 65: {"", "", ""},
		2*72 + 64: {"", "", "entry 2: it ends above the limit of 208 bytes for the table (SnapshotTableBytes)"},
		2 * 72:    {"", "", "entry 2: it ends above the limit of 144 bytes for the table (SnapshotTableBytes)"},
		2*72 - 1:  {"", "", "error: entry 2: it begins above the limit of 143 bytes for the table (SnapshotTableBytes)"},
		72 + 65:   {"", "entry 1: it ends above the limit of 137 bytes for the table (SnapshotTableBytes)", "error: entry 2: it begins above the limit of 137 bytes for the table (SnapshotTableBytes)"},
		1:         {"entry 0: it ends above the limit of 1 bytes for the table (SnapshotTableBytes)", "error: entry 1: it begins above the limit of 1 bytes for the table (SnapshotTableBytes)"},
	} {
		l.SnapshotTableBytes = limit
		if diff := cmp.Diff(want, damages(open(t, three.Build(), qcow2.WithLimits(l)))); diff != "" {
			t.Errorf("limit of %d bytes: what is wrong with the entries (-want +got):\n%s", limit, diff)
		}
	}
	b := twoSnapshots().Build().Set("nb_snapshots", 0xffffffff)
	got, err := snapshots(open(t, b, qcow2.WithLimits(qcow2.NoLimits())))
	if !errors.Is(err, qcow2.ErrTruncated) || len(got) < 2 || len(got) > len(b.Bytes)/40 {
		t.Errorf("without limits: %d snapshots, %v", len(got), err)
	}
}

func TestFindSnapshot(t *testing.T) {
	img := open(t, qcow2test.Image{Snapshots: []qcow2test.Snapshot{
		{ID: "1", Name: "first"},
		{ID: "2", Name: "1"}, // its name is the id of the one before
		{ID: "first", Name: "second"},
		{ID: "4", Name: "same"},
		{ID: "5", Name: "same"},
		{ID: "@0", Name: "@1"},
		{ID: "", Name: "\x1b[31m"},
		{ID: "8", Name: ""},
		{ID: "9", Name: "\xff"},
	}}.Build())
	for name, index := range map[string]int{
		"1":        0,
		"2":        1,
		"first":    2, // an id before a name
		"second":   2,
		"@2":       2,
		"@0":       5, // an id
		"@1":       5, // a name
		"@5":       5,
		"":         6,
		"\x1b[31m": 6,
		"\xff":     8,
		"@8":       8,
	} {
		if s, err := img.FindSnapshot(name); err != nil || s.Index != index {
			t.Errorf("FindSnapshot(%q) = number %d, %v; want %d", name, s.Index, err, index)
		}
	}
	for _, name := range []string{"3", "@9", "@-1", "@02", "@+2", "@", "FIRST", " 1", "@18446744073709551616"} {
		s, err := img.FindSnapshot(name)
		if !errors.Is(err, qcow2.ErrNoSnapshot) || !strings.HasPrefix(err.Error(), fmt.Sprintf(`no snapshot %q; there are @0 (id "1", name "first"), @1 (id "2", name "1"), `, name)) {
			t.Errorf("FindSnapshot(%q) = %+v, %v", name, s, err)
		}
	}
	_, err := img.FindSnapshot("same")
	if want := `several snapshots match "same": @3 (id "4", name "same"), @4 (id "5", name "same")`; !errors.Is(err, qcow2.ErrSeveralSnapshots) || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if _, err := img.FindSnapshot("none"); err == nil || strings.Contains(err.Error(), "\x1b") || !strings.Contains(err.Error(), `name "\x1b[31m"`) {
		t.Errorf("names are not escaped: %q", err)
	}
}

// TestFindSnapshotTwice: two snapshots can have one id; the position distinguishes
// them.
func TestFindSnapshotTwice(t *testing.T) {
	img := open(t, qcow2test.Image{Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "a"}, {ID: "1", Name: "b"}}}.Build())
	_, err := img.FindSnapshot("1")
	if want := `several snapshots match "1": @0 (id "1", name "a"), @1 (id "1", name "b")`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if s, err := img.FindSnapshot("@1"); err != nil || s.Name != "b" {
		t.Errorf("FindSnapshot(@1) = %+v, %v", s, err)
	}
}

func TestFindSnapshotAmongMany(t *testing.T) {
	all := make([]qcow2test.Snapshot, 25)
	for i := range all {
		all[i] = qcow2test.Snapshot{ID: fmt.Sprint(i), Name: "same"}
	}
	img := open(t, qcow2test.Image{Snapshots: all}.Build())
	for _, name := range []string{"same", "none"} {
		_, err := img.FindSnapshot(name)
		if err == nil || !strings.HasSuffix(err.Error(), `, @9 (id "9", name "same"), and 15 more`) {
			t.Errorf("FindSnapshot(%q): %v", name, err)
		}
	}
}

// TestFindSnapshotLongNames: an error shows the first 64 characters of a name.
func TestFindSnapshotLongNames(t *testing.T) {
	img := open(t, qcow2test.Image{Snapshots: []qcow2test.Snapshot{
		{ID: "1", Name: strings.Repeat("é", 64)},
		{ID: strings.Repeat("\x1b", 4000), Name: strings.Repeat("é", 65)},
	}}.Build())
	_, err := img.FindSnapshot("none")
	want := `no snapshot "none"; there are @0 (id "1", name "` + strings.Repeat("é", 64) + `"), ` +
		`@1 (id "` + strings.Repeat(`\x1b`, 64) + `"…, name "` + strings.Repeat("é", 64) + `"…)`
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestFindSnapshotErrors(t *testing.T) {
	_, err := open(t, qcow2test.Image{}.Build()).FindSnapshot("@0")
	if err == nil || err.Error() != `no snapshot "@0": the image has none` {
		t.Errorf("without snapshots: %v", err)
	}
	for field, value := range map[string]uint64{"nb_snapshots": 70000, "snapshots_offset": 0, "snapshot[1].extra_data_size": 1 << 20, "cluster_bits": 63} {
		img := open(t, twoSnapshots().Build().Set(field, value))
		_, err := img.FindSnapshot("2")
		asError(t, err)
		if s, err := img.FindSnapshot("1"); field == "snapshot[1].extra_data_size" && (err != nil || s.Name != "a") {
			t.Errorf("an entry before a broken one: %+v, %v", s, err)
		}
	}
}
