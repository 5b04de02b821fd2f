package qcow2_test

import (
	"fmt"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// fillTable makes all entries of the first bitmap's table equal to the first.
func fillTable(b *qcow2test.Built) {
	table := b.Bytes[b.Get("bitmap[0].table_offset"):][:8*b.Get("bitmap[0].table_size")]
	for at := 8; at < len(table); at += 8 {
		copy(table[at:], table[:8])
	}
}

// TestManyBitmaps: what many bitmaps claim to share costs what their bytes do.
func TestManyBitmaps(t *testing.T) {
	const n, entries = 500, 1 << 12
	im := qcow2test.Image{ClusterBits: 12, Size: entries << 24, Clusters: kinds{0: data}}
	for i := range n {
		im.Bitmaps = append(im.Bitmaps, qcow2test.Bitmap{Name: fmt.Sprint(i), GranularityBits: 9})
	}
	im.Bitmaps[0].Table, im.Bitmaps[0].Data = make([]uint64, entries), map[int][]byte{0: {0xff}}
	shared := im.Build()
	fillTable(shared)
	for i := range n {
		shared.Set(fmt.Sprintf("bitmap[%d].table_offset", i), shared.Get("bitmap[0].table_offset")).Set(fmt.Sprintf("bitmap[%d].table_size", i), entries)
	}
	alone := im // one table whose entries share one cluster of data
	alone.Bitmaps = im.Bitmaps[:1]
	one := alone.Build()
	fillTable(one)
	for name, b := range map[string]*qcow2test.Built{"one table of all": shared, "one cluster of all": one} {
		for _, stale := range []bool{false, true} {
			if stale {
				b.Set("autoclear_features", 0)
			}
			img, reads := openCounted(t, b)
			bitmaps := 0
			for c, err := range img.BitmapContents(t.Context()) {
				if err != nil || c.Unreadable == nil || (c.State == qcow2.StateStale) != stale {
					t.Fatalf("%s: %+v, %v", name, c, err)
				}
				bitmaps++
			}
			if bitmaps == 0 || reads.bytes > 3*len(b.Bytes) {
				t.Errorf("%s: %d bytes read of %d for %d bitmaps", name, reads.bytes, len(b.Bytes), bitmaps)
			}
			first, err := img.FindBitmap("@0")
			if err != nil {
				t.Fatal(err)
			}
			reads.bytes = 0
			for r, err := range img.DirtyRanges(t.Context(), first) {
				if err == nil {
					t.Fatalf("%s: %+v is dirty", name, r)
				}
			}
			if reads.bytes > 3*len(b.Bytes) {
				t.Errorf("%s: %d bytes read of %d for one bitmap", name, reads.bytes, len(b.Bytes))
			}
		}
	}
}

// TestFullBitmaps: bitmaps that are all dirty, and cost no data, map the disk once
// together.
func TestFullBitmaps(t *testing.T) {
	const n, tables = 2000, 512
	im := qcow2test.Image{ClusterBits: 9, Size: tables << 15, Clusters: kinds{}}
	for i := range uint64(tables) {
		im.Clusters[i*64] = data
	}
	for i := range n {
		im.Bitmaps = append(im.Bitmaps, qcow2test.Bitmap{Name: fmt.Sprint(i), Table: []uint64{1}})
	}
	b := im.Build()
	img, reads := openCounted(t, b)
	for c, err := range img.BitmapContents(t.Context()) {
		if err != nil || c.Dirty != im.Size || c.Data != tables*512 || c.Unallocated != im.Size-tables*512 {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	if reads.bytes > 4*len(b.Bytes) {
		t.Errorf("%d bytes read of %d", reads.bytes, len(b.Bytes))
	}
}

// TestDirtyAllocs: memory does not grow with the ranges.
func TestDirtyAllocs(t *testing.T) {
	allocs := func(granules int) (n float64, rows int) {
		bits := make([]byte, granules/8)
		for i := range bits {
			bits[i] = 0x55
		}
		im := qcow2test.Image{ClusterBits: 16, Size: uint64(granules) << 9, Clusters: kinds{0: data, 5: zero}, Bitmaps: []qcow2test.Bitmap{
			{Name: "a", GranularityBits: 9, Table: make([]uint64, (granules+1<<19-1)>>19), Data: map[int][]byte{}},
			{Name: "b", GranularityBits: 30, Table: []uint64{0}},
		}}
		for k := range im.Bitmaps[0].Table {
			im.Bitmaps[0].Data[k] = bits[min(k<<16, len(bits)):]
		}
		img := open(t, im.Build())
		var all []qcow2.Bitmap
		for b, err := range img.Bitmaps() {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
		}
		n = testing.AllocsPerRun(3, func() {
			rows = 0
			for _, err := range img.Dirty(t.Context(), qcow2.DirtyOptions{Bitmaps: all}) {
				if err != nil {
					t.Fatal(err)
				}
				rows++
			}
			for c, err := range img.BitmapContents(t.Context()) {
				if err != nil || c.Index == 0 && c.Ranges != uint64(granules)/2 {
					t.Fatal(c, err)
				}
			}
		})
		return n, rows
	}
	least, few := allocs(1 << 12)
	most, many := allocs(1 << 19)
	if few != 1<<11 || many != 1<<18 || most > least+20 {
		t.Errorf("%v allocations for %d rows, %v for %d", least, few, most, many)
	}
}
