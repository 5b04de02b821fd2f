package qcow2_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// openBroken opens an image of which the byte at an offset cannot be read.
func openBroken(t *testing.T, b *qcow2test.Built, bad uint64) *qcow2.Image {
	t.Helper()
	img, err := qcow2.Open(brokenReader{b.Reader(), int64(bad)}, int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestUnreadableSnapshot: a bad sector in the fixed part of an entry hides the
// snapshots from it on, one in its extra data or name only these, and none those
// that were to be read with it.
func TestUnreadableSnapshot(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 16, Size: 1 << 20, Snapshots: slices.Repeat([]qcow2test.Snapshot{{ID: "id", Name: "name"}}, 500)}.Build()
	entry := func(i int) uint64 { return b.Field(fmt.Sprintf("snapshot[%d].l1_table_offset", i)).Offset }
	for name, want := range map[string]struct {
		bad     uint64
		n       int
		damaged string // Damage of snapshot 498
		id      string // its
	}{
		"fixed part of 499": {entry(499) + 8, 499, "", "id"},
		"fixed part of 498": {entry(498) + 39, 498, "", ""},
		"extra data of 498": {entry(498) + 40, 500, "entry 498: reading 24 bytes: bad sector", "id"},
		"name of 498":       {entry(498) + 69, 500, "entry 498: reading 6 bytes: bad sector", ""},
	} {
		img := openBroken(t, b, want.bad)
		got, err := snapshots(img)
		if len(got) != want.n || (err == nil) != (want.n == 500) || err != nil && !errors.Is(err, errBroken) {
			t.Errorf("%s: %d snapshots, %v; want %d", name, len(got), err, want.n)
			continue
		}
		if want.n < 499 {
			continue
		}
		s, damage := got[498], ""
		if len(s.Damage) > 0 {
			damage = s.Damage[0].Detail
		}
		if damage != want.damaged || s.ID != want.id || s.Index != 498 || s.L1TableOffset != b.Get("snapshot[498].l1_table_offset") {
			t.Errorf("%s: %+v, want id %q and the damage %q", name, s, want.id, want.damaged)
		}
		if s, err := img.FindSnapshot("@499"); err != nil && want.n == 500 {
			t.Errorf("%s: FindSnapshot(@499) = %+v, %v", name, s, err)
		}
		if _, err := img.FindSnapshot("none"); (want.n == 500) && !errors.Is(err, errBroken) {
			t.Errorf("%s: FindSnapshot(none): %v, want that not all can be read", name, err)
		}
	}
}

// TestUnreadableRefcountTable: a bad sector hides the refcount blocks of one piece
// of the table, which look leaked, and is reported once. The other blocks are
// found.
func TestUnreadableRefcountTable(t *testing.T) {
	const clusters = 70000 // whose refcounts take more than one piece of the table
	used := kinds{}
	for i := range uint64(clusters) {
		used[i] = data
	}
	b := qcow2test.Image{ClusterBits: 9, RefcountBits: 64, Size: clusters * 512, Clusters: used}.Build()
	table := b.Get("refcount_table_offset")
	img := openBroken(t, b, table)
	want := fmt.Sprintf("refcount table at offset %#x: reading 4096 bytes: bad sector", table)
	var errs []string
	blocks, leaked := 0, 0
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{}) {
		switch {
		case err != nil:
			errs = append(errs, err.Error())
		case r.Kind == qcow2.HostLeaked:
			leaked += int(r.Length / 512)
		case r.Kind == qcow2.HostRefcountBlock:
			blocks += int(r.Length / 512)
		}
	}
	if diff := cmp.Diff([]string{want}, errs); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	all := (len(b.Bytes)/512 + 63) / 64
	if blocks != all-512 || leaked != 512 {
		t.Errorf("%d refcount blocks and %d leaked clusters, want all %d but 512, and those", blocks, leaked, all)
	}
	if _, result := check(t, img); result.Leaks != 512 || result.CheckErrors != 1 {
		t.Errorf("%+v, want 1 check error and 512 leaks", result)
	}
}

// TestUnreadableL1TableOnce: an unreadable table is reported once, however often it
// is read.
func TestUnreadableL1TableOnce(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 4 << 15, Clusters: kinds{3: data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	for _, field := range []string{"l1_table_offset", "snapshot[0].l1_table_offset"} {
		img := openBroken(t, b, b.Get(field))
		s, err := img.FindSnapshot("1")
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []qcow2.HostOptions{{}, {Snapshot: &s}} {
			var errs []string
			for _, err := range img.Host(t.Context(), o) {
				if err != nil {
					errs = append(errs, err.Error())
				}
			}
			want := []string{fmt.Sprintf("L1 table at offset %#x: reading 32 bytes: bad sector", b.Get(field))}
			if diff := cmp.Diff(want, errs); diff != "" {
				t.Errorf("%s, snapshot %v (-want +got):\n%s", field, o.Snapshot != nil, diff)
			}
		}
	}
}

// TestUnreadableBitmapTable: a bad sector in a bitmap table hides a piece of it.
func TestUnreadableBitmapTable(t *testing.T) {
	const entries = 1024 // two pieces
	b := qcow2test.Image{ClusterBits: 12, Size: 1 << 34, AutoclearFeatures: 1, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 9}}}.Build()
	table := uint64(len(b.Bytes)+4095) &^ 4095
	first := table + entries*8
	b.Bytes = append(b.Bytes, make([]byte, first+entries*4096-uint64(len(b.Bytes)))...)
	b.Set("bitmap[0].table_offset", table).Set("bitmap[0].table_size", entries)
	for i := range uint64(entries) {
		binary.BigEndian.PutUint64(b.Bytes[table+i*8:], first+i*4096)
	}
	for bad, want := range map[uint64]uint64{table: first + entries/2*4096, table + entries*8 - 1: first} {
		img := openBroken(t, b, bad)
		var got []string
		for r := range img.Host(t.Context(), qcow2.HostOptions{Wanted: func(k qcow2.HostKind) bool { return k == qcow2.HostBitmapData }}) {
			if r != nil {
				got = append(got, fmt.Sprintf("%#x+%#x", r.Offset, r.Length))
			}
		}
		if row := fmt.Sprintf("%#x+%#x", want, entries/2*4096); !slices.Equal(got, []string{row}) {
			t.Errorf("%#x cannot be read: bitmap data %v, want %s", bad, got, row)
		}
	}
}

// TestCheckUnknownRefcounts: where refcounts cannot be read, no COPIED flag is
// wrong.
func TestCheckUnknownRefcounts(t *testing.T) {
	for _, field := range []string{"refcount_table_offset", "refcount_table[0]"} {
		b := qcow2test.Image{ClusterBits: 9, Size: 4 << 15, Clusters: kinds{3: data, 5: data, 70: data}}.Build()
		b.Set(field, 1<<40+1)
		all, _ := check(t, open(t, b))
		unknown := 0
		for _, f := range all {
			if strings.Contains(f, qcow2.FindingCopiedFlag.String()) {
				t.Errorf("%s: %s", field, f)
			}
			if strings.Contains(f, qcow2.FindingRefcountUnknown.String()) {
				unknown++
			}
		}
		if unknown == 0 {
			t.Errorf("%s: no refcount is unknown", field)
		}
	}
}

// TestL1TablesInHoles: L1 tables and bitmap tables in a hole of the file are not
// read, with the same results.
func TestL1TablesInHoles(t *testing.T) {
	const entries, hole = 1 << 16, 1 << 20
	b := qcow2test.Image{ClusterBits: 9, Size: 8 << 15, Clusters: kinds{3: data}, Snapshots: make([]qcow2test.Snapshot, 4),
		AutoclearFeatures: 1, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 9}}}.Build()
	for i := range uint64(4) {
		b.Set(fmt.Sprintf("snapshot[%d].l1_table_offset", i), hole+i*entries*8).Set(fmt.Sprintf("snapshot[%d].l1_size", i), entries)
	}
	b.Set("bitmap[0].table_offset", hole+4*entries*8).Set("bitmap[0].table_size", 1<<12)
	// The second snapshot has the L2 table of the active image, far in its table.
	inFile, inMemory := openSparse(t, b, hole+5*entries*8, hole+entries*8+40000*8, b.Get("l1[0]"))
	s, err := inFile.FindSnapshot("@1")
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, inFile.Image, qcow2.GuestOptions{Snapshot: &s, Mapped: true, VMState: true}, fmt.Sprintf("%#x+0x200 data %#x", 40000<<15+3*512, b.Get("l2[0][3]")&^copied))
	sameCheck(t, inMemory, inFile.Image)
}
