package cmd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// dataBytes returns what the clusters of guest data of a file take, compressed ones
// left out.
func (dir qemuFolder) dataBytes(t *testing.T, file string) (n uint64) {
	t.Helper()
	var doc struct {
		Kinds []struct {
			Kind     string
			Clusters uint64
		}
	}
	dir.ours(t, &doc, "usage", dir.file(file))
	for _, k := range doc.Kinds {
		if k.Kind == "data" || k.Kind == "zero-allocated" {
			n += k.Clusters
		}
	}
	var header struct {
		ClusterSize uint64 `json:"cluster-size"`
	}
	dir.ours(t, &header, "header", dir.file(file))
	return n * header.ClusterSize
}

// TestQEMUCommit commits random layers into the layers below them: the clusters of
// guest data there change by what chain said. Clusters have one size in both, as
// QEMU copies whole clusters of the layer below.
func TestQEMUCommit(t *testing.T) {
	needQEMU(t)
	seed := newChainSeed(t)
	for n := range *chains {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := newQEMUFolder(t)
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			bits, size := 12+r.IntN(5), (1+r.IntN(4096))*512
			var into, below *chainLayer
			for i := range 2 + r.IntN(2) {
				l := chainLayer{file: fmt.Sprintf("layer%d", i), format: "qcow2", size: size, clusterBits: bits, uncompressed: true}
				l.options = fmt.Sprintf("cluster_size=%d", 1<<bits)
				dir.makeLayer(t, r, &l, below)
				into, below = below, &l
			}
			var doc chainDocument
			dir.ours(t, &doc, "chain", "--follow", dir.file(below.file))
			commit := doc.Chain[0].Commit
			before := dir.dataBytes(t, into.file)
			dir.run(t, "qemu-img", "commit", "-q", below.file)
			if after := dir.dataBytes(t, into.file); before+commit.Allocates-commit.Frees != after {
				t.Errorf("-chain-seed=%d: %d bytes of data before, %d after: %+d, but it allocates %d and frees %d",
					seed, before, after, int64(after-before), commit.Allocates, commit.Frees)
			}
		})
	}
}

// TestQEMUCommitGrowth: a base with 32 MiB of data, over it 32 MiB of which it has
// half, and zeros over 4 MiB. With a snapshot in the base all has to be new.
func TestQEMUCommitGrowth(t *testing.T) {
	const mib = 1 << 20
	for _, snapshot := range []bool{false, true} {
		dir := newQEMUFolder(t)
		dir.run(t, "qemu-img", "create", "-q", "-f", "qcow2", "base", "64M")
		dir.qemuIO(t, "base", "write -q -P 1 0 32M")
		if snapshot {
			dir.run(t, "qemu-img", "snapshot", "-c", "s", "base")
		}
		dir.run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "qcow2", "top", "64M")
		dir.qemuIO(t, "top", "write -q -P 2 16M 32M", "write -q -z 0 4M")
		var doc chainDocument
		dir.ours(t, &doc, "chain", "--follow", dir.file("top"))
		want := [3]uint64{32 * mib, 16 * mib, 4 * mib}
		if snapshot {
			want = [3]uint64{32 * mib, 32 * mib, 0}
		}
		c := doc.Chain[0].Commit
		if got := [3]uint64{c.Moves, c.Allocates, c.Frees}; got != want || *doc.Flatten != 12*mib {
			t.Errorf("snapshot %v: moves, allocates, frees %d, want %d; flatten %d", snapshot, got, want, *doc.Flatten)
		}
		size := func() int64 {
			info, err := os.Stat(dir.file("base"))
			if err != nil {
				t.Fatal(err)
			}
			return info.Size()
		}
		before := size()
		dir.run(t, "qemu-img", "commit", "-q", "top")
		if grown := size() - before; !snapshot && grown != 12*mib || snapshot && (grown < 32*mib || grown > 33*mib) {
			t.Errorf("snapshot %v: the base grew by %d bytes", snapshot, grown)
		}
	}
}
