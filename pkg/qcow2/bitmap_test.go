package qcow2_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// bitmaps returns the bitmaps of img and the error at the end.
func bitmaps(t *testing.T, img *qcow2.Image) ([]qcow2.Bitmap, error) {
	t.Helper()
	return collect(img.Bitmaps())
}

func twoBitmaps() qcow2test.Image {
	return qcow2test.Image{Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{
		{Name: "daily\n", GranularityBits: 9, Flags: 2},
		{Name: "\xff", GranularityBits: 31, Flags: 1},
	}}
}

func TestBitmaps(t *testing.T) {
	b := twoBitmaps().Build()
	got, err := bitmaps(t, open(t, b))
	if err != nil {
		t.Fatal(err)
	}
	want := []qcow2.Bitmap{
		{Offset: b.Field("bitmap[0].table_offset").Offset, TableOffset: b.Get("bitmap[0].table_offset"), TableSize: 1, Flags: qcow2.BitmapAuto, Type: 1, GranularityBits: 9, Name: "daily\n"},
		{Index: 1, Offset: b.Field("bitmap[1].table_offset").Offset, TableOffset: b.Get("bitmap[1].table_offset"), TableSize: 1, Flags: qcow2.BitmapInUse, Type: 1, GranularityBits: 31, Name: "\xff"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bitmaps (-want +got):\n%s", diff)
	}
	if n, ok := got[0].Granularity(); n != 512 || !ok {
		t.Errorf("granularity %d, %v", n, ok)
	}
}

// TestDamagedBitmap sets one field of the first entry: both are still listed.
func TestDamagedBitmap(t *testing.T) {
	for _, test := range []struct {
		field string
		value uint64
		kind  error
		words string
	}{
		{"bitmap[0].table_offset", 0, corrupt, "the bitmap table offset 0x0 is not that of a cluster"},
		{"bitmap[0].table_offset", 0x10200, corrupt, "the bitmap table offset 0x10200"},
		{"bitmap[0].table_size", 0, corrupt, "has no entries"},
		{"bitmap[0].table_size", 0x8000001, limit, "134217729 entries is above the limit of 134217728 (BitmapTableEntries)"},
		{"bitmap[0].table_size", 8193, limit, "a bitmap of 536936448 bytes is above the limit of 536870912 (BitmapBytes)"},
		{"bitmap[0].flags", 4, qcow2.ErrUnsupported, "the flags bit-2 are not supported"},
		{"bitmap[0].type", 2, qcow2.ErrUnsupported, "the type 2 is not 1"},
		{"bitmap[0].granularity_bits", 8, corrupt, "granularity_bits 8 is outside 9 to 31"},
		{"bitmap[0].granularity_bits", 32, corrupt, "granularity_bits 32"},
		{"bitmap[0].granularity_bits", 255, corrupt, "granularity_bits 255"},
	} {
		b := twoBitmaps().Build().Set(test.field, test.value)
		got, err := bitmaps(t, open(t, b))
		if err != nil || len(got) != 2 {
			t.Fatalf("%s = %d: %d bitmaps, %v", test.field, test.value, len(got), err)
		}
		if len(got[0].Damage) != 1 || len(got[1].Damage) != 0 {
			t.Errorf("%s = %d: damage %v and %v", test.field, test.value, got[0].Damage, got[1].Damage)
			continue
		}
		if e := got[0].Damage[0]; !errors.Is(e, test.kind) || !strings.Contains(e.Detail, test.words) || e.Offset != b.Field(test.field).Offset {
			t.Errorf("%s = %d: damage %q of kind %v, want %q of kind %v", test.field, test.value, e, e.Kind, test.words, test.kind)
		}
	}
	b := twoBitmaps().Build().Set("bitmap[0].granularity_bits", 64)
	got, _ := bitmaps(t, open(t, b))
	if _, ok := got[0].Granularity(); ok {
		t.Error("2^64 is a granularity")
	}
}

func TestBitmapTooSmall(t *testing.T) {
	image := qcow2test.Image{Size: 512 << 20, ClusterBits: 12, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 9}}}
	for _, test := range []struct {
		flags  uint32
		damage int
	}{{0, 1}, {1, 0}} { // QEMU does not load one in use
		image.Bitmaps[0].Flags = test.flags
		got, err := bitmaps(t, open(t, image.Build()))
		if err != nil || len(got[0].Damage) != test.damage {
			t.Errorf("flags %d: %v, damage %v", test.flags, err, got[0].Damage)
		}
	}
}

func TestBitmapsOfOneName(t *testing.T) {
	got, err := bitmaps(t, open(t, qcow2test.Image{Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{{Name: "a"}, {Name: "b"}, {Name: "a"}}}.Build()))
	if err != nil {
		t.Fatal(err)
	}
	if len(got[0].Damage)+len(got[1].Damage) != 0 || len(got[2].Damage) != 1 || !strings.Contains(got[2].Damage[0].Detail, "the same name") {
		t.Errorf("damage %v, %v, %v", got[0].Damage, got[1].Damage, got[2].Damage)
	}
}

// TestBrokenBitmapDirectory breaks fields without which the entries cannot be
// found.
func TestBrokenBitmapDirectory(t *testing.T) {
	const count, size, offset = "extension[0].data[0]", "extension[0].data[1]", "extension[0].data[2]"
	tests := map[string]struct {
		field string
		value uint64
		n     int
		kind  error
		words string
	}{
		"no bitmaps":          {count, 0, 0, corrupt, "counts no bitmaps"},
		"three bitmaps":       {count, 3 << 32, 2, qcow2.ErrTruncated, "entry 2: fixed part of 24 bytes, but 0 are left"},
		"one bitmap":          {count, 1 << 32, 1, corrupt, "32 bytes are left of the directory after its 1 entries"},
		"too many":            {count, 65536 << 32, 0, limit, "65536 bitmaps are above the limit of 65535 (Bitmaps)"},
		"directory too long":  {size, 1024*65535 + 1, 0, limit, "(BitmapDirectoryBytes)"},
		"past the end":        {offset, 0x7fff0000, 0, qcow2.ErrTruncated, "the file ends at"},
		"offset overflows":    {offset, 0xffffffffffff0000, 0, qcow2.ErrTruncated, "the file ends at"},
		"unaligned":           {offset, 0x20200, 0, corrupt, "0x20200 is not that of a cluster"},
		"in the header":       {offset, 0, 0, corrupt, "0x0 is not that of a cluster"},
		"name overruns":       {"bitmap[1].name_size", 0xffff, 1, qcow2.ErrTruncated, "entry 1: name of 65535 bytes, but 8 are left before 0x30040"},
		"extra data overruns": {"bitmap[0].extra_data_size", 0xffffffff, 0, qcow2.ErrTruncated, "entry 0: extra data of 4294967295 bytes"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := bitmaps(t, open(t, twoBitmaps().Build().Set(test.field, test.value)))
			if e := asError(t, err); len(got) != test.n || !errors.Is(e, test.kind) || !strings.Contains(e.Detail, test.words) {
				t.Errorf("%d bitmaps and %q of kind %v, want %d and %q of kind %v", len(got), e, e.Kind, test.n, test.words, test.kind)
			}
		})
	}
}

// TestBitmapExtraData holds that extra data is skipped, not read as a name.
func TestBitmapExtraData(t *testing.T) {
	b := qcow2test.Image{Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{{Name: "EXTRADATname"}}}.Build()
	b.Set("bitmap[0].extra_data_size", 8).Set("bitmap[0].name_size", 4)
	got, err := bitmaps(t, open(t, b))
	if err != nil {
		t.Fatal(err)
	}
	want := []qcow2.Bitmap{{ExtraSize: 8, Name: "name", Type: 1, TableSize: 1, GranularityBits: 16}}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(qcow2.Bitmap{}, "Offset", "TableOffset", "Damage")); diff != "" {
		t.Errorf("bitmap (-want +got):\n%s", diff)
	}
	if len(got[0].Damage) != 1 || !strings.Contains(got[0].Damage[0].Detail, "8 bytes of extra data are not known") {
		t.Errorf("damage %v", got[0].Damage)
	}
}
