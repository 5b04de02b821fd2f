package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	chapter = regexp.MustCompile(`(?m)^## (.*)$`)
	keyRow  = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([a-z ]+) \\|.*\\| ([^|]*)\\|$")
)

// TestJSONDocumentation holds docs/json.md against the schemas: its tables
// have every key with its types, and no other, and say when a key is null that
// can be.
func TestJSONDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]map[string]string{} // chapter → key → types
	headings := chapter.FindAllSubmatchIndex(text, -1)
	for i, h := range headings {
		end := len(text)
		if i+1 < len(headings) {
			end = headings[i+1][0]
		}
		rows := map[string]string{}
		for _, row := range keyRow.FindAllSubmatch(text[h[1]:end], -1) {
			key, types, null := string(row[1]), string(bytes.TrimSpace(row[2])), bytes.TrimSpace(row[3])
			rows[key] = types
			if strings.Contains(types, "null") != (len(null) > 0) {
				t.Errorf("docs/json.md: when %s, of type %s, is null: %q", key, types, null)
			}
		}
		tables[string(text[h[2]:h[3]])] = rows
	}
	const shared, aboutImages = "What all documents share", "What documents about an image share"
	for _, command := range append(documented, "scan", "config") {
		if tables[command] == nil {
			t.Fatalf("docs/json.md has no chapter %q", command)
		}
		got := maps.Clone(tables[shared])
		if slices.Contains(documented, command) {
			maps.Copy(got, tables[aboutImages])
		}
		maps.Copy(got, tables[command])
		want := schemaPaths(documentSchema(command))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys of %s (-schema +docs/json.md):\n%s", command, diff)
		}
	}
}
