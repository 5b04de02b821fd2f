package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// said is a short form of what BitmapContents says of each bitmap, and of the errors
// between them.
func said(t *testing.T, img *qcow2.Image) []string {
	t.Helper()
	var all []string
	for c, err := range img.BitmapContents(t.Context()) {
		switch {
		case err != nil:
			all = append(all, err.Error())
		case c.Unreadable != nil:
			all = append(all, fmt.Sprintf("%s %s: %s", c.Name, c.State, c.Reason()))
		default:
			all = append(all, fmt.Sprintf("%s %s: dirty %d in %d, data %d, zero %d, unallocated %d, unknown %d, stored %d",
				c.Name, c.State, c.Dirty, c.Ranges, c.Data, c.Zero, c.Unallocated, c.Unknown, c.Stored))
		}
	}
	return all
}

// dirtyText returns the ranges that are dirty in any of the named bitmaps, and errors.
func dirtyText(t *testing.T, img *qcow2.Image, names ...string) string {
	t.Helper()
	var bitmaps []qcow2.Bitmap
	for _, name := range names {
		b, err := img.FindBitmap(name)
		if err != nil {
			t.Fatal(err)
		}
		bitmaps = append(bitmaps, b)
	}
	var all []string
	for r, err := range img.DirtyRanges(t.Context(), bitmaps...) {
		if err != nil {
			all = append(all, err.Error())
			continue
		}
		all = append(all, fmt.Sprintf("%d+%d", r.Start, r.Length))
	}
	return strings.Join(all, " ")
}

// qemuImage makes an image with qemu-img and qemu-io, and returns its bytes. IMAGE in a
// command is its name.
func qemuImage(t *testing.T, commands ...string) *qcow2test.Built {
	t.Helper()
	needQEMU(t)
	file := filepath.Join(t.TempDir(), "disk.qcow2")
	for _, command := range commands {
		c := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(command, "IMAGE", file))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return &qcow2test.Built{Bytes: p}
}

// TestDirtyCases has images that QEMU made, and what nbdinfo says of them.
func TestDirtyCases(t *testing.T) {
	const small = "qemu-img create -q -f qcow2 -o cluster_size=4k IMAGE 1000448; qemu-img bitmap --add -g 4096 IMAGE a; qemu-img bitmap --add -g 512 IMAGE b; " +
		"qemu-io -c 'write 0 512' -c 'write 8192 4096' -c 'write 999936 512' -c 'discard 65536 65536' -c 'write -z 200704 4096' -c 'write -c 300k 64k' IMAGE"
	for name, test := range map[string]struct {
		commands []string
		said     []string
		dirty    map[string]string
	}{
		"every write": {
			[]string{small},
			[]string{
				"a recording: dirty 144384 in 6, data 74752, zero 4096, unallocated 65536, unknown 0, stored 8192",
				"b recording: dirty 140288 in 6, data 70656, zero 4096, unallocated 65536, unknown 0, stored 8192",
			},
			map[string]string{
				"a": "0+4096 8192+4096 65536+65536 200704+4096 307200+65536 999424+1024",
				"b": "0+512 8192+4096 65536+65536 200704+4096 307200+65536 999936+512",
			},
		},
		"one far away": {
			[]string{"qemu-img create -q -f qcow2 -o cluster_size=4k IMAGE 300M; qemu-img bitmap --add -g 4k IMAGE a; qemu-io -c 'write 200M 4k' IMAGE"},
			[]string{"a recording: dirty 4096 in 1, data 4096, zero 0, unallocated 0, unknown 0, stored 8192"},
			map[string]string{"a": "209715200+4096"},
		},
		"every kind": {
			[]string{
				"qemu-img create -q -f qcow2 IMAGE 64M; qemu-io -c 'write -q 0 16M' IMAGE; qemu-img bitmap --add IMAGE chk",
				"qemu-io -d unmap -c 'write 1M 64k' -c 'write -z 2M 1M' -c 'write -z -u 4M 1M' -c 'discard 6M 1M' -c 'discard 32M 8M' -c 'write 48M 100k' IMAGE",
			},
			[]string{"chk recording: dirty 11730944 in 6, data 196608, zero 3145728, unallocated 8388608, unknown 0, stored 131072"},
			map[string]string{"chk": "1048576+65536 2097152+1048576 4194304+1048576 6291456+1048576 33554432+8388608 50331648+131072"},
		},
		"resized": {
			[]string{"qemu-img create -q -f qcow2 -o cluster_size=4k IMAGE 1000448; qemu-img bitmap --add -g 4096 IMAGE a; qemu-io -c 'write 999936 512' IMAGE; qemu-img resize -q IMAGE 200M"},
			[]string{"a recording: dirty 4096 in 1, data 4096, zero 0, unallocated 0, unknown 0, stored 8192"},
			map[string]string{"a": "999424+4096"},
		},
		"merged": {
			[]string{"qemu-img create -q -f qcow2 IMAGE 1M; qemu-img bitmap --add -g 4k IMAGE a; qemu-img bitmap --add -g 64k IMAGE b; qemu-io -c 'write 4096 1' IMAGE; qemu-img bitmap --clear IMAGE b; qemu-img bitmap --merge a IMAGE b; qemu-img bitmap --disable IMAGE a"},
			[]string{
				"a disabled: dirty 4096 in 1, data 4096, zero 0, unallocated 0, unknown 0, stored 131072",
				"b recording: dirty 65536 in 1, data 65536, zero 0, unallocated 0, unknown 0, stored 131072",
			},
			map[string]string{"a": "4096+4096", "b": "0+65536"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			img := open(t, qemuImage(t, test.commands...))
			got := map[string]string{}
			for name := range test.dirty {
				got[name] = dirtyText(t, img, name)
			}
			if diff := cmp.Diff(test.dirty, got); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.said, said(t, img)); diff != "" {
				t.Errorf("contents (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDirtyPatched changes one thing in an image of two bitmaps, a of granules of 4096
// bytes and b of 65536: what is wrong with one hides nothing of the other.
func TestDirtyPatched(t *testing.T) {
	const size, c = 1000448, 4096
	const healthy = "b disabled: dirty 65536 in 1, data 0, zero 0, unallocated 65536, unknown 0, stored 8192"
	base := qcow2test.Image{ClusterBits: 12, Size: size, Bitmaps: []qcow2test.Bitmap{
		{Name: "a", GranularityBits: 12, Flags: 2, Table: []uint64{0}, Data: map[int][]byte{0: {0x05}}},
		{Name: "b", GranularityBits: 16, Table: []uint64{0}, Data: map[int][]byte{0: {0x02}}},
	}}
	for name, test := range map[string]struct {
		change func(*qcow2test.Built)
		a      string // what is said of it; empty: the first is "a damaged: ", and dirty
		b      string // empty: healthy
		dirty  string // the ranges of the first
	}{
		"healthy": {func(*qcow2test.Built) {}, "a recording: dirty 8192 in 2, data 0, zero 0, unallocated 8192, unknown 0, stored 8192", "", "0+4096 8192+4096"},
		"all ones": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table[0]", 1) },
			"a recording: dirty 1000448 in 1, data 0, zero 0, unallocated 1000448, unknown 0, stored 4096", "", "0+1000448",
		},
		"tail bits": {
			func(b *qcow2test.Built) {
				for bit := 240; bit <= 303; bit++ {
					b.Bytes[b.Get("bitmap[0].table[0]")+uint64(bit/8)] |= 1 << (bit % 8)
				}
			},
			"a recording: dirty 25600 in 3, data 0, zero 0, unallocated 25600, unknown 0, stored 8192", "", "0+4096 8192+4096 983040+17408",
		},
		"bit 0 and an offset": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table[0]", b.Get("bitmap[0].table[0]")|1) }, "", "",
			"bitmap table at offset 0x1000: the entry 0x2001 has reserved bits",
		},
		"entry 3": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table[0]", 3) }, "", "",
			"bitmap table at offset 0x1000: the entry 0x3 has reserved bits",
		},
		"past the end": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table[0]", 1<<30) }, "", "",
			"bitmap table at offset 0x1000: the entry points to 0x40000000, but the file ends at 0x9000",
		},
		"one entry too many": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table_size", 2) }, "", "",
			"bitmap directory at offset 0x5008: the bitmap table has 2 entries, but a disk of 1000448 bytes at this granularity needs 1",
		},
		"a shared cluster of data": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table[0]", b.Get("bitmap[1].table[0]")) }, "",
			"b damaged: bitmap table at offset 0x3000: the entry points to 0x4000, as another entry does",
			"bitmap table at offset 0x1000: the entry points to 0x4000, as another entry does",
		},
		"a shared table": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table_offset", b.Get("bitmap[1].table_offset")) }, "",
			"b damaged: bitmap directory at offset 0x5020: the bitmap table at 0x3000 lies in the table of another bitmap",
			"bitmap directory at offset 0x5000: the bitmap table at 0x3000 lies in the table of another bitmap",
		},
		"data in a table": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].table[0]", b.Get("bitmap[1].table_offset")) }, "", "",
			"bitmap table at offset 0x1000: the entry points to 0x3000, where a bitmap table lies",
		},
		"in use": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].flags", 3) },
			"a in-use: dirty 8192 in 2, data 0, zero 0, unallocated 8192, unknown 0, stored 8192", "", "0+4096 8192+4096",
		},
		"in use, table of another size": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].flags", 3).Set("bitmap[0].table_size", 2) },
			"a in-use: dirty 8192 in 2, data 0, zero 0, unallocated 8192, unknown 0, stored 8192", "", "0+4096 8192+4096",
		},
		"stale": {
			func(b *qcow2test.Built) { b.Set("autoclear_features", 0) },
			"a stale: dirty 8192 in 2, data 0, zero 0, unallocated 8192, unknown 0, stored 8192",
			strings.Replace(healthy, "disabled", "stale", 1), "0+4096 8192+4096",
		},
		"stale, entry past the end": {
			func(b *qcow2test.Built) { b.Set("autoclear_features", 0).Set("bitmap[0].table[0]", 1<<30) },
			"a stale: " + qcow2.StateStale.Reason() + "; bitmap table at offset 0x1000: the entry points to 0x40000000, but the file ends at 0x9000",
			strings.Replace(healthy, "disabled", "stale", 1),
			"bitmap table at offset 0x1000: the entry points to 0x40000000, but the file ends at 0x9000",
		},
		"type": {
			func(b *qcow2test.Built) { b.Set("bitmap[0].type", 2) }, "", "",
			"bitmap directory at offset 0x5010: the type 2 is not 1 (dirty tracking)",
		},
		"no L1 table": {
			func(b *qcow2test.Built) { b.Set("l1_table_offset", 0) },
			"a recording: dirty 8192 in 2, data 0, zero 0, unallocated 0, unknown 8192, stored 8192",
			strings.Replace(healthy, "unallocated 65536, unknown 0", "unallocated 0, unknown 65536", 1), "0+4096 8192+4096",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := base.Build()
			test.change(b)
			img := open(t, b)
			if got := dirtyText(t, img, "@0"); got != test.dirty {
				t.Errorf("ranges %q, want %q", got, test.dirty)
			}
			want := []string{test.a, test.b}
			if test.a == "" {
				want[0] = "a damaged: " + test.dirty
			}
			if test.b == "" {
				want[1] = healthy
			}
			got := said(t, img)
			if name == "no L1 table" {
				if len(got) != 3 || !strings.HasPrefix(got[0], "header at offset 0x28: ") {
					t.Fatalf("%q, want an error and two bitmaps", got)
				}
				got = got[1:]
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("contents (-want +got):\n%s", diff)
			}
		})
	}
}

// TestDirtyUnknown: what is not known to be dirty is not clean either, unless another
// bitmap says that it is dirty.
func TestDirtyUnknown(t *testing.T) {
	const e = "the entry points to 0x10000000000"
	im := qcow2test.Image{ClusterBits: 9, Size: 6 << 20, Bitmaps: []qcow2test.Bitmap{
		{Name: "a", GranularityBits: 9, Flags: 2, Table: []uint64{0, 0, 0}, Data: map[int][]byte{0: {1}, 2: {1}}},
		{Name: "b", GranularityBits: 12, Flags: 2, Table: []uint64{0}, Data: map[int][]byte{0: append(make([]byte, 96), 1)}},
	}}
	b := im.Build()
	b.Set("bitmap[0].table[1]", 1<<40)
	record := im.Build()
	record.Set("bitmap[0].granularity_bits", 40)
	const r = "the bitmap table has 3 entries"
	for _, test := range []struct {
		file    *qcow2test.Built
		bitmaps []string
		want    string
	}{
		{b, []string{"a"}, "0+512 dirty, " + e + ", 512+2096640 clean, 4194304+512 dirty, 4194816+2096640 clean"},
		{b, []string{"a", "b"}, "0+512 dirty, " + e + ", 512+2096640 clean, 3145728+4096 dirty, 4194304+512 dirty, 4194816+2096640 clean"},
		{b, []string{"b"}, "0+3145728 clean, 3145728+4096 dirty, 3149824+3141632 clean"},
		{record, []string{"a"}, r},
		{record, []string{"b", "a"}, r + ", 3145728+4096 dirty"},
	} {
		img := open(t, test.file)
		o := qcow2.DirtyOptions{All: true}
		for _, name := range test.bitmaps {
			bitmap, err := img.FindBitmap(name)
			if err != nil {
				t.Fatal(err)
			}
			o.Bitmaps = append(o.Bitmaps, bitmap)
		}
		var rows []string
		for d, err := range img.Dirty(t.Context(), o) {
			switch {
			case err != nil && strings.Contains(err.Error(), e):
				rows = append(rows, e)
			case err != nil && strings.Contains(err.Error(), r):
				rows = append(rows, r)
			case err != nil:
				t.Error(err)
			case d.Dirty:
				rows = append(rows, fmt.Sprintf("%d+%d dirty", d.Start, d.Length))
			default:
				rows = append(rows, fmt.Sprintf("%d+%d clean", d.Start, d.Length))
			}
		}
		if got := strings.Join(rows, ", "); got != test.want {
			t.Errorf("%v:\n %s, want\n %s", test.bitmaps, got, test.want)
		}
	}
}

// TestDirtyCut: a file that ends inside a table or its data hides the bits that are
// missing, and no others.
func TestDirtyCut(t *testing.T) {
	const c = 512
	// Each entry of a table stands for 4096 bits of 512 bytes: 2 MiB.
	b := qcow2test.Image{ClusterBits: 9, Size: 130 << 21, Bitmaps: []qcow2test.Bitmap{{
		Name: "a", GranularityBits: 9, Table: make([]uint64, 130), Data: map[int][]byte{1: {1: 0xff}, 129: {511: 0x80}},
	}}}.Build()
	table := b.Get("bitmap[0].table_offset")
	b.Set("bitmap[0].table[0]", 1)
	// The directory comes after the table and the data; it goes before the cut.
	for _, test := range []struct {
		move string // what begins at the cut
		at   uint64
		want string
	}{
		{"bitmap[0].table[129]", 0, "0+2097152 2101248+4096 bitmap table at offset 0x%x: the entry points to 0x%x, but the file ends at 0x%[2]x"},
		{"bitmap[0].table[129]", 8, "0+2097152 2101248+4096 bitmap data at offset 0x%[3]x: 504 bytes are missing: the file ends at 0x%[3]x"},
	} {
		end := uint64(len(b.Bytes))
		entry := b.Field(test.move).Offset
		data := end
		p := &qcow2test.Built{Bytes: append(append([]byte{}, b.Bytes...), make([]byte, test.at)...), Fields: b.Fields}
		p.Set(test.move, data)
		want := fmt.Sprintf(test.want, entry, data, data+test.at)
		want, _, _ = strings.Cut(want, "%!(EXTRA")
		if got := dirtyText(t, open(t, p), "a"); got != want {
			t.Errorf("cut at %d: %q, want %q", test.at, got, want)
		}
	}
	// A table at the end of the file, of which the last entries are missing.
	p := &qcow2test.Built{Bytes: append([]byte{}, b.Bytes...), Fields: b.Fields}
	at := uint64(len(p.Bytes))
	p.Bytes = append(p.Bytes, p.Bytes[table:table+128*8]...)
	p.Set("bitmap[0].table_offset", at)
	want := fmt.Sprintf("0+2097152 2101248+4096 bitmap table at offset 0x%x: 128 of 130 entries, but the file ends at 0x%[1]x", len(p.Bytes))
	if got := dirtyText(t, open(t, p), "a"); got != want || at%c != 0 {
		t.Errorf("a cut table: %q, want %q", got, want)
	}
}

// TestFindBitmap has names that select one bitmap, none or several.
func TestFindBitmap(t *testing.T) {
	three := qcow2test.Image{Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{{Name: "a"}, {Name: "@0"}, {Name: "a"}}}
	for _, test := range []struct {
		image qcow2test.Image
		name  string
		index int // -1: an error
		words string
	}{
		{three, "@0", 1, ""},
		{three, "@2", 2, ""},
		{three, "a", -1, `several bitmaps match "a": @0 (name "a"), @2 (name "a")`},
		{three, "b", -1, `no bitmap "b"; there are @0 (name "a"), @1 (name "@0"), @2 (name "a")`},
		{three, "@3", -1, `no bitmap "@3"; there are @0`},
		{qcow2test.Image{Size: 1 << 20}, "a", -1, `no bitmap "a": the image has none`},
		{qcow2test.Image{Size: 1 << 20, Version: 2}, "a", -1, `no bitmap "a": an image of version 2 cannot have any`},
	} {
		b, err := open(t, test.image.Build()).FindBitmap(test.name)
		switch {
		case test.index >= 0 && (err != nil || b.Index != test.index):
			t.Errorf("%s: bitmap %d, %v; want %d", test.name, b.Index, err, test.index)
		case test.index < 0 && (err == nil || !strings.HasPrefix(err.Error(), test.words)):
			t.Errorf("%s: %v, want %q", test.name, err, test.words)
		}
	}
	broken := twoBitmaps().Build()
	broken.Set("extension[0].data[0]", 3<<32)
	if _, err := open(t, broken).FindBitmap("c"); asError(t, err).Section != qcow2.SectionBitmapDirectory {
		t.Errorf("a broken directory: %v", err)
	}
}

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

// TestDirtyHoles: entries and data in holes of a file are clean, and not read.
func TestDirtyHoles(t *testing.T) {
	const entries = 1 << 10
	b := qcow2test.Image{ClusterBits: 9, Size: entries << 21, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 9}}}.Build()
	b.Set("bitmap[0].table_offset", 1<<30).Set("bitmap[0].table_size", entries)
	img, err := qcow2.OpenFile(sparseFile(t, b, 1<<31))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	want := []string{fmt.Sprintf("a disabled: dirty 0 in 0, data 0, zero 0, unallocated 0, unknown 0, stored %d", entries*8)}
	if diff := cmp.Diff(want, said(t, img.Image)); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}

// TestDirtyUnreadable: a bad sector hides the bits in it, and no others.
func TestDirtyUnreadable(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 16, Size: 1 << 30, Bitmaps: []qcow2test.Bitmap{{
		Name: "a", GranularityBits: 9, Table: make([]uint64, 4), Data: map[int][]byte{0: {0xff, 4095: 0xff, 4096: 0xff}, 3: {0xff}},
	}}}.Build()
	at := b.Get("bitmap[0].table[0]")
	img := openBroken(t, b, at+1)
	want := fmt.Sprintf("bitmap data at offset 0x%x: reading 4096 bytes: bad sector 16777216+4096 805306368+4096", at)
	if got := dirtyText(t, img, "a"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	table := b.Get("bitmap[0].table_offset")
	if got, want := dirtyText(t, openBroken(t, b, table), "a"), fmt.Sprintf("bitmap table at offset 0x%x: reading 32 bytes: bad sector", table); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestDirtyUnmapped: where a table of the mapping cannot be read, what is dirty is
// still said.
func TestDirtyUnmapped(t *testing.T) {
	im := qcow2test.Image{ClusterBits: 9, Size: 3 << 15, Clusters: kinds{0: data, 64: data, 128: data}, Bitmaps: []qcow2test.Bitmap{{Name: "a", GranularityBits: 10, Data: map[int][]byte{0: {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f}}}}}
	im.Bitmaps[0].Table = []uint64{0}
	b := im.Build()
	b.Set("l1[1]", 1<<40)
	img := open(t, b)
	a, err := img.FindBitmap("a")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for d, err := range img.Dirty(t.Context(), qcow2.DirtyOptions{Bitmaps: []qcow2.Bitmap{a}}) {
		if err != nil {
			rows = append(rows, "error of the "+string(asError(t, err).Section))
			continue
		}
		rows = append(rows, fmt.Sprintf("%d+%d known %v %s", d.Start, d.Length, d.Known, d.Kind))
	}
	want := []string{"0+512 known true data", "512+32256 known true unallocated", "error of the L1 table", "32768+28672 known false unallocated"}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := said(t, img)[1]; got != "a disabled: dirty 61440 in 1, data 512, zero 0, unallocated 32256, unknown 28672, stored 1024" {
		t.Errorf("%q", got)
	}
	binary.BigEndian.PutUint64(b.Bytes[88:], 0) // stale: the same numbers
	if got := said(t, open(t, b))[1]; !strings.HasPrefix(got, "a stale: dirty 61440 in 1") {
		t.Errorf("%q", got)
	}
}

// A badSector fails to read a range that holds its offset, and counts how often.
type badSector struct {
	io.ReaderAt
	at    int64
	tries *int
}

func (r badSector) ReadAt(p []byte, off int64) (int, error) {
	if off <= r.at && r.at < off+int64(len(p)) {
		*r.tries++
		return 0, errors.New("bad sector")
	}
	return r.ReaderAt.ReadAt(p, off)
}

// TestDirtyBadSector: an L2 table that cannot be read is not read again for each of
// the ranges that it maps.
func TestDirtyBadSector(t *testing.T) {
	for _, bits := range []uint{12, 16} {
		b := qcow2test.Image{ClusterBits: bits, Size: 2 << 20, Clusters: kinds{0: data}, Bitmaps: []qcow2test.Bitmap{
			{Name: "a", GranularityBits: 9, Flags: 2, Table: []uint64{0}, Data: map[int][]byte{0: bytes.Repeat([]byte{0x55}, 512)}},
		}}.Build()
		tries := 0
		img, err := qcow2.Open(badSector{b.Reader(), int64(b.Get("l1[0]") &^ (1 << 63)), &tries}, int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		all := said(t, img)
		want := "a recording: dirty 1048576 in 2048, data 0, zero 0, unallocated 0, unknown 1048576, stored "
		if len(all) != 2 || !strings.Contains(all[0], "bad sector") || !strings.HasPrefix(all[1], want) || tries > 4 {
			t.Errorf("clusters of %d bytes: %q after %d bad reads", 1<<bits, all, tries)
		}
	}
}
