package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A checkDocument is what check has in common with qemu-img check, which leaves
// out what is 0.
type checkDocument struct {
	Filename           string `json:"-"`
	CheckErrors        int    `json:"check-errors"`
	Corruptions        int    `json:"corruptions"`
	Leaks              int    `json:"leaks"`
	ImageEndOffset     int    `json:"image-end-offset"`
	TotalClusters      int    `json:"total-clusters"`
	AllocatedClusters  int    `json:"allocated-clusters"`
	FragmentedClusters int    `json:"fragmented-clusters"`
	CompressedClusters int    `json:"compressed-clusters"`
}

// runJSON runs a command with -o json, decodes what it prints, and returns its
// exit status.
func runJSON(t *testing.T, into any, args ...string) int {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append(args, "-o", "json")
	code := Execute(t.Context(), Process{Args: args, Stdout: &stdout, Stderr: &stderr})
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		t.Fatalf("%q: %v; standard error %q", args, err, stderr.Bytes())
	}
	return code
}

// compareCheck holds our check of an image that QEMU opens against QEMU's, and
// host and usage against check.
func compareCheck(t *testing.T, file string) {
	t.Helper()
	var want, got checkDocument
	status, err := qemuJSON(t, "check", file, &want)
	if err != nil {
		t.Fatal(err)
	}
	if code := runJSON(t, &got, "check", file); code != status {
		t.Errorf("check: exit status %d, qemu-img check has %d", code, status)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("check (-qemu-img +qinspect):\n%s", diff)
	}
	var host struct {
		FileSize uint64 `json:"file-size"`
		Host     []hostDocument
	}
	runJSON(t, &host, "host", file)
	var end uint64
	kinds := map[string]uint64{}
	for _, r := range host.Host {
		if r.Offset != end {
			t.Errorf("host: a row begins at %#x, the one before ends at %#x", r.Offset, end)
		}
		if status == 0 && (r.Refcount == nil || *r.Refcount != r.References) {
			t.Errorf("host: %+v of a healthy image", r)
		}
		end = r.Offset + r.Length
		kinds[r.Kind] += r.Length
	}
	if end != host.FileSize {
		t.Errorf("host: the last row ends at %#x, the file at %#x", end, host.FileSize)
	}
	compareUsage(t, file, kinds, want.ImageEndOffset)
}

// A hostDocument is a row of host.
type hostDocument struct {
	Offset, Length uint64
	Kind           string
	Refcount       *uint64
	References     uint64
}

// compareUsage holds usage against the sums over host, and its end of the image
// against QEMU's.
func compareUsage(t *testing.T, file string, kinds map[string]uint64, end int) {
	t.Helper()
	var usage struct {
		ImageEndOffset int `json:"image-end-offset"`
		Kinds          []struct {
			Kind  string
			Bytes uint64
		}
	}
	if code := runJSON(t, &usage, "usage", file); code != 0 {
		t.Errorf("usage: exit status %d", code)
	}
	got := map[string]uint64{}
	for _, k := range usage.Kinds {
		got[k.Kind] = k.Bytes
	}
	if diff := cmp.Diff(kinds, got); diff != "" {
		t.Errorf("usage (-host +usage):\n%s", diff)
	}
	if usage.ImageEndOffset != end {
		t.Errorf("usage: image-end-offset %d, qemu-img check has %d", usage.ImageEndOffset, end)
	}
}

// refcounts returns the refcount of every cluster, and which clusters hold the
// header or the snapshot table.
func refcounts(t *testing.T, file string) (counts map[uint64]uint64, table map[uint64]bool) {
	t.Helper()
	var host struct{ Host []hostDocument }
	runJSON(t, &host, "host", "--per-cluster", file)
	counts, table = map[uint64]uint64{}, map[uint64]bool{}
	for _, r := range host.Host {
		counts[r.Offset] = *r.Refcount
		table[r.Offset] = r.Kind == "snapshot-table"
	}
	return counts, table
}

// compareExclusive deletes a snapshot from a copy: what becomes free, but for
// the snapshot table, is what usage calls exclusive.
func (dir qemuFolder) compareExclusive(t *testing.T, file string, position int) {
	t.Helper()
	list := rows(runDocument(t, "snapshots", file)["snapshots"])
	if list[position]["name-hex"] != nil {
		return // qemu-img -d takes names, and this one cannot be said in JSON
	}
	var usage struct {
		Owners []struct {
			SnapshotIndex *int `json:"snapshot-index"`
			Exclusive     uint64
		}
	}
	runJSON(t, &usage, "usage", file)
	without := dir.file("without.qcow2")
	if err := copyFile(file, without); err != nil {
		t.Fatal(err)
	}
	dir.run(t, "qemu-img", "snapshot", "-q", "-d", list[position]["name"].(string), without)
	before, table := refcounts(t, file)
	after, _ := refcounts(t, without)
	size := uint64(number(t, runDocument(t, "header", file), "cluster-size"))
	freed, fileSize := uint64(0), uint64(number(t, runDocument(t, "header", file), "file-size"))
	for offset, n := range before {
		if n > 0 && after[offset] == 0 && !table[offset] {
			freed += min(size, fileSize-offset)
		}
	}
	for _, o := range usage.Owners {
		if o.SnapshotIndex != nil && *o.SnapshotIndex == position && o.Exclusive != freed {
			t.Errorf("usage: %d bytes exclusive to snapshot @%d, but deleting it frees %d", o.Exclusive, position, freed)
		}
	}
}

// TestQEMUCheckLeaks has refcounts that are too high: the same leaks as QEMU, in
// every refcount width.
func TestQEMUCheckLeaks(t *testing.T) {
	needQEMU(t)
	for _, bits := range []int{1, 2, 4, 8, 16, 32, 64} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			t.Parallel()
			dir := newQEMUFolder(t)
			file := dir.create(t, fmt.Sprintf("cluster_size=4k,refcount_bits=%d", bits), "1M")
			dir.qemuIO(t, file, "write -q 0 64k")
			image, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			image[0x4000], image[0x4001] = 0, 0 // some entries of the L2 table or the block after it
			clear(image[0x4008:0x4018])
			if err := os.WriteFile(filepath.Clean(file), image, 0o600); err != nil {
				t.Fatal(err)
			}
			compareBroken(t, file)
		})
	}
}

// compareBroken holds our check of a broken image against QEMU's: the same exit
// status and the same leaks.
func compareBroken(t *testing.T, file string) {
	t.Helper()
	var want, got checkDocument
	status, err := qemuJSON(t, "check", file, &want)
	code := runJSON(t, &got, "check", file)
	switch {
	case err != nil && code != 2:
		t.Errorf("check: exit status %d of an image that QEMU cannot open: %v", code, err)
	case err == nil && code != status:
		t.Errorf("check: exit status %d, qemu-img check has %d (%+v, %+v)", code, status, got, want)
	case err == nil && got.Leaks != want.Leaks:
		t.Errorf("check: %d leaks, qemu-img check has %d", got.Leaks, want.Leaks)
	}
}
