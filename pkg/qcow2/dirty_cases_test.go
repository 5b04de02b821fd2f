package qcow2_test

import (
	"fmt"
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
