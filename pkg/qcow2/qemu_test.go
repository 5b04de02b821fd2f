package qcow2_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestQEMU(t *testing.T) {
	names := make([]byte, 48)
	copy(names, "\x00\x3etime travel")
	bits := func(f qcow2.IncompatibleFeatures) qcow2test.Image {
		return qcow2test.Image{ClusterBits: 16, IncompatibleFeatures: uint64(f)}
	}
	tests := map[string]struct {
		image   qcow2test.Image
		field   string // set to value
		value   uint64
		version string
		because []string
	}{
		"version 2":           {qcow2test.Image{Version: 2}, "", 0, "0.10", []string{"version-2"}},
		"version 2 with AES":  {qcow2test.Image{Version: 2}, "crypt_method", 1, "0.10", []string{"version-2"}},
		"version 2 with LUKS": {qcow2test.Image{Version: 2}, "crypt_method", 2, "2.10", []string{"encryption"}},
		"version 3":           {qcow2test.Image{}, "", 0, "1.1", []string{"version-3"}},
		"lazy refcounts":      {qcow2test.Image{}, "compatible_features", 1, "1.1", []string{"version-3"}},
		"bitmaps":             {qcow2test.Image{Bitmaps: []qcow2test.Bitmap{{Name: "b"}}}, "", 0, "1.1", []string{"version-3"}},
		"dirty":               {bits(qcow2.Dirty), "", 0, "1.2", []string{"dirty"}},
		"dirty and corrupt":   {bits(qcow2.Dirty | qcow2.Corrupt), "", 0, "1.7", []string{"corrupt"}},
		"refcounts of 1 bit":  {qcow2test.Image{RefcountBits: 1}, "", 0, "2.3", []string{"refcount-bits"}},
		"refcounts of 64":     {qcow2test.Image{RefcountBits: 64}, "", 0, "2.3", []string{"refcount-bits"}},
		"LUKS":                {qcow2test.Image{}, "crypt_method", 2, "2.10", []string{"encryption"}},
		"data file":           {bits(qcow2.ExternalDataFile), "", 0, "4.0", []string{"data-file"}},
		"zstd":                {bits(qcow2.CompressionBit | qcow2.Dirty), "compression_type", 1, "5.1", []string{"compression-type"}},
		"extended L2":         {bits(qcow2.ExtendedL2 | qcow2.CompressionBit), "compression_type", 1, "5.2", []string{"extended-l2"}},
		"unknown compression": {bits(qcow2.CompressionBit), "compression_type", 2, "", []string{"compression-type"}},
		"unknown encryption":  {qcow2test.Image{}, "crypt_method", 3, "", []string{"encryption"}},
		"unknown bits": {
			qcow2test.Image{IncompatibleFeatures: 1<<62 | 1<<9 | 1, Extensions: []qcow2test.Extension{{Type: uint32(qcow2.ExtFeatureNames), Data: names}}},
			"", 0, "", []string{"bit-9", "time travel"},
		},
	}
	for name, test := range tests {
		b := test.image.Build()
		if test.field != "" {
			b.Set(test.field, test.value)
		}
		got, ok := open(t, b).QEMU()
		if diff := cmp.Diff(qcow2.QEMURequirement{Version: test.version, Because: test.because}, got); diff != "" || !ok {
			t.Errorf("%s: ok %v (-want +got):\n%s", name, ok, diff)
		}
	}
	if got, ok := open(t, qcow2test.Image{}.Build().Set("cluster_bits", 63)).QEMU(); ok || got.Version != "" {
		t.Errorf("without a geometry: %+v, %v", got, ok)
	}
}
