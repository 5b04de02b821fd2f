package qcow2_test

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// fuzzBitmaps compares what is said of each bitmap in sums, in ranges and in mappings.
func fuzzBitmaps(t *testing.T, p []byte, img *qcow2.Image) {
	t.Helper()
	g, err := img.Geometry()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for c, err := range img.BitmapContents(t.Context()) {
		if err != nil {
			checkError(t, p, err)
			continue
		}
		if c.Data+c.Zero+c.Unallocated+c.Unknown != c.Dirty || c.Dirty > g.VirtualSize || (c.State == qcow2.StateDamaged) != (c.Unreadable != nil && img.BitmapsConsistent()) {
			t.Fatalf("%+v does not add up on a disk of %d bytes", c, g.VirtualSize)
		}
		// Too many rows for a fuzzer, or too many bitmaps: each call below reads the
		// whole directory.
		if n++; n > 16 || c.Dirty>>9 > 1<<16 {
			continue
		}
		var sum qcow2.BitmapContent
		end, lost, broken := uint64(0), uint64(0), false
		for r, err := range img.DirtyRanges(t.Context(), c.Bitmap) {
			if err != nil {
				checkError(t, p, err)
				broken = true
				lost += r.Length
				continue
			}
			if sum.Ranges > 0 && r.Start <= end && !broken || r.Length == 0 || r.Length > g.VirtualSize-r.Start {
				t.Fatalf("%+v after %#x", r, end)
			}
			end = r.Start + r.Length
			sum.Ranges++
			sum.Dirty += r.Length
		}
		if broken != (c.Unreadable != nil) || !broken && (sum.Dirty != c.Dirty || sum.Ranges != c.Ranges) {
			t.Fatalf("%d bytes in %d ranges, broken %v, of %+v", sum.Dirty, sum.Ranges, broken, c)
		}
		fuzzDirty(t, img, c, sum.Dirty, lost)
	}
}

// fuzzDirty holds the mappings of what is dirty in a bitmap, and of what is clean,
// against its sums. Of the bytes that are lost neither is known.
func fuzzDirty(t *testing.T, img *qcow2.Image, c *qcow2.BitmapContent, dirty, lost uint64) {
	t.Helper()
	var data, at, all uint64
	for d, err := range img.Dirty(t.Context(), qcow2.DirtyOptions{Bitmaps: []qcow2.Bitmap{c.Bitmap}, All: true}) {
		if err != nil {
			continue
		}
		if d.Start < at || d.Length == 0 {
			t.Fatalf("%+v, but the mapping before ends at %#x", d, at)
		}
		at, all = d.Start+d.Length, all+d.Length
		if !d.Dirty {
			continue
		}
		dirty -= d.Length
		if d.Known && (d.Kind == qcow2.MappingData || d.Kind == qcow2.MappingCompressed) {
			data += d.Length
		}
	}
	if g, err := img.Geometry(); err != nil || all+lost != g.VirtualSize || dirty != 0 || c.Unreadable == nil && data != c.Data {
		t.Fatalf("mappings of %d bytes, %d of them dirty data; %d dirty ones are missing of %+v", all, data, dirty, c)
	}
}
