package cmd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dirtyRanges returns what dirty lists, joined: "0x0+0x2000".
func (dir qemuFolder) dirtyRanges(t *testing.T, args ...string) []string {
	t.Helper()
	var doc struct{ Dirty []extent }
	dir.ours(t, &doc, append([]string{"dirty"}, args...)...)
	var all []string
	from, to := uint64(0), uint64(0)
	for _, e := range append(doc.Dirty, extent{Start: 1 << 63}) {
		if e.Start != to {
			if to > from {
				all = append(all, fmt.Sprintf("%#x+%#x", from, to-from))
			}
			from = e.Start
		}
		to = e.Start + e.Length
	}
	return all
}

// checkpointLayer makes a layer with a bitmap, over another unless that is "".
func (dir qemuFolder) checkpointLayer(t *testing.T, file, below string, writes ...string) {
	t.Helper()
	args := []string{"create", "-q", "-f", "qcow2"}
	if below != "" {
		args = append(args, "-b", below, "-F", "qcow2")
	}
	dir.run(t, "qemu-img", append(args, file, "1M")...)
	dir.run(t, "qemu-img", "bitmap", "--add", "-g", "4096", file, "chk")
	dir.qemuIO(t, file, writes...)
}

// TestQEMUDirtyChain compares what is dirty through a chain with what QEMU has when
// it merges the bitmaps of the layers into one.
func TestQEMUDirtyChain(t *testing.T) {
	needQEMU(t)
	seed := newChainSeed(t)
	for n := range 6 {
		dir := newQEMUFolder(t)
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		layers := 1 + r.IntN(4)
		below := ""
		for i := range layers {
			var writes []string
			for range 1 + r.IntN(6) {
				writes = append(writes, fmt.Sprintf("%s %d %d", []string{"write -q", "write -q -z", "discard -q"}[r.IntN(3)], r.IntN(1024)*512, (1+r.IntN(64))*512))
			}
			file := fmt.Sprintf("layer%d", i)
			dir.checkpointLayer(t, file, below, writes...)
			below = file
		}
		got := dir.dirtyRanges(t, "--follow", "--bitmap", "chk", dir.file(below))
		dir.run(t, "qemu-img", "bitmap", "--add", "-g", "4096", below, "all")
		for i := range layers {
			args := []string{"bitmap", "--merge", "chk", below, "all"}
			if file := fmt.Sprintf("layer%d", i); file != below {
				args = append([]string{"bitmap", "--merge", "chk", "-b", file, "-F", "qcow2"}, below, "all")
			}
			dir.run(t, "qemu-img", args...)
		}
		if diff := cmp.Diff(dir.dirtyRanges(t, "--bitmap", "all", dir.file(below)), got); diff != "" {
			t.Errorf("-chain-seed=%d, %d layers (-merged +followed):\n%s", seed, layers, diff)
		}
	}
}

// TestDirtyChainRules: libvirt's rules, each broken by itself. What is dirty is
// listed all the same.
func TestDirtyChainRules(t *testing.T) {
	needQEMU(t)
	tests := []struct {
		what   string
		broken func(dir qemuFolder)
		bitmap string
		code   int
		stderr string
	}{
		{"none", func(qemuFolder) {}, "chk", 0, ""},
		{"not in the image", func(dir qemuFolder) { dir.run(t, "qemu-img", "bitmap", "--remove", "top", "chk") }, "chk", 2, `layer 1, "DIR/mid": it has the bitmap "chk", and layer 0 above it does not`},
		{"a gap", func(dir qemuFolder) { dir.run(t, "qemu-img", "bitmap", "--remove", "mid", "chk") }, "chk", 2, `layer 2, "DIR/base": it has the bitmap "chk", and layer 1 above it does not`},
		{"not recording", func(dir qemuFolder) { dir.run(t, "qemu-img", "bitmap", "--disable", "mid", "chk") }, "chk", 2, `layer 1, "DIR/mid": the bitmap "chk" is disabled: QEMU records nothing in it`},
		{"in none", func(qemuFolder) {}, "other", 1, `no bitmap "other"`},
		{"a missing layer", func(dir qemuFolder) { dir.run(t, "rm", "base") }, "chk", 2, `layer 2, "DIR/base": missing: there is no such file`},
	}
	for _, tt := range tests {
		dir := newQEMUFolder(t)
		dir.checkpointLayer(t, "base", "", "write -q 0 8k")
		dir.checkpointLayer(t, "mid", "base", "write -q 64k 4k")
		dir.checkpointLayer(t, "top", "mid", "write -q 60k 4k")
		tt.broken(dir)
		var stdout, stderr bytes.Buffer
		code := Execute(t.Context(), Process{Args: []string{"dirty", "--follow", "--bitmap", tt.bitmap, "-o", "plain", dir.file("top")}, Stdout: &stdout, Stderr: &stderr})
		if want := strings.ReplaceAll(tt.stderr, "DIR", string(dir)); code != tt.code || !strings.Contains(stderr.String(), want) || want == "" && stderr.Len() > 0 {
			t.Errorf("%s: exit status %d, %s; want %d, %s", tt.what, code, &stderr, tt.code, want)
		}
		if tt.code != 1 && !strings.Contains(stdout.String(), "dirty data") {
			t.Errorf("%s: nothing is listed: %s", tt.what, &stdout)
		}
	}
}
