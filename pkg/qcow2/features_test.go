package qcow2_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

func TestFeatureNames(t *testing.T) {
	own := []qcow2.FeatureName{
		{Kind: qcow2.Incompatible, Bit: 0, Name: "not this: bit 0 is known"},
		{Kind: qcow2.Compatible, Bit: 62, Name: "not this: another word"},
		{Kind: qcow2.Incompatible, Bit: 62, Name: "time travel"},
		{Kind: qcow2.Incompatible, Bit: 61, Name: ""},
		{Kind: qcow2.Incompatible, Bit: 64, Name: "beyond the word"},
	}
	tests := map[string]struct {
		got  []string
		want []string
	}{
		"none":         {qcow2.IncompatibleFeatures(0).Names(own), nil},
		"incompatible": {qcow2.IncompatibleFeatures(0x1f).Names(own), []string{"dirty", "corrupt", "data-file", "compression-type", "extended-l2"}},
		"compatible":   {qcow2.CompatibleFeatures(3).Names(own), []string{"lazy-refcounts", "bit-1"}},
		"autoclear":    {qcow2.AutoclearFeatures(7).Names(own), []string{"bitmaps", "data-file-raw", "bit-2"}},
		"own name":     {qcow2.IncompatibleFeatures(7 << 61).Names(own), []string{"bit-61", "time travel", "bit-63"}},
		"no own names": {qcow2.IncompatibleFeatures(1<<62 | 1).Names(nil), []string{"dirty", "bit-62"}},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if n := len(qcow2.IncompatibleFeatures(math.MaxUint64).Names(own)); n != 64 {
		t.Errorf("%d names of 64 bits", n)
	}
}

// TestFeatureNameOfAnother has an image give a known name to an unknown bit.
func TestFeatureNameOfAnother(t *testing.T) {
	own := []qcow2.FeatureName{{Kind: qcow2.Incompatible, Bit: 50, Name: "dirty"}, {Kind: qcow2.Incompatible, Bit: 51, Name: "bitmaps"}}
	got := qcow2.IncompatibleFeatures(1<<50 | 1<<51).Names(own)
	if diff := cmp.Diff([]string{"bit-50", "bit-51"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func TestUnknownFeatures(t *testing.T) {
	if got := qcow2.IncompatibleFeatures(0x1f | 1<<5 | 1<<63).Unknown(); got != 1<<5|1<<63 {
		t.Errorf("Unknown = %#x", uint64(got))
	}
}

func TestNamesOfNumbers(t *testing.T) {
	tests := []struct{ got, want string }{
		{qcow2.CryptNone.String(), "none"},
		{qcow2.CryptAES.String(), "aes"},
		{qcow2.CryptLUKS.String(), "luks"},
		{qcow2.CryptMethod(3).String(), "unknown-3"},
		{qcow2.CompressionDeflate.String(), "zlib"},
		{qcow2.CompressionZstd.String(), "zstd"},
		{qcow2.CompressionType(255).String(), "unknown-255"},
		{qcow2.Incompatible.String(), "incompatible"},
		{qcow2.FeatureKind(3).String(), "kind-3"},
		{qcow2.BitmapType(1).String(), "dirty-tracking"},
		{qcow2.BitmapType(0).String(), "unknown-0"},
		{qcow2.BitmapFlags(0x80000007).String(), "in-use,auto,bit-2,bit-31"},
		{qcow2.ExtensionType(0x44415441).String(), "external-data-file"},
		{qcow2.ExtensionType(1).String(), "unknown"},
		{(qcow2.Dirty | 1<<40).String(), "dirty,bit-40"},
		{qcow2.LazyRefcounts.String(), "lazy-refcounts"},
		{qcow2.RawExternalData.String(), "data-file-raw"},
		{qcow2.SectionSnapshotTable.Key(), "snapshot-table"},
		{(qcow2.Unaligned | qcow2.NotAllowed).String(), "unaligned,not-allowed"},
		{qcow2.Problems(0).String(), ""},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}
