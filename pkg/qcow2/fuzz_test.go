package qcow2_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// seed adds small images of every kind to the corpus of a fuzz target.
func seed(f *testing.F) {
	f.Helper()
	names := []byte{0, 62}
	names = append(names, make([]byte, 46)...)
	for _, image := range []qcow2test.Image{
		{ClusterBits: 9, Size: 1 << 15},
		{ClusterBits: 9, Version: 2, Size: 1 << 15, BackingFile: "base", Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "n", ExtraSize: -1}}},
		{ClusterBits: 9, Size: 1 << 15, Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "n"}, {ID: "2", UnknownExtra: []byte("12345678")}}},
		{ClusterBits: 9, Size: 1 << 15, Bitmaps: []qcow2test.Bitmap{{Name: "a"}, {Name: "b", Flags: 3}}},
		{ClusterBits: 9, Size: 1 << 15, Extensions: []qcow2test.Extension{{Type: uint32(qcow2.ExtFeatureNames), Data: names}, {Type: 7}}},
		{ClusterBits: 9, LUKS: make([]byte, 592)},
	} {
		f.Add(image.Build().Bytes)
	}
	files, err := filepath.Glob("../../testdata/images/*.qcow2")
	if err != nil || len(files) == 0 {
		f.Fatalf("no images: %v", err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(p) < 8<<10 { // what is longer takes the fuzzer minutes to minimise
			f.Add(p)
		}
	}
}

// openFuzzed opens p and holds what is true of every error of Open.
func openFuzzed(t *testing.T, p []byte) *qcow2.Image {
	t.Helper()
	img, err := qcow2.Open(bytes.NewReader(p), int64(len(p)), qcow2.WithLimits(qcow2.NoLimits()))
	if err != nil {
		checkError(t, p, err)
		return nil
	}
	return img
}

// checkError holds that err is typed, and that it points into the file, or
// right behind it, or to a place that the file claims to have.
func checkError(t *testing.T, p []byte, err error) {
	t.Helper()
	e, ok := errors.AsType[*qcow2.Error](err)
	if !ok {
		t.Fatalf("%v (%T) is not an *Error", err, err)
	}
	if e.Offset > uint64(len(p)) && !errors.Is(e, qcow2.ErrTruncated) && !errors.Is(e, qcow2.ErrCorrupt) {
		t.Fatalf("%v: offset behind the file of %d bytes", e, len(p))
	}
	for _, c := range e.Error() {
		if c < ' ' {
			t.Fatalf("the error %q has control characters", e.Error())
		}
	}
}

func FuzzHeader(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		sum := 0
		for field, value := range img.Header().Fields() {
			sum += field.Size
			if field.Size < 8 && value>>(8*field.Size) != 0 {
				t.Errorf("%s = %#x in %d bytes", field.Name, value, field.Size)
			}
		}
		if sum+len(img.Header().Rest) > len(p) {
			t.Errorf("%d bytes of fields in a file of %d", sum, len(p))
		}
		errs := img.HeaderErrors()
		for _, e := range errs {
			checkError(t, p, e)
		}
		g, err := img.Geometry()
		if err != nil {
			if len(errs) == 0 {
				t.Errorf("Geometry: %v, but HeaderErrors is empty", err)
			}
			return
		}
		if g.Clusters*g.ClusterSize < g.VirtualSize && g.Clusters != 1<<(64-g.ClusterBits) {
			t.Errorf("%d clusters for %d bytes", g.Clusters, g.VirtualSize)
		}
		if _, _, err := img.BackingFile(); err != nil {
			checkError(t, p, err)
		}
	})
}

func FuzzExtensions(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		total := 0
		for x, err := range img.Extensions() {
			if err != nil {
				checkError(t, p, err)
				break
			}
			total += 8 + len(x.Data)
			fuzzExtension(t, img, x, p)
		}
		if total > len(p) {
			t.Errorf("%d bytes of extensions in a file of %d", total, len(p))
		}
		if n := len(img.FeatureNames()); n*48 > len(p) {
			t.Errorf("%d feature names in a file of %d bytes", n, len(p))
		}
	})
}

// fuzzExtension decodes an extension as every type that has structure.
func fuzzExtension(t *testing.T, img *qcow2.Image, x qcow2.Extension, p []byte) {
	t.Helper()
	if d, err := x.BitmapDirectory(); err == nil {
		total := 0
		for b, err := range img.Bitmaps(d) {
			if err != nil {
				checkError(t, p, err)
				break
			}
			total += 24 + len(b.Name)
			for _, e := range b.Damage {
				checkError(t, p, e)
			}
		}
		if total > len(p) {
			t.Errorf("%d bytes of bitmap directory in a file of %d", total, len(p))
		}
	}
	if e, err := x.EncryptionHeader(); err == nil {
		l, err := img.LUKS(e)
		if err != nil {
			checkError(t, p, err)
			return
		}
		for _, e := range l.Damage {
			checkError(t, p, e)
		}
	}
}

func FuzzSnapshotTable(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		n, total := 0, 0
		for s, err := range img.Snapshots() {
			if err != nil {
				checkError(t, p, err)
				break
			}
			if s.Index != n || s.Offset >= uint64(len(p)) {
				t.Errorf("entry %d has index %d and offset %#x", n, s.Index, s.Offset)
			}
			n++
			total += 40 + int(s.ExtraSize) + len(s.ID) + len(s.Name)
			for _, e := range s.Damage {
				checkError(t, p, e)
			}
		}
		if total > len(p) {
			t.Errorf("%d bytes of snapshot table in a file of %d", total, len(p))
		}
	})
}
