package cmd

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// The tests here hold the header, extensions and snapshots documents against
// qemu-img info. Our documents are put into the words of qemu-img (asQEMU) and
// then both must be equal as a whole: a key that only one of them has is a
// difference, so that no key of QEMU's slips through.

// document is a JSON object whose numbers are as they were written.
type document = map[string]any

// needQEMU skips a test where qemu-img is not installed.
func needQEMU(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
}

// A qemuFolder is a directory in which QEMU's tools make images.
type qemuFolder string

func newQEMUFolder(t *testing.T) qemuFolder {
	t.Helper()
	needQEMU(t)
	return qemuFolder(t.TempDir())
}

func (dir qemuFolder) file(name string) string { return filepath.Join(string(dir), name) }

// run runs a tool in the directory.
func (dir qemuFolder) run(t *testing.T, tool string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), tool, args...)
	c.Dir = string(dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", tool, args, err, out)
	}
}

// create makes disk.qcow2 and returns its name.
func (dir qemuFolder) create(t *testing.T, options, size string, args ...string) string {
	t.Helper()
	args = append([]string{"create", "-q", "-f", "qcow2"}, args...)
	if options != "" {
		args = append(args, "-o", options)
	}
	dir.run(t, "qemu-img", append(args, "disk.qcow2", size)...)
	return dir.file("disk.qcow2")
}

// build writes an image of the builder and returns its name.
func (dir qemuFolder) build(t *testing.T, image qcow2test.Image) string {
	t.Helper()
	file := dir.file("built.qcow2")
	if err := os.WriteFile(file, image.Build().Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func decodeDocument(t *testing.T, p []byte) document {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(p))
	d.UseNumber()
	var doc document
	if err := d.Decode(&doc); err != nil {
		t.Fatalf("%v in %q", err, p)
	}
	return doc
}

// qemuInfo returns what qemu-img says of an image, and whether it opens it.
func qemuInfo(t *testing.T, file string) (document, error) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := exec.CommandContext(t.Context(), "qemu-img", "info", "-f", "qcow2", "--output=json", file)
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("qemu-img info: %w: %s", err, stderr.Bytes())
	}
	info := decodeDocument(t, stdout.Bytes())
	ignoreQEMUKeys(info)
	return info, nil
}

// ignoreQEMUKeys removes the keys that we do not have on purpose. QEMU 7.2
// writes neither.
func ignoreQEMUKeys(info document) {
	// The files that QEMU opened for the image, not facts of the image.
	delete(info, "children")
	// Whether the LUKS header is in another file, which qcow2 cannot say.
	data, _ := lookup(info, "format-specific.data").(document)
	if encrypt, ok := data["encrypt"].(document); ok {
		delete(encrypt, "detached-header")
	}
}

// runDocument returns the JSON document of a command. The image must be fine.
func runDocument(t *testing.T, command, file string) document {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := Execute(t.Context(), Process{Args: []string{command, "-o", "json", file}, Stdout: &stdout, Stderr: &stderr})
	if code != 0 || stderr.Len() > 0 {
		t.Errorf("%s: exit status %d, want 0; standard error %q, want none", command, code, stderr.Bytes())
	}
	doc := decodeDocument(t, stdout.Bytes())
	if diff := cmp.Diff([]any{}, doc["errors"]); diff != "" {
		t.Errorf("%s: errors (-want +got):\n%s", command, diff)
	}
	return doc
}

// ourInfo returns what our three commands say of an image, in QEMU's words.
func ourInfo(t *testing.T, file string) document {
	t.Helper()
	return asQEMU(runDocument(t, "header", file), runDocument(t, "extensions", file), runDocument(t, "snapshots", file))
}

// compareWithQEMU holds our view of an image that QEMU must open against
// QEMU's.
func compareWithQEMU(t *testing.T, file string) {
	t.Helper()
	want, err := qemuInfo(t, file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, ourInfo(t, file)); diff != "" {
		t.Errorf("%s (-qemu-img +qinspect):\n%s", file, diff)
	}
}

// asQEMU puts our documents into the words of qemu-img info, which leaves out
// what an image does not have.
func asQEMU(header, extensions, snapshots document) document {
	info := pick(header, "filename", "format", "virtual-size", "actual-size", "cluster-size", "dirty-flag",
		"encrypted", "backing-filename", "full-backing-filename", "backing-filename-format")
	omitFalse(info, "encrypted")
	data := pick(header, "compat", "compression-type", "refcount-bits", "lazy-refcounts", "corrupt", "extended-l2",
		"data-file", "data-file-raw", "encrypt")
	if data["compat"] == "0.10" {
		omitFalse(data, "lazy-refcounts", "corrupt", "extended-l2")
	}
	if names, _ := lookup(header, "incompatible-features.names").([]any); !slices.Contains(names, any("data-file")) {
		omitFalse(data, "data-file-raw")
	}
	for _, x := range rows(extensions["extensions"]) {
		addExtension(data, x)
	}
	info["format-specific"] = document{"type": header["format"], "data": data}
	if list := rows(snapshots["snapshots"]); len(list) > 0 {
		info["snapshots"] = pickRows(list, "id", "name", "vm-state-size", "date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec", "icount")
	}
	return info
}

// addExtension adds what QEMU tells of a header extension beside the header:
// the bitmaps, unless they are out of date, and the LUKS header.
func addExtension(data, x document) {
	if lookup(x, "bitmap-directory.consistent") == true {
		data["bitmaps"] = pickRows(rows(x["bitmaps"]), "name", "granularity", "flags")
	}
	if luks, ok := x["encrypt"].(document); ok && lookup(data, "encrypt.format") == "luks" {
		encrypt := pick(luks, "format", "cipher-alg", "cipher-mode", "ivgen-alg", "ivgen-hash-alg", "hash-alg",
			"uuid", "payload-offset", "master-key-iters")
		encrypt["slots"] = pickRows(rows(luks["slots"]), "active", "iters", "key-offset", "stripes")
		data["encrypt"] = encrypt
	}
}

// pick returns an object with some keys of another, null left out. Keys that
// are missing come back as what no document holds.
func pick(from document, keys ...string) document {
	to := document{}
	for _, key := range keys {
		value, ok := from[key]
		if !ok {
			value = "qinspect has no key " + key
		}
		if value != nil {
			to[key] = value
		}
	}
	return to
}

func pickRows(from []document, keys ...string) []any {
	to := make([]any, len(from))
	for i, row := range from {
		to[i] = pick(row, keys...)
	}
	return to
}

func omitFalse(doc document, keys ...string) {
	maps.DeleteFunc(doc, func(key string, value any) bool { return value == false && slices.Contains(keys, key) })
}

// rows returns a list of objects, none for null.
func rows(list any) []document {
	var rows []document
	values, _ := list.([]any)
	for _, value := range values {
		rows = append(rows, value.(document))
	}
	return rows
}

// lookup returns the value at a path of keys and list indexes joined by dots,
// nil where there is none.
func lookup(doc any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch node := doc.(type) {
		case document:
			doc = node[key]
		case []any:
			i := int(key[0] - '0')
			if i >= len(node) {
				return nil
			}
			doc = node[i]
		default:
			return nil
		}
	}
	return doc
}

// checkHex checks that key has the text, and that KEY-hex has its bytes
// exactly when they are not UTF-8.
func checkHex(t *testing.T, row document, key, text string) {
	t.Helper()
	var want any
	if !utf8.ValidString(text) {
		want = hex.EncodeToString([]byte(text))
	}
	if got := row[key+"-hex"]; got != want {
		t.Errorf("%s-hex of %q is %v, want %v", key, text, got, want)
	}
}

// TestQEMUFlags has the images that say of themselves that they need a repair.
func TestQEMUFlags(t *testing.T) {
	needQEMU(t)
	for _, test := range []struct {
		image          string
		dirty, corrupt bool
	}{
		{"v3", false, false},
		{"dirty", true, false},
		{"corrupt", false, true},
	} {
		t.Run(test.image, func(t *testing.T) {
			file := filepath.Join("..", "testdata", "images", test.image+".qcow2")
			compareWithQEMU(t, file)
			header := runDocument(t, "header", file)
			if header["dirty-flag"] != test.dirty || header["corrupt"] != test.corrupt {
				t.Errorf("dirty-flag %v, corrupt %v, want %v, %v", header["dirty-flag"], header["corrupt"], test.dirty, test.corrupt)
			}
		})
	}
}

// TestQEMUFixtures compares the fixtures, all but the one that QEMU refuses.
func TestQEMUFixtures(t *testing.T) {
	needQEMU(t)
	files, err := filepath.Glob(filepath.Join("..", "testdata", "images", "*.qcow2"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d fixtures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			if filepath.Base(file) == "unknown-feature.qcow2" {
				if info, err := qemuInfo(t, file); err == nil {
					t.Errorf("qemu-img opens it: %v", info)
				}
				return
			}
			compareWithQEMU(t, file)
		})
	}
}

// TestQEMUCorpus compares every image of the corpus.
func TestQEMUCorpus(t *testing.T) {
	compareCorpus(t, func(file string) bool {
		t.Run(filepath.Base(file), func(t *testing.T) { compareWithQEMU(t, file) })
		return true
	})
}

// compareCorpus calls compare for every image that QEMU opens below the directory
// that QINSPECT_CORPUS names, if it names one. It wants one at least to be
// compared.
func compareCorpus(t *testing.T, compare func(file string) bool) {
	t.Helper()
	needQEMU(t)
	corpus, compared := os.Getenv("QINSPECT_CORPUS"), 0
	if corpus == "" {
		return
	}
	err := filepath.WalkDir(corpus, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		if _, err := qemuInfo(t, file); err != nil {
			t.Logf("not compared: %v", err)
		} else if compare(file) {
			compared++
		}
		return nil
	})
	if err != nil || compared == 0 {
		t.Errorf("%d images compared, %v", compared, err)
	}
}

// TestQEMUDifferences has the images of which QEMU and we say different things
// on purpose, and what both say.
func TestQEMUDifferences(t *testing.T) {
	const dataFileBit = 1 << 2
	snapshot := func(s qcow2test.Snapshot) qcow2test.Image {
		return qcow2test.Image{Size: 1 << 20, Snapshots: []qcow2test.Snapshot{s}}
	}
	text := func(extension uint32, text, backing string) qcow2test.Image {
		return qcow2test.Image{Size: 1 << 20, BackingFile: backing, Extensions: []qcow2test.Extension{{Type: extension, Data: []byte(text)}}}
	}
	dataFile := text(0x44415441, "data\x00.raw", "")
	dataFile.IncompatibleFeatures = dataFileBit
	noName := qcow2test.Image{Size: 1 << 20, Patches: map[string]uint64{"backing_file_offset": 512}}
	for name, test := range map[string]struct {
		image      qcow2test.Image
		path       string
		qemu, ours any
	}{
		// QEMU holds texts as C strings, some of a fixed size.
		"NUL in a snapshot's name":  {snapshot(qcow2test.Snapshot{Name: "a\x00b"}), "snapshots.0.name", "a", "a\x00b"},
		"NUL in a snapshot's id":    {snapshot(qcow2test.Snapshot{ID: "a\x00b"}), "snapshots.0.id", "a", "a\x00b"},
		"long name":                 {snapshot(qcow2test.Snapshot{Name: strings.Repeat("n", 300)}), "snapshots.0.name", strings.Repeat("n", 255), strings.Repeat("n", 300)},
		"long id":                   {snapshot(qcow2test.Snapshot{ID: strings.Repeat("i", 200)}), "snapshots.0.id", strings.Repeat("i", 127), strings.Repeat("i", 200)},
		"NUL in a backing name":     {qcow2test.Image{Size: 1 << 20, BackingFile: "a\x00b"}, "backing-filename", "a", "a\x00b"},
		"NUL in a backing format":   {text(0xe2792aca, "raw\x00\x00", "base"), "backing-filename-format", "raw", "raw\x00\x00"},
		"NUL in a data file's name": {dataFile, "format-specific.data.data-file", "data", "data\x00.raw"},
		// Noncharacters are valid UTF-8, C0 80 is not.
		"noncharacter": {snapshot(qcow2test.Snapshot{Name: "\ufffe\ufdd0"}), "snapshots.0.name", "\ufffd\ufffd", "\ufffe\ufdd0"},
		"modified NUL": {snapshot(qcow2test.Snapshot{Name: "\xc0\x80"}), "snapshots.0.name", "\x00", "\ufffd"},
		// The numbers have no sign; QEMU's JSON takes them for signed ones.
		"large VM state": {snapshot(qcow2test.Snapshot{VMStateSize: 1 << 63}), "snapshots.0.vm-state-size", json.Number("-9223372036854775808"), json.Number("9223372036854775808")},
		"large icount":   {snapshot(qcow2test.Snapshot{ICount: 1 << 63}), "snapshots.0.icount", json.Number("-9223372036854775808"), json.Number("9223372036854775808")},
		// What the image says is shown also where nothing comes of it.
		"format without backing file": {text(0xe2792aca, "raw", ""), "backing-filename-format", nil, "raw"},
		"raw without a data file":     {qcow2test.Image{Size: 1 << 20, AutoclearFeatures: 1 << 1}, "format-specific.data.data-file-raw", nil, true},
		"empty backing name":          {noName, "backing-filename", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := newQEMUFolder(t).build(t, test.image)
			qemu, err := qemuInfo(t, file)
			if err != nil {
				t.Fatal(err)
			}
			got := []any{lookup(qemu, test.path), lookup(ourInfo(t, file), test.path)}
			if diff := cmp.Diff([]any{test.qemu, test.ours}, got); diff != "" {
				t.Errorf("%s of qemu-img and of qinspect (-want +got):\n%s", test.path, diff)
			}
		})
	}
}
