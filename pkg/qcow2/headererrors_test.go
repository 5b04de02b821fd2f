package qcow2_test

import (
	"errors"
	"maps"
	"math"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// headerFault is a field set to a value, and the words of its error; empty if there
// is none.
type headerFault struct {
	field string
	value uint64
	kind  error
	words string
}

var (
	corrupt = qcow2.ErrCorrupt
	limit   = qcow2.ErrLimit
)

var headerFaults = []headerFault{
	{"cluster_bits", 0, corrupt, "cluster_bits 0 is outside 9 to 21"},
	{"cluster_bits", 8, corrupt, "cluster_bits 8 is outside"},
	{"cluster_bits", 22, corrupt, "cluster_bits 22 is outside"},
	{"cluster_bits", 63, corrupt, "cluster_bits 63 is outside"},
	{"cluster_bits", 0xffffffff, corrupt, "cluster_bits 4294967295 is outside"},
	{"refcount_order", 0, nil, ""},
	{"refcount_order", 6, nil, ""},
	{"refcount_order", 7, corrupt, "refcount_order 7 is outside 0 to 6"},
	{"refcount_order", 0xffffffff, corrupt, "refcount_order 4294967295 is outside"},
	{"header_length", 103, corrupt, "header_length 103 is outside 104 to 65536"},
	{"header_length", 104, nil, ""},
	{"header_length", 105, nil, ""},
	{"header_length", 65536, nil, ""},
	{"header_length", 65537, corrupt, "header_length 65537 is outside"},
	{"header_length", 0xfffffff8, corrupt, "header_length 4294967288 is outside"},
	{"crypt_method", 1, nil, ""},
	{"crypt_method", 2, corrupt, "needs the encryption header extension"},
	{"crypt_method", 3, qcow2.ErrUnsupported, "crypt_method 3 is neither"},
	{"l1_size", 0, corrupt, "l1_size 0 is too small"},
	{"l1_size", 2, nil, ""},
	{"l1_size", 4 << 20, nil, ""},
	{"l1_size", 4<<20 + 1, limit, "is above the limit of 33554432 (L1Bytes)"},
	{"l1_size", 0xffffffff, limit, "l1_size 4294967295: a table of 34359738360 bytes is above the limit"},
	{"l1_table_offset", 0, corrupt, "l1_table_offset is 0: the table would overlap the header"},
	{"refcount_table_offset", 0, corrupt, "refcount_table_offset is 0: the table would overlap the header"},
	{"l1_table_offset", 0x30200, corrupt, "l1_table_offset 0x30200 is not a multiple of the cluster size 0x10000"},
	{"l1_table_offset", 0xffffffffffff0000, corrupt, "would reach beyond 2^63"},
	{"l1_table_offset", math.MaxInt64 &^ 0xffff, nil, ""},
	{"refcount_table_offset", 0x10200, corrupt, "refcount_table_offset 0x10200 is not a multiple"},
	{"refcount_table_offset", 0x1234567890abcdef, corrupt, "is not a multiple"},
	{"refcount_table_offset", math.MaxInt64 &^ 0xffff, corrupt, "would reach beyond 2^63"},
	{"refcount_table_clusters", 0, corrupt, "refcount_table_clusters is 0"},
	{"refcount_table_clusters", 128, nil, ""},
	{"refcount_table_clusters", 129, limit, "is above the limit of 8388608 (RefcountTableBytes)"},
	{"refcount_table_clusters", 0xffffffff, limit, "refcount_table_clusters 4294967295"},
	{"nb_snapshots", 1, corrupt, "snapshots_offset is 0, but nb_snapshots is 1"},
	{"nb_snapshots", 0xffffffff, limit, "nb_snapshots 4294967295 is above the limit of 65536 (Snapshots)"},
	{"snapshots_offset", 0x1000000, nil, ""},
	{"snapshots_offset", 0x1234567890abcdef, corrupt, "snapshots_offset 0x1234567890abcdef is not a multiple"},
	{"backing_file_size", 10, nil, ""},
	{"backing_file_offset", 0x10000, nil, ""},
	{"backing_file_offset", 0x10001, corrupt, "backing_file_offset 0x10001 lies outside the first cluster"},
	{"backing_file_offset", math.MaxUint64, corrupt, "lies outside the first cluster"},
	{"incompatible_features", 1<<0 | 1<<1 | 1<<2, nil, ""},
	{"incompatible_features", 1 << 63, nil, ""},
	{"incompatible_features", 1 << 3, corrupt, "compression_type is 0 (deflate) or absent, but incompatible feature bit 3 is set"},
	{"compression_type", 1, corrupt, "compression_type 1 needs incompatible feature bit 3"},
	{"compression_type", 104, qcow2.ErrUnsupported, "compression_type 104 is neither"},
	{"autoclear_features", math.MaxUint64, nil, ""},
	{"compatible_features", math.MaxUint64, nil, ""},
	{"size", 1<<20 + 5, nil, ""},
	{"size", math.MaxUint64, corrupt, "l1_size 1 is too small: the size of 18446744073709551104 bytes needs 34359738368"},
}

func TestHeaderErrors(t *testing.T) {
	for _, test := range headerFaults {
		b := qcow2test.Image{Size: 1 << 20}.Build().Set(test.field, test.value)
		errs := open(t, b).HeaderErrors()
		if test.words == "" {
			if len(errs) > 0 {
				t.Errorf("%s = %#x: %v", test.field, test.value, errs)
			}
			continue
		}
		found := false
		for _, e := range errs {
			if strings.Contains(e.Detail, test.words) && errors.Is(e, test.kind) {
				found = true
			}
		}
		if !found {
			t.Errorf("%s = %#x: %v, want %q of kind %v", test.field, test.value, errs, test.words, test.kind)
		}
	}
}

// TestHeaderErrorOffsets holds that an error names the offset of its field.
func TestHeaderErrorOffsets(t *testing.T) {
	offsets := map[string]uint64{}
	for f := range qcow2.Fields() {
		offsets[f.Name] = uint64(f.Offset)
	}
	for _, test := range headerFaults {
		b := qcow2test.Image{Size: 1 << 20}.Build().Set(test.field, test.value)
		for _, e := range open(t, b).HeaderErrors() {
			name, _, _ := strings.Cut(e.Detail, " ")
			if e.Offset != offsets[name] {
				t.Errorf("%s = %#x: error %q is at offset %d, the field at %d", test.field, test.value, e, e.Offset, offsets[name])
			}
		}
	}
}

func TestBackingNameErrors(t *testing.T) {
	for _, test := range []struct {
		patches map[string]uint64
		kind    error
		words   string
	}{
		{map[string]uint64{"backing_file_size": 1023}, nil, ""},
		{map[string]uint64{"backing_file_size": 1024}, limit, "backing_file_size 1024 is above the limit of 1023 bytes (BackingNameBytes)"},
		{map[string]uint64{"backing_file_size": 0xffffffff}, limit, "4294967295 is above the limit"},
		{map[string]uint64{"backing_file_offset": 0xfffc}, corrupt, "backing_file_size 10: the name at 0xfffc crosses the end of the first cluster"},
	} {
		b := qcow2test.Image{Size: 1 << 20, BackingFile: "base.qcow2", Patches: test.patches}.Build()
		errs := open(t, b).HeaderErrors()
		switch {
		case test.words == "" && len(errs) > 0:
			t.Errorf("%v: %v", test.patches, errs)
		case test.words != "" && (len(errs) == 0 || !strings.Contains(errs[len(errs)-1].Detail, test.words) && !strings.Contains(errs[0].Detail, test.words)):
			t.Errorf("%v: %v, want %q", test.patches, errs, test.words)
		}
	}
}

// TestNoLimits checks that nothing exceeds NoLimits, and that nothing but limits
// changes.
func TestNoLimits(t *testing.T) {
	for _, test := range headerFaults {
		b := qcow2test.Image{Size: 1 << 20}.Build().Set(test.field, test.value)
		for _, e := range open(t, b, qcow2.WithLimits(qcow2.NoLimits())).HeaderErrors() {
			if errors.Is(e, limit) {
				t.Errorf("%s = %#x: %v", test.field, test.value, e)
			}
		}
	}
}

func TestExtendedL2ClusterBits(t *testing.T) {
	for bits, bad := range maps.All(map[uint]bool{9: true, 13: true, 14: false, 21: false}) {
		b := qcow2test.Image{ClusterBits: bits, Size: 1 << 20, IncompatibleFeatures: 1 << 4}.Build()
		errs := open(t, b).HeaderErrors()
		if (len(errs) > 0) != bad {
			t.Errorf("cluster_bits %d with extended L2: %v", bits, errs)
		}
	}
}

// TestEncryptionContradiction has a LUKS header that crypt_method denies.
func TestEncryptionContradiction(t *testing.T) {
	for method, bad := range map[uint64]bool{0: true, 1: true, 2: false} {
		b := qcow2test.Image{LUKS: qcow2test.LUKSHeader("aes", "xts-plain64", 64), L1Size: 1}.Build().Set("crypt_method", method)
		errs := open(t, b).HeaderErrors()
		if (len(errs) > 0) != bad || bad && !strings.Contains(errs[0].Detail, "is not 2 (LUKS), but there is an encryption header extension at 0x70") {
			t.Errorf("crypt_method %d: %v", method, errs)
		}
	}
}

func TestBackingFormatLimit(t *testing.T) {
	for n, bad := range map[int]bool{0: false, 15: false, 16: true} {
		b := qcow2test.Image{L1Size: 1, Extensions: []qcow2test.Extension{{Type: uint32(qcow2.ExtBackingFormat), Data: make([]byte, n)}}}.Build()
		errs := open(t, b).HeaderErrors()
		if (len(errs) > 0) != bad || bad && (errs[0].Section != qcow2.SectionExtensions || !errors.Is(errs[0], limit)) {
			t.Errorf("a format of %d bytes: %v", n, errs)
		}
	}
}

// TestHeaderErrorsInOrder breaks fields from the last to the first.
func TestHeaderErrorsInOrder(t *testing.T) {
	b := qcow2test.Image{Size: 1 << 20}.Build()
	b.Set("compression_type", 9).Set("nb_snapshots", 1<<20).Set("l1_size", 0).Set("crypt_method", 9).Set("backing_file_size", 9).Set("backing_file_offset", 1<<40)
	last := uint64(0)
	errs := open(t, b).HeaderErrors()
	for _, e := range errs {
		if e.Offset < last {
			t.Errorf("%v comes after offset %d", e, last)
		}
		last = e.Offset
	}
	if len(errs) < 5 {
		t.Errorf("%d errors: %v", len(errs), errs)
	}
}

// TestWithoutGeometry calls what needs a geometry on an image without one.
func TestWithoutGeometry(t *testing.T) {
	img := open(t, qcow2test.Image{BackingFile: "base", Patches: map[string]uint64{"cluster_bits": 22}}.Build())
	want := "cluster_bits 22 is outside 9 to 21"
	var errs []error
	for _, err := range img.Bitmaps() {
		errs = append(errs, err)
	}
	for _, err := range img.Snapshots() {
		errs = append(errs, err)
	}
	for _, err := range img.Extensions() {
		errs = append(errs, err)
	}
	for _, err := range img.Guest(t.Context(), qcow2.GuestOptions{}) {
		errs = append(errs, err)
	}
	_, _, err := img.LUKS()
	_, _, err2 := img.BackingFile()
	errs = append(errs, err, err2)
	for _, err := range errs {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if len(errs) != 6 {
		t.Errorf("%d errors, want 6", len(errs))
	}
}
