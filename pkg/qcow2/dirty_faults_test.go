package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestDirtyUnknown: what is not known to be dirty is not clean either, unless another
// bitmap says that it is dirty.
func TestDirtyUnknown(t *testing.T) {
	const e = "the entry points to 0x10000000000"
	im := qcow2test.Image{ClusterBits: 9, Size: 6 << 20, Bitmaps: []qcow2test.Bitmap{
		{Name: "a", GranularityBits: 9, Flags: 2, Table: []uint64{0, 0, 0}, Data: map[int][]byte{0: {1}, 2: {1}}},
		{Name: "b", GranularityBits: 12, Flags: 2, Table: []uint64{0}, Data: map[int][]byte{0: append(make([]byte, 96), 1)}},
	}}
	b := im.Build()
	b.Set("bitmap[0].table[1]", 1<<40)
	record := im.Build()
	record.Set("bitmap[0].granularity_bits", 40)
	const r = "the bitmap table has 3 entries"
	for _, test := range []struct {
		file    *qcow2test.Built
		bitmaps []string
		want    string
	}{
		{b, []string{"a"}, "0+512 dirty, " + e + ", 512+2096640 clean, 4194304+512 dirty, 4194816+2096640 clean"},
		{b, []string{"a", "b"}, "0+512 dirty, " + e + ", 512+2096640 clean, 3145728+4096 dirty, 4194304+512 dirty, 4194816+2096640 clean"},
		{b, []string{"b"}, "0+3145728 clean, 3145728+4096 dirty, 3149824+3141632 clean"},
		{record, []string{"a"}, r},
		{record, []string{"b", "a"}, r + ", 3145728+4096 dirty"},
	} {
		img := open(t, test.file)
		o := qcow2.DirtyOptions{All: true}
		for _, name := range test.bitmaps {
			bitmap, err := img.FindBitmap(name)
			if err != nil {
				t.Fatal(err)
			}
			o.Bitmaps = append(o.Bitmaps, bitmap)
		}
		var rows []string
		for d, err := range img.Dirty(t.Context(), o) {
			switch {
			case err != nil && strings.Contains(err.Error(), e):
				rows = append(rows, e)
			case err != nil && strings.Contains(err.Error(), r):
				rows = append(rows, r)
			case err != nil:
				t.Error(err)
			case d.Dirty:
				rows = append(rows, fmt.Sprintf("%d+%d dirty", d.Start, d.Length))
			default:
				rows = append(rows, fmt.Sprintf("%d+%d clean", d.Start, d.Length))
			}
		}
		if got := strings.Join(rows, ", "); got != test.want {
			t.Errorf("%v:\n %s, want\n %s", test.bitmaps, got, test.want)
		}
	}
}

// TestDirtyCut: a file that ends inside a table or its data hides the bits that are
// missing, and no others.
func TestDirtyCut(t *testing.T) {
	const c = 512
	// Each entry of a table stands for 4096 bits of 512 bytes: 2 MiB.
	b := qcow2test.Image{ClusterBits: 9, Size: 130 << 21, Bitmaps: []qcow2test.Bitmap{{
		Name: "a", GranularityBits: 9, Table: make([]uint64, 130), Data: map[int][]byte{1: {1: 0xff}, 129: {511: 0x80}},
	}}}.Build()
	table := b.Get("bitmap[0].table_offset")
	b.Set("bitmap[0].table[0]", 1)
	// The directory comes after the table and the data; it goes before the cut.
	for _, test := range []struct {
		move string // what begins at the cut
		at   uint64
		want string
	}{
		{"bitmap[0].table[129]", 0, "0+2097152 2101248+4096 bitmap table at offset 0x%x: the entry points to 0x%x, but the file ends at 0x%[2]x"},
		{"bitmap[0].table[129]", 8, "0+2097152 2101248+4096 bitmap data at offset 0x%[3]x: 504 bytes are missing: the file ends at 0x%[3]x"},
	} {
		end := uint64(len(b.Bytes))
		entry := b.Field(test.move).Offset
		data := end
		p := &qcow2test.Built{Bytes: append(append([]byte{}, b.Bytes...), make([]byte, test.at)...), Fields: b.Fields}
		p.Set(test.move, data)
		want := fmt.Sprintf(test.want, entry, data, data+test.at)
		want, _, _ = strings.Cut(want, "%!(EXTRA")
		if got := dirtyText(t, open(t, p), "a"); got != want {
			t.Errorf("cut at %d: %q, want %q", test.at, got, want)
		}
	}
	// A table at the end of the file, of which the last entries are missing.
	p := &qcow2test.Built{Bytes: append([]byte{}, b.Bytes...), Fields: b.Fields}
	at := uint64(len(p.Bytes))
	p.Bytes = append(p.Bytes, p.Bytes[table:table+128*8]...)
	p.Set("bitmap[0].table_offset", at)
	want := fmt.Sprintf("0+2097152 2101248+4096 bitmap table at offset 0x%x: 128 of 130 entries, but the file ends at 0x%[1]x", len(p.Bytes))
	if got := dirtyText(t, open(t, p), "a"); got != want || at%c != 0 {
		t.Errorf("a cut table: %q, want %q", got, want)
	}
}

// TestDirtyHoles: entries and data in holes of a file are clean, and not read.
func TestDirtyHoles(t *testing.T) {
	const entries = 1 << 10
	b := qcow2test.Image{ClusterBits: 9, Size: entries << 21, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 9}}}.Build()
	b.Set("bitmap[0].table_offset", 1<<30).Set("bitmap[0].table_size", entries)
	img, err := qcow2.OpenFile(sparseFile(t, b, 1<<31))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	want := []string{fmt.Sprintf("a disabled: dirty 0 in 0, data 0, zero 0, unallocated 0, unknown 0, stored %d", entries*8)}
	if diff := cmp.Diff(want, said(t, img.Image)); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}

// TestDirtyUnreadable: a bad sector hides the bits in it, and no others.
func TestDirtyUnreadable(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 16, Size: 1 << 30, Bitmaps: []qcow2test.Bitmap{{
		Name: "a", GranularityBits: 9, Table: make([]uint64, 4), Data: map[int][]byte{0: {0xff, 4095: 0xff, 4096: 0xff}, 3: {0xff}},
	}}}.Build()
	at := b.Get("bitmap[0].table[0]")
	img := openBroken(t, b, at+1)
	want := fmt.Sprintf("bitmap data at offset 0x%x: reading 4096 bytes: bad sector 16777216+4096 805306368+4096", at)
	if got := dirtyText(t, img, "a"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	table := b.Get("bitmap[0].table_offset")
	if got, want := dirtyText(t, openBroken(t, b, table), "a"), fmt.Sprintf("bitmap table at offset 0x%x: reading 32 bytes: bad sector", table); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDirtyUnmapped: where a table of the mapping cannot be read, what is dirty is
// still said.
func TestDirtyUnmapped(t *testing.T) {
	im := qcow2test.Image{ClusterBits: 9, Size: 3 << 15, Clusters: kinds{0: data, 64: data, 128: data}, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 10, Data: map[int][]byte{0: {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}}}}}
	im.Bitmaps[0].Table = []uint64{0}
	b := im.Build()
	b.Set("l1[1]", 1<<40)
	img := open(t, b)
	a, err := img.FindBitmap("a")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for d, err := range img.Dirty(t.Context(), qcow2.DirtyOptions{Bitmaps: []qcow2.Bitmap{a}}) {
		if err != nil {
			rows = append(rows, "error of the "+string(asError(t, err).Section))
			continue
		}
		rows = append(rows, fmt.Sprintf("%d+%d known %v %s", d.Start, d.Length, d.Known, d.Kind))
	}
	want := []string{"0+512 known true data", "512+32256 known true unallocated", "error of the L1 table", "32768+28672 known false unallocated"}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := said(t, img)[1]; got != "a disabled: dirty 61440 in 1, data 512, zero 0, unallocated 32256, unknown 28672, stored 1024" {
		t.Errorf("%q", got)
	}
	binary.BigEndian.PutUint64(b.Bytes[88:], 0) // stale: the same numbers
	if got := said(t, open(t, b))[1]; !strings.HasPrefix(got, "a stale: dirty 61440 in 1") {
		t.Errorf("%q", got)
	}
}

// A badSector fails to read a range that holds its offset, and counts how often.
type badSector struct {
	io.ReaderAt
	at    int64
	tries *int
}

func (r badSector) ReadAt(p []byte, off int64) (int, error) {
	if off <= r.at && r.at < off+int64(len(p)) {
		*r.tries++
		return 0, errors.New("bad sector")
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestDirtyBadSector: an L2 table that cannot be read is not read again for each of
// the ranges that it maps.
func TestDirtyBadSector(t *testing.T) {
	for _, bits := range []uint{12, 16} {
		b := qcow2test.Image{ClusterBits: bits, Size: 2 << 20, Clusters: kinds{0: data}, Bitmaps: []qcow2test.Bitmap{
			{Name: "a", GranularityBits: 9, Flags: 2, Table: []uint64{0}, Data: map[int][]byte{0: bytes.Repeat([]byte{0x55}, 512)}},
		}}.Build()
		tries := 0
		img, err := qcow2.Open(badSector{b.Reader(), int64(b.Get("l1[0]") &^ (1 << 63)), &tries}, int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		all := said(t, img)
		want := "a recording: dirty 1048576 in 2048, data 0, zero 0, unallocated 0, unknown 1048576, stored "
		if len(all) != 2 || !strings.Contains(all[0], "bad sector") || !strings.HasPrefix(all[1], want) || tries > 4 {
			t.Errorf("clusters of %d bytes: %q after %d bad reads", 1<<bits, all, tries)
		}
	}
}
