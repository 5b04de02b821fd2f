package cmd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The tests here hold guest --all against qemu-img map, whose rows are joined
// by other rules: both lists are merged first, and must then be equal. QEMU is
// told to ignore backing files, as guest does.

// An extent is a row of a mapping: the keys that qemu-img map has too.
type extent struct {
	Start, Length uint64
	Depth         uint64
	Present, Data bool
	Zero          *bool
	Offset        *uint64
	Compressed    *bool // QEMU has it since 8.2
}

// goesOn reports whether next is more of the same after e.
func (e *extent) goesOn(next *extent) bool {
	alike := *next
	alike.Start, alike.Length, alike.Offset = e.Start, e.Length, e.Offset
	if !cmp.Equal(*e, alike) || e.Start+e.Length != next.Start || (e.Offset == nil) != (next.Offset == nil) {
		return false
	}
	return e.Offset == nil || *e.Offset+e.Length == *next.Offset
}

// merge joins the extents that go on without a gap.
//
// Of data it drops whether they read as zeros, which is not a question of the
// mapping: QEMU looks for holes in the file that holds them, and in images with
// preallocated metadata only. What it calls data and zero, or data alone, is
// data to us, and never zero.
func merge(list []extent) []extent {
	var merged []extent
	for _, e := range list {
		if e.Length == 0 { // all that QEMU says of an empty disk
			continue
		}
		if e.Data {
			e.Zero = nil
		}
		if n := len(merged); n > 0 && merged[n-1].goesOn(&e) {
			merged[n-1].Length += e.Length
			continue
		}
		merged = append(merged, e)
	}
	return merged
}

// qemuNode returns the name by which QEMU opens an image without its backing
// file. The secret of encrypted ones is "qinspect".
func qemuNode(t *testing.T, file string) string {
	t.Helper()
	header := runDocument(t, "header", file)
	node := document{
		"driver": "qcow2", "backing": nil, "file": document{"driver": "file", "filename": file},
		// QEMU takes a step for each piece of a table: the larger the better.
		"l2-cache-entry-size": header["cluster-size"],
	}
	if encrypt, ok := header["encrypt"].(document); ok {
		node["encrypt"] = document{"format": encrypt["format"], "key-secret": "key"}
	}
	name, err := json.Marshal(node)
	if err != nil {
		t.Fatal(err)
	}
	return "json:" + string(name)
}

// qemuJSON runs qemu-img map or check on an image, decodes what it prints, and
// returns its exit status.
func qemuJSON(t *testing.T, command, file string, into any) (status int, err error) {
	t.Helper()
	file, err = filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), "qemu-img", command, "--object", "secret,id=key,data=qinspect", "--output=json", qemuNode(t, file))
	c.Dir = filepath.Dir(file) // external data files have relative names
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		if status = c.ProcessState.ExitCode(); command == "map" || status == 1 {
			return status, fmt.Errorf("qemu-img %s: %w: %s", command, err, stderr.Bytes())
		}
	}
	if err := json.Unmarshal(stdout.Bytes(), into); err != nil {
		t.Fatalf("qemu-img %s: %v", command, err)
	}
	return status, nil
}

// qemuMap returns what qemu-img map says of an image without its backing file.
func qemuMap(t *testing.T, file string) ([]extent, error) {
	t.Helper()
	var list []extent
	_, err := qemuJSON(t, "map", file, &list)
	return list, err
}

// ourMap returns what guest --all says of an image, in QEMU's words: where
// there is a backing file it does not say what unallocated reads as, and QEMU,
// told that there is none, says zeros.
func ourMap(t *testing.T, file string, flags ...string) []extent {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := append([]string{"guest", "--all", "-o", "json", file}, flags...)
	code := Execute(t.Context(), Process{Args: args, Stdout: &stdout, Stderr: &stderr})
	if code != 0 || stderr.Len() > 0 {
		t.Errorf("%q: exit status %d, want 0; standard error %q, want none", args, code, stderr.Bytes())
	}
	var doc struct{ Guest []mappedRow }
	if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	header := runDocument(t, "header", file)
	list := make([]extent, len(doc.Guest))
	for i, row := range doc.Guest {
		row.check(t, header)
		if list[i] = row.extent; row.Zero == nil {
			list[i].Zero = new(bool)
			*list[i].Zero = true
		}
	}
	return list
}

// A mappedRow is a row of ours, with keys that qemu-img does not have.
type mappedRow struct {
	extent
	HostOffset *uint64 `json:"host-offset"`
	Kind       string
}

// check holds the keys that qemu-img does not have against those that it has.
func (r *mappedRow) check(t *testing.T, header document) {
	t.Helper()
	kind := "zero"
	switch {
	case !r.Present:
		kind = "unallocated"
	case r.Data && *r.Compressed:
		kind = "compressed"
	case r.Data:
		kind = "data"
	case r.HostOffset != nil:
		kind = "zero-allocated"
	}
	offset := r.HostOffset
	if *r.Compressed || header["encrypted"] == true {
		offset = nil
	}
	unknown := !r.Present && header["backing-filename"] != nil
	zero := r.Zero != nil && *r.Zero
	want := []any{kind, offset, unknown, false}
	if diff := cmp.Diff(want, []any{r.Kind, r.Offset, r.Zero == nil, r.Data && zero}); diff != "" {
		t.Errorf("kind, offset, whether zero is null, whether data are zero at %#x (-want +got):\n%s", r.Start, diff)
	}
}

// compareExtents compares the merged lists of QEMU and of ours.
func compareExtents(t *testing.T, want, got []extent) {
	t.Helper()
	if !slices.ContainsFunc(want, func(e extent) bool { return e.Compressed != nil }) {
		for i := range got {
			got[i].Compressed = nil
		}
	}
	if diff := cmp.Diff(merge(want), merge(got)); diff != "" {
		t.Errorf("extents (-qemu-img +qinspect):\n%s", diff)
	}
}

// compareMap holds our mapping of an image that QEMU must open against QEMU's,
// by runs and, where that is no long list, by clusters. Rows of whole clusters
// cannot show subclusters.
func compareMap(t *testing.T, file string) {
	t.Helper()
	want, err := qemuMap(t, file)
	if err != nil {
		t.Fatal(err)
	}
	compareExtents(t, want, ourMap(t, file))
	compareCheck(t, file)
	compareScript(t, file)
	header := runDocument(t, "header", file)
	if header["extended-l2"] != true && number(t, header, "clusters") < 1<<15 {
		compareExtents(t, want, ourMap(t, file, "--per-cluster"))
	}
}

// number returns a number of a document.
func number(t *testing.T, doc document, key string) int {
	t.Helper()
	n, err := doc[key].(json.Number).Int64()
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	return int(n)
}

// compareSnapshots holds our mapping of each of the snapshots, by their
// positions in the table, against QEMU's of a copy that was put back to the
// snapshot: QEMU itself has no other way to show one.
func (dir qemuFolder) compareSnapshots(t *testing.T, file string, positions ...int) {
	t.Helper()
	file = dir.withoutBitmaps(t, file)
	list := rows(runDocument(t, "snapshots", file)["snapshots"])
	for _, i := range positions {
		t.Run(fmt.Sprintf("snapshot @%d", i), func(t *testing.T) {
			put := dir.file("put-back.qcow2")
			if err := copyFile(file, put); err != nil {
				t.Fatal(err)
			}
			dir.run(t, "qemu-img", "snapshot", "-q", "-a", list[i]["id"].(string), put)
			want, err := qemuMap(t, put)
			if err != nil {
				t.Fatal(err)
			}
			compareExtents(t, want, ourMap(t, file, "--snapshot", fmt.Sprintf("@%d", i)))
			dir.compareExclusive(t, file, i)
		})
	}
}

// withoutBitmaps returns a copy without bitmaps of an image that has some, which QEMU
// would not put back to a snapshot.
func (dir qemuFolder) withoutBitmaps(t *testing.T, file string) string {
	t.Helper()
	for _, x := range rows(runDocument(t, "extensions", file)["extensions"]) {
		if x["bitmaps"] == nil {
			continue
		}
		bare := dir.file("bare.qcow2")
		if err := copyFile(file, bare); err != nil {
			t.Fatal(err)
		}
		for _, bitmap := range rows(x["bitmaps"]) {
			dir.run(t, "qemu-img", "bitmap", "--remove", bare, bitmap["name"].(string))
		}
		return bare
	}
	return file
}

// copyFile copies a file, large as it may be.
func copyFile(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// mapFile compares an image in a test of its own, its snapshots too where QEMU
// can put it back to them without other files and keys. It reports whether QEMU
// opens it.
func mapFile(t *testing.T, file string) bool {
	t.Helper()
	if _, err := qemuMap(t, file); err != nil {
		t.Logf("not compared: %v", err)
		return false
	}
	t.Run(filepath.Base(file), func(t *testing.T) {
		compareMap(t, file)
		if header := runDocument(t, "header", file); header["backing-filename"] != nil || header["encrypted"] == true {
			return
		}
		for i := range rows(runDocument(t, "snapshots", file)["snapshots"]) {
			newQEMUFolder(t).compareSnapshots(t, file, i)
		}
	})
	return true
}

// TestQEMUMapFixtures compares the fixtures, all but the one that QEMU refuses.
func TestQEMUMapFixtures(t *testing.T) {
	needQEMU(t)
	files, err := filepath.Glob(filepath.Join("..", "testdata", "images", "*.qcow2"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		if known := filepath.Base(file) != "unknown-feature.qcow2"; mapFile(t, file) != known {
			t.Errorf("%s: compared: %v, want %v", file, !known, known)
		}
	}
}

// TestQEMUMapCorpus compares every image of the corpus.
func TestQEMUMapCorpus(t *testing.T) {
	compareCorpus(t, func(file string) bool { return mapFile(t, file) })
}
