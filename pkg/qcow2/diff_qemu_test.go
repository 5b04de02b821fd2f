package qcow2_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// runTool runs a tool of QEMU in a directory.
func runTool(t *testing.T, dir, tool string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
}

// TestDiffQEMU has what QEMU does to a snapshotted disk, and what may differ then.
func TestDiffQEMU(t *testing.T) {
	needQEMU(t)
	tests := []struct {
		name          string
		create        string // options and size
		base          string // size of the backing file
		before, after string // commands of qemu-io
		changed       uint64
		want          []string // start, length, change, kinds
	}{
		{
			"every change", "cluster_size=4k 1M", "",
			"write 0 64k", "write -z 0 4k;write -z -u 4k 4k;discard 8k 4k;write -P 7 12k 4k;write 16k 4k;write -c 128k 4k", 24576,
			[]string{
				"0+4096 zeroed data zero-allocated same place", "4096+8192 zeroed data zero", "12288+8192 written data data",
				"131072+4096 written unallocated compressed",
			},
		},
		{
			"subclusters", "cluster_size=64k,extended_l2=on 1M", "",
			"write 0 128k", "write -z 4k 2k;write -P 7 66k 2k;write -z -u 96k 2k", 2048 + 65536,
			[]string{
				"4096+2048 zeroed data zero-allocated same place", "65536+32768 written data data", "98304+2048 zeroed data zero-allocated",
				"100352+30720 written data data",
			},
		},
		{
			"a backing file", "cluster_size=4k 1M", "512k",
			"write 0 8k", "write -z 8k 4k;write -z 600k 4k;discard 0 4k", 12288,
			[]string{"0+4096 zeroed data zero", "8192+4096 zeroed unallocated zero", "614400+4096 zeroed unallocated zero"},
		},
		{
			"compressed data", "cluster_size=4k 1M", "",
			"write -c 0 4k;write -c 4k 4k", "write 4k 1k", 4096,
			[]string{"4096+4096 written compressed data"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			options, size, _ := strings.Cut(tt.create, " ")
			create := []string{"create", "-q", "-f", "qcow2", "-o", options}
			if tt.base != "" {
				runTool(t, dir, "qemu-img", "create", "-q", "-f", "raw", "base", tt.base)
				create = append(create, "-b", "base", "-F", "raw")
			}
			runTool(t, dir, "qemu-img", append(create, "disk", size)...)
			for i, commands := range []string{tt.before, tt.after} {
				args := []string{"-f", "qcow2", "-d", "unmap"}
				for command := range strings.SplitSeq(commands, ";") {
					args = append(args, "-c", command)
				}
				runTool(t, dir, "qemu-io", append(args, "disk")...)
				if i == 0 {
					runTool(t, dir, "qemu-img", "snapshot", "-c", "before", "disk")
				}
			}
			f, err := qcow2.OpenFile(filepath.Join(dir, "disk"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			seq, totals := f.Diff(t.Context(), qcow2.DiffOptions{From: diffSnapshot(t, f.Image, "before")})
			var got []string
			for d, err := range seq {
				if err != nil {
					t.Fatal(err)
				}
				line := fmt.Sprintf("%d+%d %v %v %v", d.Start, d.Length, d.Change, d.From.Kind, d.To.Kind)
				if d.From.HasHost && d.From.HostOffset == d.To.HostOffset {
					line += " same place"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || totals.Changed != tt.changed {
				t.Errorf("%d bytes may differ, want %d (-want +got):\n%s", totals.Changed, tt.changed, diff)
			}
		})
	}
}

// compareDiffs holds Diff against the model, against what QEMU reads of both sides,
// and against Usage.
func (h *history) compareDiffs(img *qcow2.Image, file []byte) {
	h.t.Helper()
	for range 2 {
		sameAsDiffModel(h.t, img, file, randomDiffOptions(h.rnd, img))
	}
	states := []*qcow2.Snapshot{nil}
	for s, err := range img.Snapshots() {
		if err == nil && s.DiskSize == img.Header().Size { // qemu-img writes the size of the active image
			states = append(states, &s)
		}
	}
	states = states[:min(len(states), 3)]
	contents := make([][]byte, len(states))
	for i, s := range states {
		contents[i] = h.content(s)
	}
	for i, from := range states {
		for j, to := range states {
			h.compareContents(img, qcow2.DiffOptions{From: from, To: to}, contents[i], contents[j])
			if i != j && img.Header().NbSnapshots == 1 {
				compareExclusive(h.t, img, from, to)
			}
		}
	}
}

// content returns the disk of a snapshot, nil for the active image, as QEMU reads it.
func (h *history) content(s *qcow2.Snapshot) []byte {
	h.t.Helper()
	raw := filepath.Join(h.t.TempDir(), "raw")
	args := []string{"convert", "-f", "qcow2", "-O", "raw"}
	if s != nil {
		args = append(args, "-l", "snapshot.id="+s.ID)
	}
	runTool(h.t, "", "qemu-img", append(args, h.file, raw)...)
	p, err := os.ReadFile(raw)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// compareContents holds what Diff yields against the contents of both sides: where
// they differ it says so. What it says beyond that has data on one side, as a
// cluster is copied whole, or written again with what it held.
func (h *history) compareContents(img *qcow2.Image, o qcow2.DiffOptions, from, to []byte) {
	h.t.Helper()
	const sector = 512
	isData := func(m *qcow2.Mapping) bool { return m.Kind == qcow2.MappingData || m.Kind == qcow2.MappingCompressed }
	reported := make([]bool, len(to)/sector)
	zeros := make([]byte, sector)
	seq, _ := img.Diff(h.t.Context(), o)
	for d, err := range seq {
		if err != nil {
			h.t.Fatal(err)
		}
		for at := d.Start; at < d.Start+d.Length; at += sector {
			reported[at/sector] = true
			if d.Zero && !bytes.Equal(to[at:][:sector], zeros) {
				h.t.Errorf("%#x does not read as zeros: %+v", at, d)
			}
			if bytes.Equal(from[at:][:sector], to[at:][:sector]) && !isData(&d.From) && !isData(&d.To) {
				h.t.Errorf("%#x is the same, and no data: %+v", at, d)
			}
		}
	}
	for i, is := range reported {
		if at := i * sector; !is && !bytes.Equal(from[at:][:sector], to[at:][:sector]) {
			h.t.Errorf("%+v: %#x differs", o, at)
		}
	}
}

// compareExclusive holds the totals against Usage, of an image with two owners: what
// only TO refers to is its own, but for its tables. A host cluster that compressed
// data of both share can be counted beyond that.
func compareExclusive(t *testing.T, img *qcow2.Image, from, to *qcow2.Snapshot) {
	t.Helper()
	seq, totals := img.Diff(t.Context(), qcow2.DiffOptions{From: from, To: to})
	for _, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
	}
	usage, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	owner, own := qcow2.OwnerActive, usage.Owners[0]
	if to != nil {
		owner, own = qcow2.Owner(to.Index), usage.Owners[1+to.Index]
	}
	compressed := false
	owners := map[uint64]map[qcow2.Owner]bool{} // by the offset of a cluster of a table
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{Owners: true}) {
		if err != nil {
			t.Fatal(err)
		}
		compressed = compressed || r.Kind == qcow2.HostCompressed
		if r.Kind == qcow2.HostL1Table || r.Kind == qcow2.HostL2Table {
			size := uint64(1) << img.Header().ClusterBits
			for at := r.Offset; at < r.Offset+r.Length; at += size {
				if owners[at] == nil {
					owners[at] = map[qcow2.Owner]bool{}
				}
				owners[at][r.Reference.Owner] = true
			}
		}
	}
	sum := totals.Written + totals.VMStateWritten
	for _, all := range owners {
		if len(all) == 1 && all[owner] {
			sum += 1 << img.Header().ClusterBits
		}
	}
	g, _ := img.Geometry()
	exclusive := g.ClustersIn(own.Exclusive) << g.ClusterBits // the file can end inside the last
	if sum < exclusive || sum > exclusive && !compressed {
		t.Errorf("%d bytes of its own, of which diff counts %+v, %d with tables", exclusive, totals, sum)
	}
}
