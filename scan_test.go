package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestScanSchema validates what scan writes of healthy and broken images, as JSON and
// as NDJSON, which must hold the same.
func TestScanSchema(t *testing.T) {
	images := imagesToValidate(t)
	schema := jsonschema.NewCompiler().MustCompile(schemaFile("scan"))
	names := filepath.Join(t.TempDir(), "names")
	if err := os.WriteFile(names, []byte("\x00"+strings.Join(images, "\x00")), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"scan", "--files0-from", names}
	pretty, _, _ := execute(t, append(args, "-o", "json")...)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(pretty))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%#v", err)
	}
	lines, _, _ := execute(t, append(args, "-o", "ndjson")...)
	document := maps.Clone(doc.(map[string]any))
	want := append(document["images"].([]any), document)
	delete(document, "images")
	got := parseLines(t, lines)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-by the json document +ndjson):\n%s", diff)
	}
	for _, line := range got {
		if err := schema.Validate(line); err != nil {
			t.Errorf("%#v\n%s", err, line)
		}
	}
	seen := map[string]bool{}
	markValues(seen, "", doc)
	for _, p := range slices.Sorted(maps.Keys(schemaPaths(documentSchema("scan")))) {
		// Names that were given have no section and no offset.
		if !seen[p] && !slices.Contains([]string{"filename", "filename-hex", "errors[].section", "errors[].offset"}, p) {
			t.Errorf("no document has a value for %s", p)
		}
	}
	whole := doc.(map[string]any)
	whole["images"] = whole["images"].([]any)[:2]
	bites(t, documentSchema("scan"), "scan", whole) // without images it is the last line of ndjson
	for i, line := range got {
		if i < 3 || i == len(got)-1 {
			bites(t, schema, fmt.Sprint("scan line ", i), line)
		}
	}
}

// TestScanNumbers: a row has the numbers of check and of usage, and its status goes
// with the exit status of check.
func TestScanNumbers(t *testing.T) {
	statuses := map[string]int{"ok": 0, "leaks": 3, "errors": 2, "unsupported": 1, "not-qcow2": 1, "unreadable": 1}
	seen := map[string]bool{}
	for _, image := range imagesToValidate(t) {
		if info, err := os.Stat(image); err == nil && info.IsDir() {
			continue // of images
		}
		var scan struct {
			Images []map[string]any
			Totals map[string]any
		}
		check, usage := map[string]any{}, map[string]any{}
		decode := func(into any, command string) int {
			out, _, code := execute(t, command, image, "-o", "json")
			if err := json.Unmarshal([]byte(out), into); err != nil {
				t.Fatal(image, command, err)
			}
			return code
		}
		code, checked := decode(&scan, "scan"), decode(&check, "check")
		decode(&usage, "usage")
		row := scan.Images[0]
		status := row["status"].(string)
		seen[status] = true
		if unusable := checked == 1 && status == "errors" && check["corruptions"] == nil; code != statuses[status] || code != checked && !unusable {
			t.Errorf("%s: status %s, exit status %d, that of check %d", image, status, code, checked)
		}
		want := map[string]any{}
		for _, key := range []string{"image-end-offset", "corruptions", "leaks", "check-errors", "changed", "open-elsewhere"} {
			want[key] = check[key]
		}
		want["snapshots-only"] = usage["snapshots-only"]
		want["free-bytes"], want["leaked-bytes"] = nil, nil
		if free, ok := usage["free"].(map[string]any); ok {
			want["free-bytes"], want["leaked-bytes"] = free["bytes"], 0.0
			for _, kind := range usage["kinds"].([]any) {
				if k := kind.(map[string]any); k["kind"] == "leaked" {
					want["leaked-bytes"] = k["bytes"]
				}
			}
		}
		got := map[string]any{}
		for key := range want {
			got[key] = row[key]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-check and usage +scan):\n%s", image, diff)
		}
		for _, key := range []string{"virtual-size", "file-size", "actual-size", "snapshots-only", "free-bytes", "leaked-bytes"} {
			want := row[key]
			if want == nil {
				want = 0.0
			}
			if scan.Totals[key] != want {
				t.Errorf("%s: the total of %s is %v, want %v", image, key, scan.Totals[key], want)
			}
		}
	}
	for status := range statuses {
		if !seen[status] {
			t.Errorf("no image has the status %s", status)
		}
	}
}

// TestScanMalformed scans images that are broken in every way that is known, found in
// a directory: each has a row, whose status and numbers are those of the library, and
// nothing reaches a terminal but text.
func TestScanMalformed(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{}
	for name, b := range qcow2test.Malformed() {
		path := filepath.Join(dir, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(path, b.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		if errors.Is(err, qcow2.ErrNotQcow2) {
			continue // was only found in the directory
		}
		want[path] = scanned(t, img, err)
	}
	stdout, _, code := execute(t, "scan", dir, "-o", "json")
	var scan struct {
		Images []struct {
			Filename, Status   string
			Corruptions, Leaks *uint64
			End                *uint64 `json:"image-end-offset"`
			Only               *uint64 `json:"snapshots-only"`
		}
	}
	if err := json.Unmarshal([]byte(stdout), &scan); err != nil || code != 1 {
		t.Fatal(err, code)
	}
	number := func(n *uint64) string {
		if n == nil {
			return "unknown"
		}
		return fmt.Sprint(*n)
	}
	got := map[string]string{}
	for _, r := range scan.Images {
		got[r.Filename] = fmt.Sprintf("%s, errors %s, leaks %s, end %s, snapshots hold %s", r.Status, number(r.Corruptions), number(r.Leaks), number(r.End), number(r.Only))
	}
	if diff := cmp.Diff(want, got); diff != "" || len(got) < 300 {
		t.Errorf("%d rows (-library +scan):\n%s", len(got), diff)
	}
	for _, format := range []string{"table", "plain"} {
		stdout, stderr, code := execute(t, "scan", dir, "-o", format)
		holdText(t, format, ran{code, stdout, stderr})
	}
}

// scanned returns the row of an image in words.
func scanned(t *testing.T, img *qcow2.Image, err error) string {
	t.Helper()
	status := "ok"
	switch {
	case errors.Is(err, qcow2.ErrUnsupported):
		status = "unsupported"
	case err != nil:
		status = "unreadable"
	case img.Supported() != nil:
		if status = "errors"; errors.Is(img.Supported(), qcow2.ErrUnsupported) {
			status = "unsupported"
		}
	}
	if status != "ok" {
		return status + ", errors unknown, leaks unknown, end unknown, snapshots hold unknown"
	}
	check, err := img.Check(t.Context(), qcow2.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hidden := false
	usage, err := img.Usage(t.Context(), qcow2.UsageOptions{Damage: func(error) { hidden = true }})
	if err != nil {
		t.Fatal(err)
	}
	only := fmt.Sprint(usage.SnapshotsOnly)
	if hidden || usage.DamagedClusters > 0 || usage.Owners == nil {
		only = "unknown"
	}
	switch {
	case check.Corruptions > 0:
		status = "errors"
	case check.Leaks > 0:
		status = "leaks"
	}
	return fmt.Sprintf("%s, errors %d, leaks %d, end %d, snapshots hold %s", status, check.Corruptions, check.Leaks, check.ImageEndOffset, only)
}
