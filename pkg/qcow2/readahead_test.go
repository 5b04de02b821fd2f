package qcow2_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// scatteredImage returns an image of n L2 tables of clusters of 4 KiB, none of which
// follows the one before it, and its size.
func scatteredImage(n uint64) (b *qcow2test.Built, size int64) {
	clusters := kinds{}
	for i := range n * 3 { // so that refcounts take several blocks
		clusters[i*512/3] = data
	}
	b = qcow2test.Image{ClusterBits: 12, RefcountBits: 64, Size: n << 21, Clusters: clusters, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	l1 := b.Bytes[b.Get("l1_table_offset"):]
	for i := range n / 2 {
		x, y := l1[i*8:][:8], l1[(n-1-i)*8:][:8]
		e := binary.BigEndian.Uint64(x)
		copy(x, y)
		binary.BigEndian.PutUint64(y, e)
	}
	return b, int64(len(b.Bytes))
}

// A crowdReader counts the reads that are under way. If gather is not 0, that many
// reads of single L2 tables wait for each other.
type crowdReader struct {
	io.ReaderAt
	now, most, largest atomic.Int64
	gather             atomic.Int64
	gathered           chan struct{}
}

// raise sets a to n if that is larger.
func raise(a *atomic.Int64, n int64) {
	for {
		if old := a.Load(); old >= n || a.CompareAndSwap(old, n) {
			return
		}
	}
}

func (r *crowdReader) ReadAt(p []byte, off int64) (int, error) {
	raise(&r.most, r.now.Add(1))
	defer r.now.Add(-1)
	if r.now.Load() > 1 {
		raise(&r.largest, int64(len(p)))
	}
	if r.gathered != nil && len(p) == 4096 {
		if r.gather.Add(-1) == 0 {
			close(r.gathered)
		}
		<-r.gathered
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestReadAheadTogether: where reads are slow, 16 come at a time and no more, of at
// most 256 KiB, and none is under way when an iterator stops early.
func TestReadAheadTogether(t *testing.T) {
	b, size := scatteredImage(100)
	r := &crowdReader{ReaderAt: b.Reader()}
	img, err := qcow2.Open(r, size, qcow2.WithSlowReads())
	if err != nil {
		t.Fatal(err)
	}
	r.gather.Store(16)
	r.gathered = make(chan struct{}) // without 16 at a time, this test never ends
	for range img.Guest(t.Context(), qcow2.GuestOptions{}) {
		if n := r.now.Load(); n != 0 {
			t.Errorf("%d reads are under way while a mapping is yielded", n)
		}
		break
	}
	if n := r.most.Load(); n != 16 {
		t.Errorf("%d reads at a time, want 16", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows := 0
	for range img.Guest(ctx, qcow2.GuestOptions{}) {
		if rows++; rows == 3 {
			cancel()
		}
	}
	for work, run := range walkAll(t, img) {
		run()
		if now, most, largest := r.now.Load(), r.most.Load(), r.largest.Load(); now != 0 || most != 16 || largest > 256<<10 {
			t.Errorf("%s: %d reads are under way, %d were at a time, of up to %d bytes", work, now, most, largest)
		}
	}
}

// TestReadAheadOff: reads that are not slow, or of an image without read-ahead, come
// one after the other.
func TestReadAheadOff(t *testing.T) {
	b, size := scatteredImage(100)
	for name, o := range map[string][]qcow2.Option{"fast": {qcow2.WithFastReads()}, "without": {qcow2.WithSlowReads(), qcow2.WithoutReadAhead()}} {
		r := &crowdReader{ReaderAt: b.Reader()}
		img, err := qcow2.Open(r, size, o...)
		if err != nil {
			t.Fatal(err)
		}
		for _, run := range walkAll(t, img) {
			run()
		}
		if n := r.most.Load(); n != 1 {
			t.Errorf("%s: %d reads at a time", name, n)
		}
	}
}

// A lockedReader is a faultReader for several reads at a time.
type lockedReader struct {
	sync.Mutex
	faultReader
}

func (r *lockedReader) ReadAt(p []byte, off int64) (int, error) {
	r.Lock()
	defer r.Unlock()
	return r.faultReader.ReadAt(p, off)
}

// TestReadAheadSame: reading ahead changes no row, no error and no finding, and not
// their order, whichever sector cannot be read.
func TestReadAheadSame(t *testing.T) {
	scattered, _ := scatteredImage(40)
	images := map[string]*qcow2test.Built{
		"scattered":           scattered,
		"clusters of 512":     qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Clusters: kinds{3: data, 70: zero, 900: data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build(),
		"clusters of 2 MiB":   qcow2test.Image{ClusterBits: 21, Size: 1 << 40, Clusters: kinds{3: data, 1 << 18: zero}}.Build(),
		"extended L2 entries": qcow2test.Image{ClusterBits: 14, Size: 1 << 26, IncompatibleFeatures: 1 << 4, Clusters: kinds{3: data, 3000: data}}.Build(),
	}
	for name, b := range images {
		size := int64(len(b.Bytes))
		seen := map[int64]bool{-1: true}
		answers(t, faultReader{b.Reader(), -1, "", seen}, size, qcow2.WithoutReadAhead())
		step := len(seen)/40 + 1
		for sector := range seen {
			if sector >= 0 && int(sector)%step != 0 && sector > 20 {
				continue
			}
			shape := shapes()[uint64(sector)%uint64(len(shapes()))]
			want := answers(t, faultReader{b.Reader(), sector, shape, map[int64]bool{}}, size, qcow2.WithoutReadAhead())
			got := answers(t, &lockedReader{faultReader: faultReader{b.Reader(), sector, shape, map[int64]bool{}}}, size, qcow2.WithSlowReads())
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(answer{})); diff != "" {
				t.Errorf("%s, sector %d, %s (-one read at a time +reading ahead):\n%s", name, sector, shape, diff)
			}
		}
	}
}

// TestRefcountBlocksTogether: refcount blocks and L2 tables that follow each other
// are read together, with at most two reads for each MiB of metadata.
func TestRefcountBlocksTogether(t *testing.T) {
	b, size := denseImage(64, 1)
	r := &countingReader{ReaderAt: holeReader(b.Bytes)}
	img, err := qcow2.Open(r, size, qcow2.WithoutReadAhead())
	if err != nil {
		t.Fatal(err)
	}
	for work, run := range walkAll(t, img) {
		r.calls, r.bytes = 0, 0
		run()
		if most := 2*(r.bytes>>20+1) + 8; r.calls > most {
			t.Errorf("%s: %d reads of %d bytes, want at most %d", work, r.calls, r.bytes, most)
		}
	}
}

// A waitingReader takes a while for each read.
type waitingReader struct {
	io.ReaderAt
	wait time.Duration
}

func (r waitingReader) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(r.wait)
	return r.ReaderAt.ReadAt(p, off)
}

func BenchmarkSlowStorage(b *testing.B) {
	built, size := scatteredImage(512)
	for _, wait := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
		for name, o := range map[string][]qcow2.Option{"one": {qcow2.WithoutReadAhead()}, "ahead": nil} {
			b.Run(fmt.Sprintf("%v/%s", wait, name), func(b *testing.B) {
				for b.Loop() {
					img, err := qcow2.Open(waitingReader{bytes.NewReader(built.Bytes), wait}, size, o...)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := img.Check(b.Context(), qcow2.CheckOptions{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
