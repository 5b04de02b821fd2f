package qcow2_test

import (
	"encoding/json"
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

var historySeed = flag.Uint64("history-seed", 0, "seed of TestQEMUHistories; 0: the time of day")

// TestQEMUHistories lets QEMU's tools live with 20 images: write, discard, take
// snapshots and go back to them, resize. Guest, Diff, Host, Check and Usage are held
// against the models, Check against qemu-img check, and Diff against what qemu-img
// reads.
func TestQEMUHistories(t *testing.T) {
	needQEMU(t)
	seed := *historySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-history-seed %d makes these histories again", seed)
	for i := range uint64(20) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, rand.New(rand.NewPCG(seed, i)))
			for range 3 {
				h.live()
				h.compare()
			}
		})
	}
}

// A history is an image and what was done to it.
type history struct {
	t        *testing.T
	rnd      *rand.Rand
	file     string
	size     int // of the disk, in KiB
	version3 bool
	// clusterBits is that of the header.
	clusterBits int
	snapshots   []string
	bitmaps     int
	done        []string // commands, for a test that fails
}

// newHistory makes an image with any options.
func newHistory(t *testing.T, rnd *rand.Rand) *history {
	h := &history{t: t, rnd: rnd, file: filepath.Join(t.TempDir(), "disk.qcow2"), size: 64 * (1 + rnd.IntN(64))}
	h.version3 = rnd.IntN(5) > 0
	h.clusterBits = 9 + rnd.IntN(9)
	options := []string{"compat=0.10", fmt.Sprintf("cluster_size=%d", 1<<h.clusterBits)}
	if h.version3 {
		options[0] = "compat=1.1"
		options = append(options, fmt.Sprintf("refcount_bits=%d", 1<<rnd.IntN(7)))
		if h.clusterBits >= 14 && rnd.IntN(2) == 0 {
			options = append(options, "extended_l2=on")
		}
		if rnd.IntN(4) == 0 {
			options = append(options, "lazy_refcounts=on")
		}
		if rnd.IntN(4) == 0 {
			options = append(options, "compression_type=zstd")
		}
	}
	if rnd.IntN(4) == 0 {
		options = append(options, "preallocation=metadata")
	}
	h.run("qemu-img", "create", "-q", "-f", "qcow2", "-o", strings.Join(options, ","), h.file, fmt.Sprintf("%dK", h.size))
	return h
}

// run runs a tool. What it may refuse, as snapshots of refcounts of one bit, is no
// part of the history.
func (h *history) run(tool string, args ...string) bool {
	h.t.Helper()
	h.done = append(h.done, tool+" "+strings.Join(args, " "))
	out, err := exec.CommandContext(h.t.Context(), tool, args...).CombinedOutput()
	if err != nil {
		h.done = append(h.done, "  refused: "+strings.TrimSpace(string(out)))
	}
	return err == nil
}

// live does some of what is done to images.
func (h *history) live() {
	for range 1 + h.rnd.IntN(8) {
		switch h.rnd.IntN(10) {
		default:
			h.write()
		case 6:
			if name := fmt.Sprintf("s%d", len(h.done)); h.run("qemu-img", "snapshot", "-c", name, h.file) {
				h.snapshots = append(h.snapshots, name)
			}
		case 7:
			h.leaveSnapshot()
		case 8:
			if size := h.size + 64*h.rnd.IntN(32); h.run("qemu-img", "resize", "-q", h.file, fmt.Sprintf("%dK", size)) {
				h.size = size
			}
		case 9:
			if name := fmt.Sprintf("b%d", h.bitmaps); h.version3 && h.run("qemu-img", "bitmap", "--add", "-g", "64k", h.file, name) {
				h.bitmaps++
			}
		}
	}
}

// leaveSnapshot goes back to a snapshot, or deletes it.
func (h *history) leaveSnapshot() {
	if len(h.snapshots) == 0 {
		return
	}
	i := h.rnd.IntN(len(h.snapshots))
	if h.rnd.IntN(2) == 0 {
		h.run("qemu-img", "snapshot", "-a", h.snapshots[i], h.file)
		return
	}
	if h.run("qemu-img", "snapshot", "-d", h.snapshots[i], h.file) {
		h.snapshots = append(h.snapshots[:i], h.snapshots[i+1:]...)
	}
}

// write changes the content of the disk, and VM state behind it.
func (h *history) write() {
	var commands []string
	for range 1 + h.rnd.IntN(6) {
		start := h.rnd.IntN(h.size)
		length := 1 + h.rnd.IntN(min(h.size-start, 256))
		switch h.rnd.IntN(7) {
		default:
			commands = append(commands, "-c", fmt.Sprintf("write -q -P %d %dk %dk", h.rnd.IntN(256), start, length))
		case 3:
			commands = append(commands, "-c", fmt.Sprintf("write -q -z %dk %dk", start, length))
		case 4:
			commands = append(commands, "-c", fmt.Sprintf("discard -q %dk %dk", start, length))
		case 5: // VM state
			commands = append(commands, "-c", fmt.Sprintf("write -q -b -P %d %dk 32k", h.rnd.IntN(256), 32*h.rnd.IntN(8)))
		case 6:
			cluster := 1 << max(h.clusterBits-10, 0) // KiB, which compressed writes have whole
			if start -= start % cluster; start+cluster <= h.size {
				commands = append(commands, "-c", fmt.Sprintf("write -q -c -P %d %dk %dk", h.rnd.IntN(256), start, cluster))
			}
		}
	}
	h.run("qemu-io", append(append([]string{"-f", "qcow2"}, commands...), h.file)...)
}

// compare holds what the package makes of the image against the models, and
// against qemu-img.
func (h *history) compare() {
	t := h.t
	t.Helper()
	p, err := os.ReadFile(h.file)
	if err != nil {
		t.Fatal(err)
	}
	b := &qcow2test.Built{Bytes: p}
	img := open(t, b)
	m := newHostModel(t, img, p)
	if diff := cmp.Diff(merge(m.ranges(), m.g), hostRanges(t, img, qcow2.HostOptions{})); diff != "" {
		t.Errorf("host (-model +Host):\n%s", diff)
	}
	for range 4 {
		sameAsModel(t, img, p, randomOptions(h.rnd, img))
	}
	h.compareDiffs(img, p)
	found, result := check(t, img)
	var qemu map[string]uint64
	out, _ := exec.CommandContext(t.Context(), "qemu-img", "check", "--output=json", h.file).Output() // its status is in the document
	if err := json.Unmarshal(out, &qemu); err != nil && len(qemu) == 0 {
		t.Fatalf("qemu-img check: %v in %s", err, out)
	}
	want := qcow2.CheckResult{
		Corruptions: qemu["corruptions"], Leaks: qemu["leaks"], ImageEndOffset: qemu["image-end-offset"],
		TotalClusters: qemu["total-clusters"], AllocatedClusters: qemu["allocated-clusters"],
		FragmentedClusters: qemu["fragmented-clusters"], CompressedClusters: qemu["compressed-clusters"],
	}
	if diff := cmp.Diff(want, result); diff != "" {
		t.Errorf("check found %q (-qemu-img +Check):\n%s", found, diff)
	}
	if t.Failed() {
		t.Fatalf("the history:\n%s", strings.Join(h.done, "\n"))
	}
}
