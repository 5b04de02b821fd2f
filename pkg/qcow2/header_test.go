package qcow2_test

import (
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// open opens a built image.
func open(t *testing.T, b *qcow2test.Built, opts ...qcow2.Option) *qcow2.Image {
	t.Helper()
	img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)), opts...)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return img
}

// collect returns what a sequence yields and the error that ends it.
func collect[T any](seq iter.Seq2[T, error]) (all []T, last error) {
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

// asError returns err as an *qcow2.Error, which every error of the package is.
func asError(t *testing.T, err error) *qcow2.Error {
	t.Helper()
	e, ok := errors.AsType[*qcow2.Error](err)
	if !ok {
		t.Fatalf("error %v (%T) is not an *Error", err, err)
	}
	return e
}

func TestHeaderFields(t *testing.T) {
	b := qcow2test.Image{
		ClusterBits:          12,
		RefcountBits:         64,
		Size:                 0x123456789,
		L1Size:               4000,
		IncompatibleFeatures: 1<<0 | 1<<3 | 1<<40,
		CompatibleFeatures:   1,
		AutoclearFeatures:    1 << 1,
		CompressionType:      1,
		BackingFile:          "base.qcow2",
		Snapshots:            []qcow2test.Snapshot{{ID: "1"}, {ID: "2"}},
	}.Build()
	b.Set("padding", 0x01020304050607)
	h := open(t, b).Header()
	var names []string
	end := 0
	for f, v := range h.Fields() {
		names = append(names, f.Name)
		if want := b.Get(f.Name); v != want {
			t.Errorf("%s = %#x, want %#x", f.Name, v, want)
		}
		if f.Offset != end {
			t.Errorf("%s lies at %d, but the field before it ends at %d", f.Name, f.Offset, end)
		}
		if want := b.Field(f.Name); uint64(f.Offset) != want.Offset || f.Size != want.Size {
			t.Errorf("%s has offset %d and size %d, want %d and %d", f.Name, f.Offset, f.Size, want.Offset, want.Size)
		}
		end = f.Offset + f.Size
	}
	if end != 112 || len(names) != 20 {
		t.Errorf("%d fields end at byte %d, want 20 and 112: %v", len(names), end, names)
	}
	if h.RefcountOrder != 6 || h.CompressionType != qcow2.CompressionZstd || h.NbSnapshots != 2 || h.Compat() != "1.1" {
		t.Errorf("header %+v", h)
	}
	if got, want := h.VirtualSize(), uint64(0x123456789)&^511; got != want {
		t.Errorf("VirtualSize = %#x, want %#x", got, want)
	}
}

func TestHeaderPresence(t *testing.T) {
	tests := map[string]struct {
		image  qcow2test.Image
		file   int // bytes left of the file; 0: all
		fields int
		last   string
		rest   int
	}{
		"version 2":             {image: qcow2test.Image{Version: 2}, fields: 13, last: "snapshots_offset"},
		"104 bytes":             {image: qcow2test.Image{HeaderLength: 104}, fields: 18, last: "header_length"},
		"112 bytes":             {image: qcow2test.Image{}, fields: 20, last: "padding"},
		"264 bytes":             {image: qcow2test.Image{HeaderLength: 264}, fields: 20, last: "padding", rest: 152},
		"claims 50 bytes":       {image: qcow2test.Image{Patches: map[string]uint64{"header_length": 50}}, fields: 18, last: "header_length"},
		"file of 72 bytes, v2":  {image: qcow2test.Image{Version: 2}, file: 72, fields: 13, last: "snapshots_offset"},
		"file of 72 bytes, v3":  {image: qcow2test.Image{}, file: 72, fields: 13, last: "snapshots_offset"},
		"file of 103 bytes":     {image: qcow2test.Image{}, file: 103, fields: 17, last: "refcount_order"},
		"file of 104 bytes":     {image: qcow2test.Image{}, file: 104, fields: 18, last: "header_length"},
		"file of 105 bytes":     {image: qcow2test.Image{}, file: 105, fields: 19, last: "compression_type"},
		"file ends in the rest": {image: qcow2test.Image{HeaderLength: 264}, file: 200, fields: 20, last: "padding", rest: 88},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := test.image.Build()
			if test.file > 0 {
				b.Truncate(test.file)
			}
			h := open(t, b).Header()
			n, last := 0, ""
			for f := range h.Fields() {
				n, last = n+1, f.Name
			}
			if n != test.fields || last != test.last || len(h.Rest) != test.rest {
				t.Errorf("%d fields to %s and %d bytes, want %d to %s and %d", n, last, len(h.Rest), test.fields, test.last, test.rest)
			}
			if h.Version == 2 && (h.HeaderLength != 72 || h.RefcountOrder != 4 || h.IncompatibleFeatures != 0 || h.Compat() != "0.10") {
				t.Errorf("version 2 header %+v", h)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	image := string(qcow2test.Image{}.Build().Bytes)
	tests := map[string]struct {
		file   string
		kind   error
		offset uint64
		words  string
	}{
		"empty":     {"", qcow2.ErrNotQcow2, 0, "the file is empty"},
		"text":      {"#!/bin/sh\n", qcow2.ErrNotQcow2, 0, "it begins with 23212f62, not 514649fb"},
		"one byte":  {"Q", qcow2.ErrNotQcow2, 0, "it begins with 51"},
		"magic":     {image[:4], qcow2.ErrTruncated, 4, "it has 4 bytes of at least 72"},
		"7 bytes":   {image[:7], qcow2.ErrTruncated, 7, "it has 7 bytes of at least 72"},
		"version 0": {image[:4] + "\x00\x00\x00\x00" + image[8:], qcow2.ErrUnsupported, 4, "version 0 is not supported"},
		"version 1": {image[:4] + "\x00\x00\x00\x01" + image[8:], qcow2.ErrNotQcow2, 0, "this is a qcow image, version 1 of the format"},
		"version 4": {image[:4] + "\x00\x00\x00\x04" + image[8:], qcow2.ErrUnsupported, 4, "version 4 is not supported"},
		"8 bytes":   {image[:8], qcow2.ErrTruncated, 8, "it has 8 bytes of at least 72"},
		"71 bytes":  {image[:71], qcow2.ErrTruncated, 71, "it has 71 bytes of at least 72"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			img, err := qcow2.Open(strings.NewReader(test.file), int64(len(test.file)))
			if img != nil {
				t.Error("an image comes with the error")
			}
			e := asError(t, err)
			if !errors.Is(err, test.kind) || e.Offset != test.offset || !strings.Contains(e.Detail, test.words) {
				t.Errorf("error %q of kind %v at %d, want %q of kind %v at %d", e, e.Kind, e.Offset, test.words, test.kind, test.offset)
			}
		})
	}
}

// TestOpenEveryLength cuts an image at every byte of its first 600: Open
// answers with an error below 72 bytes and with what there is above.
func TestOpenEveryLength(t *testing.T) {
	whole := qcow2test.Image{Size: 1 << 20, BackingFile: "base"}.Build().Bytes
	for n := range 600 {
		b := qcow2test.Built{Bytes: whole[:n]}
		img, err := qcow2.Open(b.Reader(), int64(n))
		if (err != nil) != (n < 72) {
			t.Fatalf("%d bytes: Open = %v", n, err)
		}
		if err != nil {
			continue
		}
		if _, err := img.Geometry(); (err != nil) != (n < 104) {
			t.Errorf("%d bytes: Geometry: %v", n, err)
		}
		if errs := img.HeaderErrors(); (len(errs) > 0) != (n < 124) { // where the backing file name ends
			t.Errorf("%d bytes: HeaderErrors = %v", n, errs)
		}
	}
}

// A failingReader fails from an offset on.
type failingReader struct {
	io.ReaderAt
	from int64
	err  error
}

func (r failingReader) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > r.from {
		return 0, r.err
	}
	return r.ReaderAt.ReadAt(p, off)
}

func TestReadErrors(t *testing.T) {
	b := qcow2test.Image{Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	broken := errors.New("broken disk")
	for name, test := range map[string]struct {
		from       int64
		err        error
		open, exts error
	}{
		"header":        {0, broken, broken, nil},
		"shrunk":        {100, io.EOF, qcow2.ErrTruncated, nil},
		"after header":  {112, broken, nil, broken},
		"first cluster": {4096, broken, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			img, err := qcow2.Open(failingReader{b.Reader(), test.from, test.err}, int64(len(b.Bytes)))
			if !errors.Is(err, test.open) {
				t.Fatalf("Open = %v, want %v", err, test.open)
			}
			if img == nil {
				return
			}
			if _, err := extensions(img); !errors.Is(err, test.exts) {
				t.Errorf("Extensions: %v, want %v", err, test.exts)
			}
		})
	}
	img, err := qcow2.Open(failingReader{b.Reader(), 1 << 16, broken}, int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range img.Snapshots() {
		if e := asError(t, err); !errors.Is(err, broken) || e.Offset != b.Get("snapshots_offset") {
			t.Errorf("Snapshots yields %v", err)
		}
	}
}

func TestFieldTable(t *testing.T) {
	end := 0
	for f := range qcow2.Fields() {
		if f.Offset != end || f.Size < 1 || f.Size > 8 || f.Doc == "" {
			t.Errorf("field %+v", f)
		}
		if want := map[bool]int{true: 2, false: 3}[f.Offset < 72]; f.Version != want {
			t.Errorf("%s belongs to version %d, want %d", f.Name, f.Version, want)
		}
		end = f.Offset + f.Size
	}
	if end != 112 {
		t.Errorf("the fields end at %d, want 112", end)
	}
}

func TestErrorText(t *testing.T) {
	img := open(t, qcow2test.Image{Patches: map[string]uint64{"cluster_bits": 63}}.Build())
	_, err := img.Geometry()
	want := "header at offset 0x14: cluster_bits 63 is outside 9 to 21"
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("error text (-want +got):\n%s", diff)
	}
}
