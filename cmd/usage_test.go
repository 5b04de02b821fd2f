package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// leaky returns an image that has something of each kind to be given back: the
// snapshot has data of its own, the last cluster before the tail leaks, and one
// before it is free.
func leaky() *qcow2test.Built {
	b := qcow2test.Image{
		ClusterBits: 12, Size: 1 << 20,
		Clusters:  map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.ZeroAllocated},
		Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "s 1", Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}},
	}.Build()
	used := uint64(len(b.Bytes)+4095) / 4096
	b.Bytes = append(b.Bytes, make([]byte, int(used+4)*4096-len(b.Bytes))...)
	b.Bytes[b.Get("refcount_table[0]")+2*(used+1)+1] = 1 // a refcount of 16 bits
	return b
}

// howOf returns what the table of usage says how to give a kind back.
func howOf(stdout, kind string) string {
	line := regexp.MustCompile(`(?m)^│ ` + kind + ` .*│ (.*?) *│$`).FindStringSubmatch(stdout[strings.Index(stdout, "What can be given back"):])
	if line == nil {
		return "no row"
	}
	return line[1]
}

// TestUsageAdvice: what there is to type depends on whether the image may be
// written to, and on what it lies in.
func TestUsageAdvice(t *testing.T) {
	kinds := []string{"free", "tail", "zero-allocated", "leaked", "snapshots"}
	const discard = "let the guest discard what it does not use: fstrim -av, on a disk with discard=unmap"
	punch := " -o OFFSET -l LENGTH memory, with the ranges of: qinspect host --kind free memory"
	stop := "stop the VM first"
	for name, test := range map[string]struct {
		file memoryFile
		want []string
		note string // on standard error
	}{
		"file": {file: memoryFile{}, want: []string{
			"punch holes: fallocate -p" + punch, "cut the file: truncate -s %d memory", discard, "repair: qemu-img check -r leaks memory",
			"delete the snapshot: qemu-img snapshot -d 's 1' memory",
		}},
		"device": {file: memoryFile{device: true, elsewhere: unknownElsewhere}, want: []string{
			"discard: blkdiscard" + punch, "no row", discard, "repair: qemu-img check -r leaks memory",
			"delete the snapshot: qemu-img snapshot -d 's 1' memory",
		}, note: "whether another program has the device open is not known"},
		"running": {file: memoryFile{changed: true}, want: []string{stop, stop, stop, stop, stop}, note: "changed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := test.file
			f.built = leaky()
			stdout, stderr, code := f.run(t, "usage", "--without", "1", "memory")
			if code != 0 || (stderr == "") != (test.note == "") || !strings.Contains(stderr, test.note) {
				t.Fatalf("exit status %d, standard error %q", code, stderr)
			}
			for i, kind := range kinds {
				want := strings.Replace(test.want[i], "%d", regexp.MustCompile(`Image end offset +│ .*?\((\d+) bytes`).FindStringSubmatch(stdout)[1], 1)
				if got := howOf(stdout, kind); got != want {
					t.Errorf("%s: %q, want %q", kind, got, want)
				}
			}
			if want := test.want[4]; !strings.Contains(stdout, "│ s 1  │ "+strings.TrimPrefix(want, "delete the snapshot: ")) {
				t.Errorf("no row of the snapshot says %q in\n%s", want, stdout)
			}
		})
	}
}

// TestUsageUnknownHoles: where holes are not known, nothing is said of them.
func TestUsageUnknownHoles(t *testing.T) {
	var u struct {
		Holes *struct{}
		Kinds []struct {
			OnDisk *uint64 `json:"on-disk"`
		}
		Reclaim []struct {
			Kind   string
			Bytes  uint64
			OnDisk *uint64 `json:"on-disk"`
		}
	}
	f := memoryFile{built: leaky(), allocated: 1 << 20}
	if _, code := f.decode(t, &u, "usage", "memory"); code != 0 || u.Holes != nil || len(u.Reclaim) != 5 {
		t.Errorf("exit status %d, holes %v, %d kinds to be given back", code, u.Holes, len(u.Reclaim))
	}
	for _, k := range u.Kinds {
		if k.OnDisk != nil {
			t.Errorf("%d bytes are on disk", *k.OnDisk)
		}
	}
	for _, r := range u.Reclaim {
		if r.OnDisk != nil || r.Bytes == 0 {
			t.Errorf("%+v", r)
		}
	}
}

// TestUsageHoles has a file with a hole of 1 MiB in its data, and a tail that is
// one.
func TestUsageHoles(t *testing.T) {
	image := qcow2test.Image{Size: 32 << 16, Clusters: map[uint64]qcow2test.Kind{}}
	for i := range uint64(32) {
		image.Clusters[i] = qcow2test.Data
	}
	b := image.Build()
	size := (uint64(len(b.Bytes)) + 65535) &^ 65535
	b.Bytes = append(b.Bytes, make([]byte, size-uint64(len(b.Bytes)))...)
	hole := b.Get("l2[0][8]") &^ (1 << 63)
	name := filepath.Join(t.TempDir(), "holes.qcow2")
	if err := writePieces(name, b.Bytes, int64(hole), int64(hole+1<<20), int64(size+3<<16)); err != nil {
		t.Fatal(err)
	}
	var u struct {
		Holes   *struct{ Mapped, Metadata, Free, Unwritten uint64 }
		Reclaim []struct {
			Kind   string
			Bytes  uint64
			OnDisk uint64 `json:"on-disk"`
		}
		Remark string
	}
	var stdout, stderr bytes.Buffer
	code := cmd.Execute(t.Context(), cmd.Process{Args: []string{"usage", "-o", "json", name}, Stdout: &stdout, Stderr: &stderr})
	if err := json.Unmarshal(stdout.Bytes(), &u); err != nil || code != 0 {
		t.Fatalf("exit status %d, %v, %s", code, err, stderr.Bytes())
	}
	if u.Holes == nil {
		t.Skip("this file system does not tell where holes are")
	}
	h := *u.Holes
	if h.Mapped != 1<<20 || h.Metadata != 0 || h.Free != 3<<16 || h.Unwritten > 64<<10 {
		t.Errorf("holes %+v", h)
	}
	if tail := u.Reclaim[1]; tail.Kind != "tail" || tail.Bytes != 3<<16 || tail.OnDisk != 0 {
		t.Errorf("%+v", tail)
	}
	if want := fmt.Sprintf("preallocated, not written: %.1f %% of the file is holes", 100*float64(1<<20+3<<16)/float64(size+3<<16)); u.Remark != want {
		t.Errorf("remark %q, want %q", u.Remark, want)
	}
}

// writePieces writes a file of size bytes with a hole from one offset up to
// another, and after its bytes.
func writePieces(name string, p []byte, from, to, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err1 := f.WriteAt(p[:from], 0)
	_, err2 := f.WriteAt(p[to:], to)
	return errors.Join(err1, err2, f.Truncate(size), f.Sync(), f.Close())
}

// TestUsageRemark has each sentence where it is true.
func TestUsageRemark(t *testing.T) {
	const c = 4096
	clusters := func(n uint64, k qcow2test.Kind) map[uint64]qcow2test.Kind {
		m := map[uint64]qcow2test.Kind{}
		for i := range n {
			m[i] = k
		}
		return m
	}
	image := func(im qcow2test.Image) *qcow2test.Built {
		im.ClusterBits, im.Size = 12, 1<<20
		b := im.Build()
		b.Bytes = append(b.Bytes, make([]byte, (c-len(b.Bytes)%c)%c)...)
		return b
	}
	grown := func(b *qcow2test.Built, clusters int) *qcow2test.Built {
		b.Bytes = append(b.Bytes, make([]byte, clusters*c)...)
		return b
	}
	full := qcow2test.Image{Clusters: clusters(64, qcow2test.Data)}
	shared := full
	shared.Snapshots = []qcow2test.Snapshot{{ID: "1", Clusters: clusters(32, qcow2test.Data)}}
	leaked := grown(image(full), 16)
	for i := range 16 {
		leaked.Bytes[leaked.Get("refcount_table[0]")+2*uint64(len(leaked.Bytes)/c-16+i)+1] = 1
	}
	for name, test := range map[string]struct {
		built *qcow2test.Built
		want  string
	}{
		"nothing":   {image(full), ""},
		"little":    {grown(image(full), 2), ""},
		"tail":      {grown(image(full), 1000), "3.91 MiB are free; a copy would have 576 KiB at most"},
		"no copy":   {grown(image(full), 20), "80 KiB are free: they are used again before the file grows"},
		"snapshots": {image(shared), "136 KiB are held by snapshots alone: deleting all of them frees that for reuse"},
		"both": {grown(image(shared), 100), "136 KiB are held by snapshots alone: deleting all of them frees that for reuse. " +
			"400 KiB are free: they are used again before the file grows"},
		"leaked": {leaked, "64 KiB are leaked: nothing refers to them, and nothing uses them again before a repair"},
		"zeros":  {image(qcow2test.Image{Clusters: clusters(64, qcow2test.ZeroAllocated)}), "256 KiB of clusters read as zeros and keep their place: a discard gives it back"},
	} {
		t.Run(name, func(t *testing.T) {
			var u struct{ Remark string }
			f := memoryFile{built: test.built}
			if _, code := f.decode(t, &u, "usage", "memory"); code != 0 || u.Remark != test.want {
				t.Errorf("exit status %d, %q, want %q", code, u.Remark, test.want)
			}
		})
	}
}
