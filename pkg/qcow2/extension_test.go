package qcow2_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// extensions returns the extensions that img yields and the error at the end.
func extensions(img *qcow2.Image) ([]qcow2.Extension, error) { return collect(img.Extensions()) }

func TestExtensions(t *testing.T) {
	exts := []qcow2test.Extension{
		{Type: uint32(qcow2.ExtBackingFormat), Data: []byte("qcow2")},
		{Type: 0x12345678, Data: nil},
		{Type: 0x12345679, Data: []byte("12345678")},
		{Type: uint32(qcow2.ExtDataFile), Data: []byte("a\x00b")},
	}
	for _, version := range []uint32{2, 3} {
		img := open(t, qcow2test.Image{Version: version, Extensions: exts, BackingFile: "base"}.Build())
		start := uint64(img.Header().HeaderLength)
		want := []qcow2.Extension{
			{Type: qcow2.ExtBackingFormat, Offset: start, Data: []byte("qcow2")},
			{Type: 0x12345678, Offset: start + 16, Data: []byte{}},
			{Type: 0x12345679, Offset: start + 24, Data: []byte("12345678")},
			{Type: qcow2.ExtDataFile, Offset: start + 40, Data: []byte("a\x00b")},
		}
		got, err := extensions(img)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("version %d: error %v, extensions (-want +got):\n%s", version, err, diff)
		}
		if name, ok := img.DataFile(); name != "a\x00b" || !ok {
			t.Errorf("DataFile = %q, %v", name, ok)
		}
		if format, ok := img.BackingFormat(); format != "qcow2" || !ok {
			t.Errorf("BackingFormat = %q, %v", format, ok)
		}
		if name, ok, err := img.BackingFile(); name != "base" || !ok || err != nil {
			t.Errorf("BackingFile = %q, %v, %v", name, ok, err)
		}
	}
}

func TestNoExtensions(t *testing.T) {
	img := open(t, qcow2test.Image{}.Build())
	if got, err := extensions(img); len(got) > 0 || err != nil {
		t.Errorf("extensions %v, %v", got, err)
	}
	if _, ok := img.DataFile(); ok {
		t.Error("there is a data file")
	}
	if _, ok, err := img.BackingFile(); ok || err != nil {
		t.Errorf("there is a backing file, or error %v", err)
	}
}

func TestLastExtensionWins(t *testing.T) {
	img := open(t, qcow2test.Image{Extensions: []qcow2test.Extension{
		{Type: uint32(qcow2.ExtDataFile), Data: []byte("first")},
		{Type: uint32(qcow2.ExtDataFile), Data: []byte("second")},
	}}.Build())
	if name, _ := img.DataFile(); name != "second" {
		t.Errorf("DataFile = %q, want the last, as in QEMU", name)
	}
}

// TestBrokenExtensions breaks the second of two extensions, at byte 128, or
// what is around them.
func TestBrokenExtensions(t *testing.T) {
	const second = 128
	tests := map[string]struct {
		patches  map[string]uint64
		truncate int
		n        int // extensions before the error
		kind     error
		offset   uint64
		words    string
	}{
		"fits to the end":     {patches: map[string]uint64{"extension[1].length": 65536 - second - 8}, n: 2},
		"one byte too long":   {patches: map[string]uint64{"extension[1].length": 65536 - second - 7}, n: 1, kind: corrupt, offset: second, words: "has length 65401, but only 65400 bytes are left"},
		"longest":             {patches: map[string]uint64{"extension[1].length": 0xffffffff}, n: 1, kind: corrupt, offset: second, words: "extension 0x12345678 (unknown) has length 4294967295"},
		"end marker too long": {patches: map[string]uint64{"end.length": 0xffffffff}, n: 2, kind: corrupt, offset: second + 16, words: "extension 0x00000000 (end)"},
		"end marker with 8":   {patches: map[string]uint64{"end.length": 8}, n: 2},
		"7 bytes left":        {patches: map[string]uint64{"backing_file_offset": second + 7}, n: 1, kind: corrupt, offset: second, words: "7 bytes are left before 0x87, too few"},
		"into backing name":   {patches: map[string]uint64{"backing_file_offset": second + 12}, n: 1, kind: corrupt, offset: second, words: "only 4 bytes are left before 0x8c"},
		"backing name before": {patches: map[string]uint64{"backing_file_offset": 100}, n: 0},
		"cut in a header":     {truncate: second + 4, n: 1, kind: qcow2.ErrTruncated, offset: second, words: "the file ends at 0x84"},
		"cut in the data":     {truncate: second + 10, n: 1, kind: qcow2.ErrTruncated, offset: second, words: "has length 8, but the file ends at 0x8a"},
		"cut before":          {truncate: 112, n: 0, kind: qcow2.ErrTruncated, offset: 112, words: "before an end marker"},
		"type 0 first":        {patches: map[string]uint64{"extension[0].type": 0}, n: 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := qcow2test.Image{
				Extensions: []qcow2test.Extension{{Type: 1, Data: []byte("first")}, {Type: 0x12345678, Data: []byte("87654321")}},
				Patches:    test.patches,
			}.Build()
			if test.truncate > 0 {
				b.Truncate(test.truncate)
			}
			got, err := extensions(open(t, b))
			if len(got) != test.n {
				t.Errorf("%d extensions, want %d", len(got), test.n)
			}
			if test.kind == nil {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			if e := asError(t, err); !errors.Is(e, test.kind) || e.Offset != test.offset || !strings.Contains(e.Detail, test.words) {
				t.Errorf("error %q of kind %v, want %q of kind %v at %#x", e, e.Kind, test.words, test.kind, test.offset)
			}
		})
	}
}

// TestManyExtensions fills the first cluster with extensions of no data.
func TestManyExtensions(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 21}.Build()
	for off := 112; off < 1<<21; off += 8 {
		copy(b.Bytes[off:], "\x00\x00\x00\x01\x00\x00\x00\x00")
	}
	img := open(t, b)
	n := 0
	for _, err := range img.Extensions() {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if want := (1<<21 - 112) / 8; n != want {
		t.Errorf("%d extensions, want %d", n, want)
	}
}

func record(kind, bit byte, name string) []byte {
	return append([]byte{kind, bit}, append([]byte(name), bytes.Repeat([]byte{0}, 46-len(name))...)...)
}

func TestFeatureNameTable(t *testing.T) {
	long := strings.Repeat("n", 46)
	data := bytes.Join([][]byte{record(0, 62, "time\x1btravel"), record(2, 1, long), record(9, 200, ""), record(0, 62, "again")}, nil)
	tests := map[string]struct {
		data []byte
		n    int
	}{
		"whole":          {data, 4},
		"cut in a name":  {data[:len(data)-1], 3},
		"cut after kind": {data[:49], 1},
		"empty":          {nil, 0},
	}
	all := []qcow2.FeatureName{
		{Kind: qcow2.Incompatible, Bit: 62, Name: "time\x1btravel"}, {Kind: qcow2.Autoclear, Bit: 1, Name: long},
		{Kind: 9, Bit: 200}, {Kind: qcow2.Incompatible, Bit: 62, Name: "again"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			img := open(t, qcow2test.Image{Extensions: []qcow2test.Extension{{Type: uint32(qcow2.ExtFeatureNames), Data: test.data}}}.Build())
			x, ok := img.Extension(qcow2.ExtFeatureNames)
			if !ok {
				t.Fatal("no feature name table")
			}
			got := slices.Collect(x.FeatureNames())
			if diff := cmp.Diff(all[:test.n], got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
		})
	}
	img := open(t, qcow2test.Image{Extensions: []qcow2test.Extension{{Type: uint32(qcow2.ExtFeatureNames), Data: data}}}.Build())
	if diff := cmp.Diff(all[:3], img.FeatureNames()); diff != "" {
		t.Errorf("FeatureNames keeps the first of each bit (-want +got):\n%s", diff)
	}
}

func TestShortExtensionData(t *testing.T) {
	for n := range 40 {
		x := qcow2.Extension{Type: qcow2.ExtBitmaps, Offset: 112, Data: make([]byte, n)}
		if _, err := x.BitmapDirectory(); (err == nil) != (n == 24) {
			t.Errorf("bitmaps extension of %d bytes: %v", n, err)
		}
		if _, err := x.EncryptionHeader(); (err == nil) != (n == 16) {
			t.Errorf("encryption extension of %d bytes: %v", n, err)
		}
	}
}
