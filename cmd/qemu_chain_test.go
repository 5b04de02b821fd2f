package cmd

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
)

// The tests here hold guest --follow against qemu-img map, and what chain says of a
// commit against qemu-img commit, on chains that QEMU made.

var (
	chains    = flag.Int("chains", 30, "random backing chains to compare with qemu-img")
	chainSeed = flag.Uint64("chain-seed", 0, "seed of the random backing chains; 0: a random one")
)

// newChainSeed returns a seed and prints it.
func newChainSeed(t *testing.T) uint64 {
	t.Helper()
	seed := *chainSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-chain-seed=%d", seed)
	return seed
}

// qemuChainMap returns what qemu-img map says of a chain.
func (dir qemuFolder) qemuChainMap(t *testing.T, file string) []extent {
	t.Helper()
	c := exec.CommandContext(t.Context(), "qemu-img", "map", "--output=json", "-f", "qcow2", file)
	c.Dir = string(dir)
	out, err := c.Output()
	if err != nil {
		t.Fatalf("qemu-img map %s: %v", file, err)
	}
	var list []extent
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// ourChainMap returns what guest --follow --all says.
func (dir qemuFolder) ourChainMap(t *testing.T, file string, flags ...string) []extent {
	t.Helper()
	var doc struct{ Guest []extent }
	dir.ours(t, &doc, append([]string{"guest", "--follow", "--all", dir.file(file)}, flags...)...)
	return doc.Guest
}

// ours runs a command of ours and decodes its document.
func (dir qemuFolder) ours(t *testing.T, into any, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := Execute(t.Context(), Process{Args: append(args, "-o", "json"), Stdout: &stdout, Stderr: &stderr}); code != 0 {
		t.Fatalf("%q: exit status %d: %s", args, code, &stderr)
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		t.Fatal(err)
	}
}

// A chainDocument is what the tests look at of what chain says.
type chainDocument struct {
	VirtualSize uint64 `json:"virtual-size"`
	Complete    *bool
	Chain       []struct {
		Status      string
		Reason      string
		VirtualSize uint64 `json:"virtual-size"`
		Visible     uint64
		VisibleZero uint64 `json:"visible-zero"`
		Hidden      *uint64
		Beyond      uint64
		Commit      *struct{ Moves, Allocates, Frees uint64 }
	}
	Unallocated, Unknown uint64
	Flatten              *uint64
}

// sum returns what has to be the virtual size.
func (d *chainDocument) sum() uint64 {
	n := d.Unallocated + d.Unknown
	for _, l := range d.Chain {
		n += l.Visible + l.VisibleZero
	}
	return n
}

// compareChain holds the map of a chain against QEMU's, and the sums of chain
// against the map.
func (dir qemuFolder) compareChain(t *testing.T, file string) {
	t.Helper()
	got := dir.ourChainMap(t, file)
	var doc chainDocument
	dir.ours(t, &doc, "chain", "--follow", dir.file(file))
	want := chainDocument{}
	sums := make([][2]uint64, len(doc.Chain)) // by depth: data, zeros
	for _, e := range got {
		switch {
		case !e.Present:
			want.Unallocated += e.Length
		case e.Data:
			sums[e.Depth][0] += e.Length
		default:
			sums[e.Depth][1] += e.Length
		}
	}
	for i, l := range doc.Chain {
		if l.Visible != sums[i][0] || l.VisibleZero != sums[i][1] {
			t.Errorf("layer %d: visible %d and %d zeros, but the map has %v", i, l.Visible, l.VisibleZero, sums[i])
		}
	}
	if doc.Unallocated != want.Unallocated || doc.Unknown != 0 || doc.sum() != doc.VirtualSize {
		t.Errorf("unallocated %d, unknown %d, sum %d of %d; the map has %d unallocated", doc.Unallocated, doc.Unknown, doc.sum(), doc.VirtualSize, want.Unallocated)
	}
	compareExtents(t, dir.qemuChainMap(t, file), got)
}

// A chainLayer is a random layer of a chain.
type chainLayer struct {
	file, format, options string
	clusterBits           int
	size                  int
	compat                string
	uncompressed          bool // there are no writes of compressed clusters
}

// randomLayer chooses the i-th layer from the base.
func randomLayer(r *rand.Rand, i int) chainLayer {
	l := chainLayer{file: fmt.Sprintf("layer%d", i), format: "qcow2", size: (1 + r.IntN(4096)) * 512, clusterBits: 9 + r.IntN(8), compat: "1.1"}
	if r.IntN(8) == 0 {
		l.clusterBits = 17 + r.IntN(5)
	}
	switch {
	case i == 0 && r.IntN(3) == 0:
		l.format = "raw"
		l.size += r.IntN(2) * r.IntN(512)
		return l
	case r.IntN(4) == 0:
		l.compat = "0.10"
	case l.clusterBits >= 14 && r.IntN(2) == 0:
		l.options = ",extended_l2=on"
	}
	l.options = fmt.Sprintf("compat=%s,cluster_size=%d%s", l.compat, 1<<l.clusterBits, l.options)
	return l
}

// randomCommands are commands of qemu-io on a layer.
func (l *chainLayer) randomCommands(r *rand.Rand, n int) []string {
	sectors := l.size / 512
	var commands []string
	for range n {
		first := r.IntN(sectors)
		length := 1 + r.IntN(min(sectors-first, 1<<r.IntN(12)))
		command := []string{"write -q -P 1", "write -q -P 2", "write -q -z", "write -q -z -u", "discard -q", "write -q -c -P 3"}[r.IntN(6)]
		switch {
		case (l.format == "raw" || l.uncompressed) && command == "write -q -c -P 3":
			command = "write -q -P 3"
		case command == "write -q -c -P 3": // one cluster, and QEMU wants it whole
			cluster := 1 << l.clusterBits
			if l.size < cluster {
				continue
			}
			commands = append(commands, fmt.Sprintf("%s %d %d", command, r.IntN(l.size/cluster)*cluster, cluster))
			continue
		}
		commands = append(commands, fmt.Sprintf("%s %d %d", command, first*512, length*512))
	}
	return commands
}

// makeLayer makes a layer over another, nil for the base.
func (dir qemuFolder) makeLayer(t *testing.T, r *rand.Rand, l, below *chainLayer) {
	t.Helper()
	args := []string{"create", "-q", "-f", l.format}
	if l.options != "" {
		args = append(args, "-o", l.options)
	}
	if below != nil {
		args = append(args, "-b", below.file, "-F", below.format)
	}
	dir.run(t, "qemu-img", append(args, l.file, fmt.Sprint(l.size))...)
	if l.format == "raw" {
		if err := os.Truncate(dir.file(l.file), int64(l.size)); err != nil {
			t.Fatal(err)
		}
	}
	if r.IntN(4) == 0 && l.format == "qcow2" {
		dir.randomIO(t, r, l, 4)
		dir.run(t, "qemu-img", "snapshot", "-q", "-c", "s", l.file)
	}
	dir.randomIO(t, r, l, 1+r.IntN(10))
}

// randomIO writes to a layer. Writes of compressed clusters over others fail, which
// leaves the layer as it is.
func (dir qemuFolder) randomIO(t *testing.T, r *rand.Rand, l *chainLayer, n int) {
	t.Helper()
	args := []string{"-f", l.format}
	if l.format == "raw" {
		args = []string{"-f", "raw", "-d", "unmap"}
	}
	for _, c := range l.randomCommands(r, n) {
		args = append(args, "-c", c)
	}
	c := exec.CommandContext(t.Context(), "qemu-io", append(args, l.file)...)
	c.Dir = string(dir)
	_ = c.Run()
}

// TestQEMUChains compares random chains of 2 to 6 layers: cluster sizes, versions,
// extended L2 entries, compressed clusters, raw and sparse bases, sizes that differ,
// snapshots.
func TestQEMUChains(t *testing.T) {
	needQEMU(t)
	seed := newChainSeed(t)
	for n := range *chains {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := newQEMUFolder(t)
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			var below *chainLayer
			for i := range 2 + r.IntN(5) {
				l := randomLayer(r, i)
				dir.makeLayer(t, r, &l, below)
				below = &l
				if i > 0 {
					dir.compareChain(t, l.file)
				}
			}
			dir.compareChainSnapshot(t, below)
			if t.Failed() {
				t.Logf("-chain-seed=%d -run 'TestQEMUChains/^%d$'", seed, n)
			}
		})
	}
}

// compareChainSnapshot compares the map of the first snapshot of a layer, if there
// is one, with that of a copy that was put back to it.
func (dir qemuFolder) compareChainSnapshot(t *testing.T, l *chainLayer) {
	t.Helper()
	if len(rows(runDocument(t, "snapshots", dir.file(l.file))["snapshots"])) == 0 {
		return
	}
	if runDocument(t, "header", dir.file(l.file))["corrupt"] == true {
		return // QEMU 7.2 can break an image by compressed writes after a discard, and then puts nothing back
	}
	if err := copyFile(dir.file(l.file), dir.file("put-back")); err != nil {
		t.Fatal(err)
	}
	dir.run(t, "qemu-img", "snapshot", "-q", "-a", "s", "put-back")
	compareExtents(t, dir.qemuChainMap(t, "put-back"), dir.ourChainMap(t, l.file, "--snapshot", "s"))
}
