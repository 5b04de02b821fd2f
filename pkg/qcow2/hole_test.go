package qcow2_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestHoles: L2 tables in a hole of a file are taken for what they are, zeros,
// also where one that is not empty lies between them.
func TestHoles(t *testing.T) {
	const tables, hole = 4096, 1 << 20
	b := qcow2test.Image{ClusterBits: 9, Size: tables << 15, Clusters: kinds{3: data}}.Build()
	l1 := b.Get("l1_table_offset")
	for i := range uint64(tables) {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], copied|(hole+i*512))
	}
	const full = 3000
	inFile, inMemory := openSparse(t, b, hole+tables*512, hole+full*512, copied|b.Get("l2[0][3]"))
	wantRows(t, inFile.Image, qcow2.GuestOptions{Mapped: true}, fmt.Sprintf("%#x+0x200 data %#x", full<<15, b.Get("l2[0][3]")&^copied))
	for _, o := range []qcow2.GuestOptions{{}, {PerCluster: true}} {
		if diff := cmp.Diff(rows(t, inMemory, o), rows(t, inFile.Image, o)); diff != "" {
			t.Errorf("%+v (-in memory +in the file):\n%s", o, diff)
		}
	}
	sameCheck(t, inMemory, inFile.Image)
}

// sparseFile writes an image to a file that goes on with a hole up to size bytes.
func sparseFile(t *testing.T, b *qcow2test.Built, size int64) (name string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "image.qcow2")
	if err := os.WriteFile(name, b.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

// openSparse opens an image in such a file, with an entry in its hole, and the
// same bytes in memory.
func openSparse(t *testing.T, b *qcow2test.Built, size, at int64, entry uint64) (inFile *qcow2.File, inMemory *qcow2.Image) {
	t.Helper()
	name := sparseFile(t, b, size)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(binary.BigEndian.AppendUint64(nil, entry), at)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if inFile, err = qcow2.OpenFile(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inFile.Close() })
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return inFile, open(t, &qcow2test.Built{Bytes: p})
}

// sameCheck holds what Check says of an image in memory against that in a file.
func sameCheck(t *testing.T, inMemory, inFile *qcow2.Image) {
	t.Helper()
	want, wantResult := check(t, inMemory)
	got, result := check(t, inFile)
	if diff := cmp.Diff(want, got); diff != "" || result != wantResult {
		t.Errorf("%+v and %+v (-in memory +in the file):\n%s", wantResult, result, diff)
	}
}

// TestHoleSubclusters: an L2 table in a hole of the file is one with extended
// entries all the same, and its clusters have subclusters.
func TestHoleSubclusters(t *testing.T) {
	const tables, hole = 3, 1 << 20
	b := qcow2test.Image{ClusterBits: 14, Size: tables << 24, IncompatibleFeatures: 1 << 4}.Build()
	for i := range uint64(tables) {
		binary.BigEndian.PutUint64(b.Bytes[b.Get("l1_table_offset")+i*8:], copied|(hole+i<<14))
	}
	file := filepath.Join(t.TempDir(), "image.qcow2")
	if err := os.WriteFile(file, b.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, hole+tables<<14); err != nil {
		t.Fatal(err)
	}
	inFile, err := qcow2.OpenFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer inFile.Close()
	inMemory, err := qcow2.Open(holeReader(b.Bytes), inFile.Size())
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []qcow2.GuestOptions{{}, {PerCluster: true}, {PerCluster: true, Offset: 1<<24 + 5<<14, Length: 1 << 24}} {
		if diff := cmp.Diff(rows(t, inMemory, o), rows(t, inFile.Image, o)); diff != "" {
			t.Errorf("%+v (-in memory +in the file):\n%s", o, diff)
		}
	}
}
