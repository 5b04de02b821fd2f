package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A countingReader counts what is read through it.
type countingReader struct {
	io.ReaderAt
	calls, bytes int
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.calls++
	r.bytes += len(p)
	return r.ReaderAt.ReadAt(p, off)
}

// openCounted opens an image, and counts from then on.
func openCounted(t *testing.T, b *qcow2test.Built) (*qcow2.Image, *countingReader) {
	t.Helper()
	r := &countingReader{ReaderAt: b.Reader()}
	img, err := qcow2.Open(r, int64(len(b.Bytes)), qcow2.WithoutReadAhead())
	if err != nil {
		t.Fatal(err)
	}
	r.calls, r.bytes = 0, 0
	return img, r
}

// TestOneL2TableManyTimes: 4096 L1 entries point to one table, which is read
// once.
func TestOneL2TableManyTimes(t *testing.T) {
	const n = 4096
	b := qcow2test.Image{ClusterBits: 9, Size: n << 15, Clusters: kinds{5: data}}.Build()
	l1 := b.Get("l1_table_offset")
	for i := range uint64(n) {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], b.Get("l1[0]"))
	}
	img, r := openCounted(t, b)
	if got := rows(t, img, qcow2.GuestOptions{}); len(got) != 2*n+1 {
		t.Errorf("%d rows, want %d", len(got), 2*n+1)
	}
	if r.calls != 2 || r.bytes != n*8+512 {
		t.Errorf("%d reads of %d bytes, want 2 of %d", r.calls, r.bytes, n*8+512)
	}
}

// TestSequentialReads: tables that follow each other are read together, and no
// byte twice. A single cluster needs no more than what points to it.
func TestSequentialReads(t *testing.T) {
	const n = 300
	clusters := kinds{}
	for i := range uint64(n) {
		clusters[i*512] = zero
	}
	img, r := openCounted(t, qcow2test.Image{ClusterBits: 12, Size: n << 21, Clusters: clusters}.Build())
	if got := rows(t, img, qcow2.GuestOptions{}); len(got) != 2*n {
		t.Errorf("%d rows, want %d", len(got), 2*n)
	}
	if r.calls != 3 || r.bytes != n*8+n*4096 {
		t.Errorf("%d reads of %d bytes, want 3 of %d", r.calls, r.bytes, n*8+n*4096)
	}
	r.calls = 0
	wantRows(t, img, qcow2.GuestOptions{Offset: 299 << 21, Length: 1}, fmt.Sprintf("%#x+0x1000 zero", 299<<21))
	if r.calls != 2 {
		t.Errorf("%d reads for one cluster, want 2", r.calls)
	}
}

// errBroken is what a brokenReader returns.
var errBroken = errors.New("bad sector")

// A brokenReader cannot read the byte at bad.
type brokenReader struct {
	io.ReaderAt
	bad int64
}

func (r brokenReader) ReadAt(p []byte, off int64) (int, error) {
	if off <= r.bad && r.bad < off+int64(len(p)) {
		return 0, errBroken
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestUnreadableTable: a sector that cannot be read hides its own table alone.
func TestUnreadableTable(t *testing.T) {
	b := threeTables().Build()
	table := []string{"0x0+0x400 zero", "0x400+0x1fc00 unallocated", "0x20000+0x400 zero", "0x20400+0x1fc00 unallocated", "0x40000+0x400 zero", "0x40400+0x1fc00 unallocated"}
	for i := range 3 {
		bad := 0x800 + i*0x400
		img, err := qcow2.Open(brokenReader{b.Reader(), int64(bad)}, int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, row := range rows(t, img, qcow2.GuestOptions{}) {
			row, _, _ = strings.Cut(row, ": reading") // how much was tried
			got = append(got, row)
		}
		want := slices.Replace(slices.Clone(table), 2*i, 2*i+2, fmt.Sprintf("bad sector: L2 table at offset %#x", bad))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%#x cannot be read (-want +got):\n%s", bad, diff)
		}
	}
	img, err := qcow2.Open(brokenReader{b.Reader(), 0x408}, int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	wantRows(t, img, qcow2.GuestOptions{}, "bad sector: L1 table at offset 0x400: reading 24 bytes: bad sector")
	for _, err := range img.Guest(t.Context(), qcow2.GuestOptions{}) {
		if !errors.Is(err, errBroken) {
			t.Errorf("%v does not wrap the error of the reader", err)
		}
	}
}

// TestFileBecomesShorter while it is open.
func TestFileBecomesShorter(t *testing.T) {
	b := threeTables().Build()
	img, err := qcow2.Open(b.Truncate(0xc10).Reader(), 0x1c00)
	if err != nil {
		t.Fatal(err)
	}
	got := rows(t, img, qcow2.GuestOptions{})
	if len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "truncated: L2 table at offset 0x") || !strings.HasSuffix(got[len(got)-1], "the file has become shorter while it was read") {
		t.Errorf("rows %q", got)
	}
}

// TestLargestDisk holds that nothing wraps around at the end of a disk of
// 2^64−1 bytes, whose L1 table is a hole and goes on past the end of the disk.
func TestLargestDisk(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 21, L1Size: 1}.Build()
	b.Set("size", math.MaxUint64).Set("l1_table_offset", uint64(len(b.Bytes)))
	for _, entries := range []uint64{1 << 25, 1<<25 + 1<<10} {
		b.Set("l1_size", entries)
		img, err := qcow2.Open(holeReader(b.Bytes), 1<<40, qcow2.WithLimits(qcow2.NoLimits()))
		if err != nil {
			t.Fatal(err)
		}
		const offset = math.MaxUint64 &^ (1<<45 - 1)
		want := "0xffffe00000000000+0x1ffffffffe00 unallocated"
		wantRows(t, img, qcow2.GuestOptions{Offset: offset}, want)
		wantRows(t, img, qcow2.GuestOptions{Offset: math.MaxUint64, Length: math.MaxUint64}, "0xffffffffffe00000+0x1ffe00 unallocated")
		wantRows(t, img, qcow2.GuestOptions{Offset: math.MaxUint64, Length: 1, PerCluster: true}, "0xffffffffffe00000+0x1ffe00 unallocated")
		// Behind it there are no addresses left.
		wantRows(t, img, qcow2.GuestOptions{Offset: offset, VMState: true}, want)
	}
}

// mixedImage has mappings of many kinds, problems, errors and VM state.
func mixedImage() *qcow2test.Built {
	b := qcow2test.Image{
		ClusterBits: 14, Size: 3100<<14 + 512, IncompatibleFeatures: 1 << 4,
		Clusters:    kinds{0: data, 1: data, 2: zero, 3: zeroAllocated, 5: data, 6: data, 1024: data, 2048: data, 3072: data, 3101: data},
		Compressed:  map[uint64]qcow2test.Compressed{8: {Sectors: 3}},
		Subclusters: map[uint64]uint64{1: 0xff, 3: 0xf << 32, 2048: 1<<32 | 1},
	}.Build()
	return b.Set("l2[0][6]", 0x200).Set("l1[1]", b.Get("l1[1]")|1).Set("l1[2]", 1<<40)
}

// TestGuestStops leaves the sequence after each of its first items: it must stop,
// and can be started again.
func TestGuestStops(t *testing.T) {
	img := open(t, mixedImage())
	for _, o := range []qcow2.GuestOptions{{VMState: true}, {VMState: true, PerCluster: true}} {
		all := rows(t, img, o)
		for n := range min(len(all), 50) {
			i := 0
			for m, err := range img.Guest(t.Context(), o) {
				if err == nil && row(m) != all[i] {
					t.Errorf("row %d of %d is %q, want %q", i, n, row(m), all[i])
				}
				if i++; i > n {
					break
				}
			}
		}
		if diff := cmp.Diff(all, rows(t, img, o)); diff != "" {
			t.Errorf("second time (-first +second):\n%s", diff)
		}
	}
}

// TestGuestAtOnce walks one image in several goroutines.
func TestGuestAtOnce(t *testing.T) {
	img := open(t, mixedImage())
	want := rows(t, img, qcow2.GuestOptions{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var got []string
			for m, err := range img.Guest(t.Context(), qcow2.GuestOptions{}) {
				if err == nil {
					got = append(got, row(m))
				} else {
					got = append(got, fmt.Sprintf("%v: %v", errors.Unwrap(err), err))
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	wg.Wait()
}

// denseImage returns a healthy image of n full L2 tables without its data, and the
// size of its file. The i-th cluster has the host cluster i·stride of as many as
// there are guest clusters: stride is odd.
func denseImage(n, stride uint64) (b *qcow2test.Built, size int64) {
	const cluster, entries, refcounts = 1 << 16, 1 << 13, 1 << 15
	b = qcow2test.Image{Size: n * cluster * entries}.Build()
	ones := bytes.Repeat([]byte{0, 1}, refcounts)
	copy(b.Bytes[b.Get("refcount_table[0]"):], ones)
	for i := range n * entries / refcounts {
		binary.BigEndian.PutUint64(b.Bytes[b.Get("refcount_table_offset")+(i+1)*8:], uint64(len(b.Bytes)))
		b.Bytes = append(b.Bytes, ones...)
	}
	first := uint64(len(b.Bytes))
	data := first + n*cluster
	for i := range n * entries {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, copied|data+i*stride%(n*entries)*cluster)
	}
	for i := range n {
		b.Set(fmt.Sprintf("l1[%d]", i), copied|first+i*cluster)
	}
	return b, int64(data + n*cluster*entries)
}

// TestGuestAllocs: what a walk allocates does not grow with what it yields.
func TestGuestAllocs(t *testing.T) {
	allocs := func(b *qcow2test.Built, size int64, o qcow2.GuestOptions) (n float64, mappings int) {
		img := openAs(t, b, size)
		n = testing.AllocsPerRun(5, func() {
			mappings = 0
			for _, err := range img.Guest(t.Context(), o) {
				if err != nil {
					t.Fatal(err)
				}
				mappings++
			}
		})
		return n, mappings
	}
	const random = 12345677
	for name, test := range map[string]struct {
		stride uint64
		o      qcow2.GuestOptions
	}{
		"per cluster": {1, qcow2.GuestOptions{PerCluster: true}},
		"random":      {random, qcow2.GuestOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			b, size := denseImage(16, test.stride)
			few := test.o
			few.Length = 1
			least, one := allocs(b, size, few)
			most, all := allocs(b, size, test.o)
			if one != 1 || all != 16<<13 || least != most || most > 20 {
				t.Errorf("%v allocations for %d mappings, %v for %d", least, one, most, all)
			}
		})
	}
}

func BenchmarkGuest(b *testing.B) {
	const tables = 64
	for _, bench := range []struct {
		name   string
		stride uint64
		o      qcow2.GuestOptions
	}{
		{"runs", 1, qcow2.GuestOptions{}},
		{"per-cluster", 1, qcow2.GuestOptions{PerCluster: true}},
		{"random", 12345677, qcow2.GuestOptions{}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			built, size := denseImage(tables, bench.stride)
			img, err := qcow2.Open(built.Reader(), size)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(tables << 16)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range img.Guest(b.Context(), bench.o) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(tables<<13), "ns/cluster")
		})
	}
}
