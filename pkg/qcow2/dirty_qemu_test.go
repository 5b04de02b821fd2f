package qcow2_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

var dirtySeed = flag.Uint64("dirty-seed", 0, "seed of TestQEMUDirty; 0: the time of day")

// TestQEMUDirty lets QEMU's tools write to 12 images with bitmaps of any granularity,
// merge, disable and resize them. What DirtyRanges yields is held against what qemu-nbd
// exports, and all that is said of them against the model.
func TestQEMUDirty(t *testing.T) {
	needNBD(t)
	seed := *dirtySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-dirty-seed %d makes these images again", seed)
	for i := range uint64(12) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			h := newDirtyHistory(t, rand.New(rand.NewPCG(seed, i)))
			for range 4 + h.rnd.IntN(8) {
				h.live()
			}
			h.compare()
		})
	}
}

// needNBD skips a test where the tools are missing that tell what QEMU makes of a
// bitmap.
func needNBD(t *testing.T) {
	t.Helper()
	for _, tool := range []string{"qemu-img", "qemu-io", "qemu-nbd", "nbdinfo"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
}

// A dirtyHistory is an image with bitmaps, and what was done to it.
type dirtyHistory struct {
	history
	names    []string
	dataFile bool
}

func newDirtyHistory(t *testing.T, rnd *rand.Rand) *dirtyHistory {
	h := &dirtyHistory{history: history{t: t, rnd: rnd, file: filepath.Join(t.TempDir(), "disk.qcow2")}}
	h.clusterBits = []int{9, 12, 16, 21}[rnd.IntN(4)]
	h.size = 1 + rnd.IntN(1<<min(h.clusterBits+6, 17)) // in sectors
	options := []string{fmt.Sprintf("cluster_size=%d", 1<<h.clusterBits)}
	switch {
	case rnd.IntN(4) == 0:
		h.dataFile = true
		options = append(options, "data_file="+filepath.Join(filepath.Dir(h.file), "data.raw"))
	case h.clusterBits >= 14 && rnd.IntN(2) == 0:
		options = append(options, "extended_l2=on")
	}
	h.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", strings.Join(options, ","), h.file, fmt.Sprint(512*h.size))
	h.addBitmap()
	return h
}

func (h *dirtyHistory) addBitmap() {
	name := fmt.Sprintf("b%d", len(h.names))
	if h.run("qemu-img", "bitmap", "--add", "-g", fmt.Sprint(512<<h.rnd.IntN(9)), h.file, name) {
		h.names = append(h.names, name)
	}
}

// live does one of what is done to images with bitmaps.
func (h *dirtyHistory) live() {
	name := func() string { return h.names[h.rnd.IntN(len(h.names))] }
	switch h.rnd.IntN(12) {
	default:
		h.write()
	case 6, 7:
		h.addBitmap()
	case 8:
		h.run("qemu-img", "bitmap", "--merge", name(), h.file, name())
	case 9:
		h.run("qemu-img", "bitmap", []string{"--disable", "--enable", "--clear"}[h.rnd.IntN(3)], h.file, name())
	case 10, 11:
		if size := 1 + h.rnd.IntN(2*h.size); h.run("qemu-img", "resize", "-q", "--shrink", h.file, fmt.Sprint(512*size)) {
			h.size = size
		}
	}
}

// write changes the disk in up to six places, the last sectors among them.
func (h *dirtyHistory) write() {
	args := []string{"-f", "qcow2"}
	for range 1 + h.rnd.IntN(6) {
		start := h.rnd.IntN(h.size)
		length := 1 + h.rnd.IntN(min(h.size-start, 512))
		if h.rnd.IntN(6) == 0 {
			start, length = h.size-1, 1
		}
		command := []string{"write -q -P 7", "write -q -P 7", "write -q -z", "write -q -z -u", "discard -q"}[h.rnd.IntN(5)]
		if cluster := max(1, 1<<h.clusterBits>>9); h.rnd.IntN(6) == 0 && !h.dataFile && start-start%cluster+cluster <= h.size {
			command, start, length = "write -q -c -P 7", start-start%cluster, cluster
		}
		args = append(args, "-c", fmt.Sprintf("%s %d %d", command, 512*start, 512*length))
	}
	h.run("qemu-io", append(args, h.file)...)
}

// compare holds what the package makes of the bitmaps against qemu-nbd and the model.
func (h *dirtyHistory) compare() {
	t := h.t
	p, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	img := open(t, &qcow2test.Built{Bytes: p})
	compareDirty(t, img, p)
	for _, name := range h.names {
		b, err := img.FindBitmap(name)
		if err != nil {
			t.Error(err)
			continue
		}
		want, refused := nbdRanges(t, h.file, name)
		// QEMU stores no bitmap once it has marked the image as corrupt, which some of its
		// own writes bring about. It refuses those that stayed in use, and no others.
		if inUse := b.Flags&qcow2.BitmapInUse != 0; (refused != nil) != inUse {
			t.Errorf("%s, in use %t: qemu-nbd says %v", name, inUse, refused)
		}
		if refused != nil {
			continue // compareDirty has compared what is stored
		}
		got, err := collect(img.DirtyRanges(t.Context(), b))
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("ranges of %s: %v (-nbdinfo +DirtyRanges):\n%s", name, err, diff)
		}
	}
	if t.Failed() {
		t.Fatalf("the history:\n%s", strings.Join(h.done, "\n"))
	}
}

// nbdRanges returns the dirty ranges of a bitmap that qemu-nbd exports, or what it says
// of a bitmap that it refuses.
func nbdRanges(t *testing.T, file, bitmap string) ([]qcow2.GuestRange, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "nbdinfo", "--map=qemu:dirty-bitmap:"+bitmap, "--json", "--",
		"[", "qemu-nbd", "-r", "-f", "qcow2", "-B", bitmap, file, "]").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("nbdinfo: %w: %s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	var extents []struct {
		Offset, Length uint64
		Type           int
	}
	if err := json.Unmarshal(out, &extents); err != nil {
		t.Fatal(err)
	}
	var dirty []qcow2.GuestRange
	for _, e := range extents {
		if e.Type == 0 {
			continue
		}
		if n := len(dirty); n > 0 && dirty[n-1].Start+dirty[n-1].Length == e.Offset {
			dirty[n-1].Length += e.Length
			continue
		}
		dirty = append(dirty, qcow2.GuestRange{Start: e.Offset, Length: e.Length})
	}
	return dirty, nil
}
