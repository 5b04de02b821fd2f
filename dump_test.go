package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestDumpDocument: the parts of the document of dump are those of the other
// commands, and its schema allows it, for every image.
func TestDumpDocument(t *testing.T) {
	schema := jsonschema.NewCompiler().MustCompile(schemaFile("dump"))
	for _, image := range imagesToValidate(t) {
		out, _, code := execute(t, "dump", "--host", "--guest", "-o", "json", image)
		line, _, lineCode := execute(t, "dump", "--host", "--guest", "-o", "ndjson", image)
		doc := parseDocument(t, out)
		name := filepath.Base(image)
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %#v", name, err)
		}
		if diff := cmp.Diff(doc, parseDocument(t, line)); diff != "" || code != lineCode || strings.Count(line, "\n") != 1 {
			t.Errorf("%s: exit status %d, with ndjson %d (-json +ndjson):\n%s", name, code, lineCode, diff)
		}
		if doc["header"] == nil {
			continue
		}
		for command, part := range map[string]any{"extensions": doc["extensions"], "snapshots": doc["snapshots"], "host": doc["host"], "guest": doc["guest"]} {
			alone, _, _ := execute(t, command, "-o", "json", image)
			if diff := cmp.Diff(parseDocument(t, alone)[command], part); diff != "" {
				t.Errorf("%s: (-%s +dump):\n%s", name, command, diff)
			}
		}
		alone, _, _ := execute(t, "header", "-o", "json", image)
		header := parseDocument(t, alone)
		for _, key := range []string{"schema", "filename", "filename-hex", "changed", "open-elsewhere", "errors"} {
			delete(header, key)
		}
		if diff := cmp.Diff(any(header), doc["header"]); diff != "" {
			t.Errorf("%s: (-header +dump):\n%s", name, diff)
		}
	}
}

// TestDumpParts: what is not asked for is null.
func TestDumpParts(t *testing.T) {
	out, _, _ := execute(t, "dump", "-o", "json", filepath.Join(fixtures, "v3.qcow2"))
	for _, key := range []string{"host", "guest"} {
		if v, ok := parseDocument(t, out)[key]; v != nil || !ok {
			t.Errorf("%s: %v, want null", key, v)
		}
	}
}

func parseDocument(t *testing.T, out string) map[string]any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(out))
	if err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return doc.(map[string]any)
}
