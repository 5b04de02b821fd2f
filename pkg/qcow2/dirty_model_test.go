package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// modelSectors returns, for each sector of 512 bytes of a disk, whether a bitmap
// has it as dirty: bit by bit from the bytes of the file, and nothing but a healthy
// bitmap.
func modelSectors(file []byte, b qcow2.Bitmap, clusterSize, size uint64) []bool {
	sectors := make([]bool, size/512)
	for i := range sectors {
		bit := uint64(i) * 512 >> b.GranularityBits
		entry := binary.BigEndian.Uint64(file[b.TableOffset+bit/8/clusterSize*8:])
		switch entry {
		case 0, 1:
			sectors[i] = entry == 1
		default:
			sectors[i] = file[entry+bit/8%clusterSize]>>(bit%8)&1 == 1
		}
	}
	return sectors
}

// sectorRanges returns the runs of sectors that are set.
func sectorRanges(sectors []bool) []qcow2.GuestRange {
	var all []qcow2.GuestRange
	for i, set := range sectors {
		switch n := len(all); {
		case set && i > 0 && sectors[i-1]:
			all[n-1].Length += 512
		case set:
			all = append(all, qcow2.GuestRange{Start: uint64(i) * 512, Length: 512})
		}
	}
	return all
}

// modelMappings returns how each sector is mapped, from the clusters of Guest.
func modelMappings(t *testing.T, img *qcow2.Image, sectors int) []qcow2.DirtyMapping {
	t.Helper()
	all := make([]qcow2.DirtyMapping, sectors)
	for m, err := range img.Guest(t.Context(), qcow2.GuestOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		for at := m.Start; at < m.Start+m.Length; at += 512 {
			d := qcow2.DirtyMapping{Known: true, Kind: m.Kind, HasOffset: m.HasHost && m.Kind != qcow2.MappingCompressed, Problems: m.Problems}
			if d.HasOffset {
				d.Offset = m.HostOffset + at - m.Start
			}
			all[at/512] = d
		}
	}
	return all
}

// modelDirty joins what is alike of sectors.
func modelDirty(dirty []bool, mapped []qcow2.DirtyMapping, all bool) []qcow2.DirtyMapping {
	var rows []qcow2.DirtyMapping
	for i, d := range mapped {
		if d.Dirty = dirty[i]; !d.Dirty && !all {
			continue
		}
		d.Start, d.Length = uint64(i)*512, 512
		if n := len(rows); n > 0 {
			c := rows[n-1]
			next := c
			next.Start, next.Length = d.Start, d.Length
			if next.HasOffset {
				next.Offset += c.Length
			}
			if c.Start+c.Length == d.Start && next == d {
				rows[n-1].Length += 512
				continue
			}
		}
		rows = append(rows, d)
	}
	return rows
}

// randomBits returns bitmap data in which runs of bits and of bytes are alike.
func randomBits(r *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for at := 0; at < n; {
		word := [...]byte{0, 0xff, byte(r.Uint32())}[r.IntN(3)]
		for length := 1 + r.IntN(40); length > 0 && at < n; length-- {
			p[at] = word
			at++
		}
	}
	return p
}

// randomBitmaps returns an image with bitmaps of any granularity, and with every
// kind of mapping.
func randomBitmaps(r *rand.Rand) qcow2test.Image {
	bits := uint(9 + r.IntN(4))
	im := qcow2test.Image{ClusterBits: bits, Size: 512 * (1 + r.Uint64N(40_000)), Clusters: kinds{}, Compressed: map[uint64]qcow2test.Compressed{}, Subclusters: map[uint64]uint64{}}
	switch r.IntN(4) {
	case 0:
		im.ClusterBits, im.IncompatibleFeatures = 14, uint64(qcow2.ExtendedL2)
	case 1:
		im.BackingFile = "base"
	}
	for range r.IntN(100) {
		c := r.Uint64N(im.Size>>im.ClusterBits + 1)
		switch {
		case im.IncompatibleFeatures != 0 && r.IntN(2) == 0:
			allocated := r.Uint64() & 0xffffffff
			im.Subclusters[c], im.Clusters[c] = allocated|r.Uint64()<<32&^(allocated<<32), data
		case r.IntN(4) == 0 && im.IncompatibleFeatures == 0:
			if _, ok := im.Clusters[c]; !ok {
				im.Compressed[c] = qcow2test.Compressed{Offset: r.Uint64N(1 << bits), Sectors: 1}
			}
		default:
			delete(im.Compressed, c)
			im.Clusters[c] = qcow2test.Kind(r.IntN(3))
		}
	}
	for i := range 1 + r.IntN(4) {
		b := qcow2test.Bitmap{Name: fmt.Sprint("b", i), GranularityBits: uint8(9 + r.IntN(6)), Flags: 2 * r.Uint32N(2), Data: map[int][]byte{}}
		granules := (im.Size-1)>>b.GranularityBits + 1
		perCluster := uint64(8) << im.ClusterBits
		for k := range int((granules-1)/perCluster) + 1 {
			b.Table = append(b.Table, r.Uint64N(2))
			if r.IntN(2) == 0 {
				b.Data[k] = randomBits(r, 1<<im.ClusterBits)
			}
		}
		im.Bitmaps = append(im.Bitmaps, b)
	}
	return im
}

// TestDirtyModel holds everything that is said of bitmaps of random images against
// a slow model of each sector.
func TestDirtyModel(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 9))
		b := randomBitmaps(r).Build()
		img := open(t, b)
		compareDirty(t, img, b.Bytes)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// compareDirty holds what is said of the bitmaps of an image, which are healthy,
// against the model.
func compareDirty(t *testing.T, img *qcow2.Image, file []byte) {
	t.Helper()
	g, err := img.Geometry()
	if err != nil {
		t.Fatal(err)
	}
	mapped := modelMappings(t, img, int(g.VirtualSize/512))
	union := make([]bool, len(mapped))
	var bitmaps []qcow2.Bitmap
	for c, err := range img.BitmapContents(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Unreadable != nil {
			t.Fatal(c.Unreadable)
		}
		bitmaps = append(bitmaps, c.Bitmap)
		dirty := modelSectors(file, c.Bitmap, g.ClusterSize, g.VirtualSize)
		want := qcow2.BitmapContent{Bitmap: c.Bitmap, State: c.State, ExpectedEntries: uint64(c.TableSize), Stored: (uint64(c.TableSize)*8 + g.ClusterSize - 1) &^ (g.ClusterSize - 1)}
		for i := range uint64(c.TableSize) {
			if binary.BigEndian.Uint64(file[c.TableOffset+i*8:]) > 1 {
				want.Stored += g.ClusterSize
			}
		}
		ranges := sectorRanges(dirty)
		want.Ranges = uint64(len(ranges))
		for i, set := range dirty {
			if !set {
				continue
			}
			union[i] = true
			want.Dirty += 512
			switch mapped[i].Kind {
			case qcow2.MappingData, qcow2.MappingCompressed:
				want.Data += 512
			case qcow2.MappingUnallocated:
				want.Unallocated += 512
			default:
				want.Zero += 512
			}
		}
		if diff := cmp.Diff(&want, c); diff != "" {
			t.Errorf("content of %s (-model +BitmapContents):\n%s", c.Name, diff)
		}
		got, err := collect(img.DirtyRanges(t.Context(), c.Bitmap))
		if diff := cmp.Diff(ranges, got); diff != "" || err != nil {
			t.Errorf("ranges of %s: %v (-model +DirtyRanges):\n%s", c.Name, err, diff)
		}
	}
	got, err := collect(img.DirtyRanges(t.Context(), bitmaps...))
	if diff := cmp.Diff(sectorRanges(union), got); diff != "" || err != nil {
		t.Errorf("ranges of all: %v (-model +DirtyRanges):\n%s", err, diff)
	}
	for _, all := range []bool{false, true} {
		var got []qcow2.DirtyMapping
		for d, err := range img.Dirty(t.Context(), qcow2.DirtyOptions{Bitmaps: bitmaps, All: all}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, *d)
		}
		if diff := cmp.Diff(modelDirty(union, mapped, all), got); diff != "" {
			t.Errorf("all %v (-model +Dirty):\n%s", all, diff)
		}
	}
}
