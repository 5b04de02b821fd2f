package qcow2_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestOpenFile(t *testing.T) {
	b := qcow2test.Image{Size: 1 << 20}.Build()
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	if err := os.WriteFile(name, b.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := qcow2.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if f.Size() != int64(len(b.Bytes)) || f.Header().Size != 1<<20 {
		t.Errorf("size %d, header %+v", f.Size(), f.Header())
	}
	if n, ok := f.AllocatedBytes(); ok && (n <= 0 || n%512 != 0) {
		t.Errorf("AllocatedBytes = %d", n)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenFileErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := qcow2.OpenFile(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := qcow2.OpenFile(dir); err == nil || !strings.Contains(err.Error(), "a directory, not a file or block device") {
		t.Errorf("directory: %v", err)
	}
	if _, err := qcow2.OpenFile(os.DevNull); err == nil || !strings.Contains(err.Error(), "a character device") {
		t.Errorf("%s: %v", os.DevNull, err)
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := qcow2.OpenFile(empty); !errors.Is(err, qcow2.ErrNotQcow2) {
		t.Errorf("empty file: %v", err)
	}
}
