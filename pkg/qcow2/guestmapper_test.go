package qcow2_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestMapperAgain: one Mapper yields for ranges in any order what Guest yields for
// each.
func TestMapperAgain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, b := range qcow2test.Malformed() {
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		if err != nil || img.Supported() != nil {
			continue
		}
		g, _ := img.Geometry()
		o := qcow2.GuestOptions{PerCluster: rnd.IntN(2) == 0, Mapped: rnd.IntN(2) == 0, VMState: rnd.IntN(2) == 0}
		if o.PerCluster && !o.Mapped && g.Clusters > 1<<16 {
			o.Mapped = true
		}
		m, err := img.Mapper(t.Context(), o)
		if err != nil {
			continue
		}
		for range 8 {
			o.Offset, o.Length = rnd.Uint64N(g.VirtualSize+g.ClusterSize), 1+rnd.Uint64N(64*g.ClusterSize)
			want := rows(t, img, o)
			var got []string
			m.Map(o.Offset, o.Offset+o.Length, func(p *qcow2.Mapping, err error) bool {
				got = append(got, rowOrError(t, p, err))
				return true
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s, %+v (-Guest +Map):\n%s", name, o, diff)
			}
		}
	}
}

// TestMapperErrors: where nothing can be mapped there is no Mapper.
func TestMapperErrors(t *testing.T) {
	unknown := open(t, qcow2test.Image{IncompatibleFeatures: 1 << 60}.Build())
	if _, err := unknown.Mapper(t.Context(), qcow2.GuestOptions{}); !errors.Is(err, qcow2.ErrUnsupported) {
		t.Errorf("unknown feature: %v", err)
	}
	astray := open(t, qcow2test.Image{Patches: map[string]uint64{"l1_table_offset": 0x123}}.Build())
	if _, err := astray.Mapper(t.Context(), qcow2.GuestOptions{}); !errors.Is(err, qcow2.ErrCorrupt) {
		t.Errorf("L1 table astray: %v", err)
	}
	healthy := open(t, qcow2test.Image{}.Build())
	s := qcow2.Snapshot{L1TableOffset: 0x123}
	if _, err := healthy.Mapper(t.Context(), qcow2.GuestOptions{Snapshot: &s}); !errors.Is(err, qcow2.ErrCorrupt) {
		t.Errorf("snapshot whose L1 table is astray: %v", err)
	}
}

// TestEntryAt reads the entries that references name.
func TestEntryAt(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 16, Size: 1 << 20, Clusters: kinds{3: data}}.Build()
	img := open(t, b)
	l1, err := img.L1EntryAt(b.Field("l1[0]").Offset)
	if err != nil || uint64(l1) != b.Get("l1[0]") {
		t.Errorf("L1 entry %#x, %v; want %#x", l1, err, b.Get("l1[0]"))
	}
	l2, bitmap, err := img.L2EntryAt(b.Field("l2[0][3]").Offset)
	if err != nil || uint64(l2) != b.Get("l2[0][3]") || bitmap != 0 {
		t.Errorf("L2 entry %#x %#x, %v; want %#x", l2, bitmap, err, b.Get("l2[0][3]"))
	}
	if _, _, err := img.L2EntryAt(uint64(len(b.Bytes)) - 4); !errors.Is(err, qcow2.ErrTruncated) {
		t.Errorf("past the end: %v", err)
	}
	if _, err := img.L1EntryAt(1 << 63); !errors.Is(err, qcow2.ErrTruncated) {
		t.Errorf("far past the end: %v", err)
	}
}

// TestWithHoles: where a reader says that there are holes, nothing is read, and
// the answers are the same.
func TestWithHoles(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20}.Build()
	size := int64(len(b.Bytes)) + 1<<20
	img, err := qcow2.Open(holeReader(b.Bytes), size)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	holes := func(offset uint64) (start, end uint64, err error) {
		calls++
		if offset < uint64(len(b.Bytes)) {
			return offset, uint64(len(b.Bytes)), nil
		}
		return uint64(size), uint64(size), nil
	}
	withHoles, err := qcow2.Open(holeReader(b.Bytes), size, qcow2.WithHoles(holes))
	if err != nil {
		t.Fatal(err)
	}
	sameCheck(t, img, withHoles)
	if calls == 0 {
		t.Error("nobody asked for holes")
	}
	unknown := func(uint64) (start, end uint64, err error) { return 0, 0, errors.ErrUnsupported }
	withoutHoles, err := qcow2.Open(holeReader(b.Bytes), size, qcow2.WithHoles(unknown))
	if err != nil {
		t.Fatal(err)
	}
	sameCheck(t, img, withoutHoles)
}

// TestDataRange: data, a hole, data, a hole up to the end.
func TestDataRange(t *testing.T) {
	const second, end = 512 << 10, 4 << 20
	name := sparseFile(t, qcow2test.Image{}.Build(), end)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 64<<10), 1<<20+second); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	img, err := qcow2.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	start, stop, err := img.DataRange(0)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Log("this system does not tell holes")
		return
	}
	if err != nil || start != 0 {
		t.Fatalf("DataRange(0) = %#x, %#x, %v", start, stop, err)
	}
	if stop >= 1<<20+second { // a file system without holes
		t.Logf("no hole up to %#x", stop)
		return
	}
	if start, next, err := img.DataRange(stop); err != nil || start != 1<<20+second || next != start+64<<10 {
		t.Errorf("DataRange(%#x) = %#x, %#x, %v; want the second range", stop, start, next, err)
	}
	if start, next, err := img.DataRange(2 << 20); err != nil || start != end || next != end {
		t.Errorf("DataRange past the data = %#x, %#x, %v; want the end of the file twice", start, next, err)
	}
	p := make([]byte, 4)
	if n, err := img.ReadAt(p, 0); n != 4 || err != nil || string(p) != "QFI\xfb" {
		t.Errorf("ReadAt = %d, %v, %q", n, err, p)
	}
}
