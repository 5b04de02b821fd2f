package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// documented are the commands that have a JSON Schema and a chapter in
// docs/json.md.
var documented = []string{"header", "extensions", "snapshots", "guest", "host", "check", "audit", "usage", "bitmaps", "dirty", "diff", "decode", "plot", "chain"}

// streamed are the commands whose NDJSON has a line for each row of a list, and
// the key of that list.
var streamed = map[string]string{"guest": "guest", "host": "host", "dirty": "dirty", "diff": "diff", "decode": "decode", "plot": "squares"}

// closing are the keys of the last line that such a command writes, besides those of
// all documents.
var closing = map[string][]string{
	"diff": {"from", "from-hex", "from-size", "to", "to-hex", "to-size", "totals"},
	"plot": {"classes", "scatter", "owners", "free"},
}

// flagsOf are the flags with which a command is run, one run after the other,
// so that each of its keys gets a value. {dir} is the directory of the image.
var flagsOf = map[string][][]string{
	"header": {nil}, "extensions": {nil}, "snapshots": {nil},
	"guest": {{"--all"}, {"--per-cluster"}, {"--snapshot", "@0", "--vm-state"}, {"--follow", "--all"}},
	"chain": {nil, {"--follow"}, {"--dependents", "{dir}"}},
	"host":  {nil, {"--owners", "--per-cluster"}},
	"check": {nil}, "audit": {nil, {"--content", "--policy", "strict", "--max-virtual-size", "1M"}, {"--declared", "raw"}}, "usage": {nil, {"--without", "@0"}}, "plot": {{"--squares", "20"}},
	"decode": {
		{"--kind", "l2-table"}, {"--kind", "l1-table", "--snapshot", "@0"}, {"--kind", "snapshot-table"}, {"--kind", "bitmap-table", "--bitmap", "@0"},
		{"--at", "#7", "--kind", "refcount-block"},
	},
	"diff":    {{"--from", "active", "--all"}, {"--from", "@0"}, {"--from", "active", "--to", "@0"}},
	"bitmaps": {nil}, "dirty": {{"--bitmap", "@0", "--all"}, {"--bitmap", "frozen"}, {"--bitmap", "frozen", "--follow"}},
}

// brokenImages are fixtures with bytes changed, or cut: what they must still
// do is give a document that the schema allows. Together with the fixtures
// they give every key of the schemas a value.
var brokenImages = []struct {
	name, fixture string
	size          int64            // cut to this many bytes; 0: not, -1: to none
	patches       map[int64]string // offset → bytes in hexadecimal
}{
	{name: "empty file", fixture: "v3", size: -1},
	{name: "cut in the magic", fixture: "v3", size: 4},
	{name: "cut in the version 2 header", fixture: "v3", size: 71},
	{name: "cut after the version 2 header", fixture: "v3", size: 72},
	{name: "cut in the version 3 header", fixture: "v3", size: 103},
	{name: "cut after the version 3 header", fixture: "v3", size: 104},
	{name: "cut before the extensions", fixture: "v3", size: 112},
	{name: "cut in an extension", fixture: "backing", size: 124},
	{name: "cut in the feature names", fixture: "extended-l2", size: 300},
	{name: "cut in the LUKS header", fixture: "luks", size: 0x4100},
	{name: "cut in the snapshot table", fixture: "snapshots", size: 0x5e60},
	{name: "cut before the bitmap directory", fixture: "bitmaps", size: 0x3000},
	{name: "version 4", fixture: "v3", patches: map[int64]string{4: "00000004"}},
	{name: "cluster_bits 63", fixture: "backing", patches: map[int64]string{20: "0000003f"}},
	{name: "refcount_order 7", fixture: "v3", patches: map[int64]string{96: "00000007"}},
	{name: "header_length", fixture: "v3", patches: map[int64]string{100: "fffffff8"}},
	{name: "long header", fixture: "v3", patches: map[int64]string{100: "000000a0", 112: strings.Repeat("ab", 48)}},
	{name: "l1_size", fixture: "v3", patches: map[int64]string{36: "ffffffff"}},
	{name: "size", fixture: "v3", patches: map[int64]string{24: "ffffffffffffffff"}},
	{name: "nb_snapshots", fixture: "snapshots", patches: map[int64]string{60: "ffffffff"}},
	{name: "offsets", fixture: "v3", patches: map[int64]string{8: strings.Repeat("ff", 8), 40: strings.Repeat("ff", 20)}},
	{name: "methods", fixture: "v3", patches: map[int64]string{32: "00000003", 104: "ff"}},
	{name: "features", fixture: "v3", patches: map[int64]string{72: strings.Repeat("ff", 24)}},
	{name: "backing name", fixture: "backing", patches: map[int64]string{136: "ff1b", 120: "fe"}},
	{name: "\xff\x1bse.qcow2", fixture: "base"}, // which "backing name" names
	{name: "over\xff", fixture: "backing"},
	{name: "data file name", fixture: "data-file", patches: map[int64]string{120: "ff"}},
	{name: "feature name", fixture: "unknown-feature", patches: map[int64]string{120: "0901fffe", 0x1ca: "ff"}},
	{name: "unknown extension", fixture: "v3", patches: map[int64]string{112: "1234567800000024" + strings.Repeat("cd", 36)}},
	{name: "extension length", fixture: "bitmaps", patches: map[int64]string{0x74: "00000010"}},
	{name: "bitmaps", fixture: "bitmaps", patches: map[int64]string{0x3a0c: "ffffffff0240", 0x3a18: "ff"}},
	{name: "bitmap directory", fixture: "bitmaps", patches: map[int64]string{0x88: "7fffffffffffffff"}},
	{name: "bitmap in use", fixture: "bitmaps", patches: map[int64]string{0x3a0c: "00000003"}},
	{name: "bitmaps stale", fixture: "bitmaps", patches: map[int64]string{95: "00"}},
	{name: "bitmap table entry", fixture: "bitmaps", patches: map[int64]string{0x2c00: "0000000000000003"}},
	{name: "bitmap without a mapping", fixture: "bitmaps", patches: map[int64]string{40: "0000000000000001"}},
	{name: "bitmaps and a data file", fixture: "bitmaps", patches: map[int64]string{79: "04", 144: "4441544100000001ff"}},
	{name: "bitmap name", fixture: "bitmaps", patches: map[int64]string{0x3a18: "ff"}},
	{name: "LUKS magic", fixture: "luks", patches: map[int64]string{0x4000: "00"}},
	{name: "LUKS version 2", fixture: "luks", patches: map[int64]string{0x4006: "0002"}},
	{name: "LUKS text", fixture: "luks", patches: map[int64]string{0x4008: "ff", 0x4028: "ff2dff3aff00", 0x4048: "ff", 0x40a8: "ff", 0x40d0: "00000001"}},
	{name: "snapshot text", fixture: "snapshots", patches: map[int64]string{0x5e40: "ffff", 0x5e10: strings.Repeat("ff", 16)}},
	{name: "snapshot extra data", fixture: "snapshots", patches: map[int64]string{0x5e0c: "00010001", 0x5e24: "0000001c", 0x5e38: strings.Repeat("ff", 12)}},
	{name: "snapshot in metadata", fixture: "snapshots", patches: map[int64]string{0x5e40: "ff", 0x2a08: "0000000000000400"}},
	{name: "snapshot L1 table", fixture: "snapshots", patches: map[int64]string{0x5e00: strings.Repeat("ff", 12)}},
	{name: "L1 entry", fixture: "v3", patches: map[int64]string{0x3000: "ff00000000004001"}},
	{name: "L2 table past the end", fixture: "v3", patches: map[int64]string{0x3000: "8000000000100000"}},
	{name: "cut in an L2 table", fixture: "v3", size: 0x401c},
	{name: "L2 entries", fixture: "v3", patches: map[int64]string{0x4000: "800000000000520080000000001000008000000000003000", 0x4100: "c100000000900000"}},
	{name: "subclusters", fixture: "extended-l2", patches: map[int64]string{0x10008: "00ff000100000f03"}},
	{name: "snapshot without its L1 table", fixture: "evil-names", patches: map[int64]string{48: "0000000000000000"}},
	{name: "refcounts", fixture: "snapshots", patches: map[int64]string{0x408: "00000009", 0x5e40: "ff"}},
	{name: "data file offsets", fixture: "data-file", patches: map[int64]string{0x4008: "80000000000030004000000000005000"}},
}

// imagesToValidate returns the fixtures, files that are no images, one that
// does not exist, with a name that is not UTF-8, and the broken images.
func imagesToValidate(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixtures)); err != nil {
		t.Fatal(err)
	}
	for _, b := range brokenImages {
		p, err := os.ReadFile(filepath.Join(dir, b.fixture+".qcow2"))
		if err != nil {
			t.Fatal(err)
		}
		if b.size != 0 {
			p = p[:max(b.size, 0)]
		}
		for offset, digits := range b.patches {
			patch, err := hex.DecodeString(digits)
			if err != nil || copy(p[offset:], patch) != len(patch) {
				t.Fatalf("%s: patch at %#x does not fit", b.name, offset)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, b.name), p, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	names := []string{filepath.Join(dir, "missing\xff"), dir}
	for name := range hashes(t, dir) {
		names = append(names, filepath.Join(dir, name))
	}
	slices.Sort(names)
	return names
}

func schemaFile(command string) string {
	return filepath.Join("docs", "schema", command+".schema.json")
}

// TestSchema validates what each command writes, as JSON and as NDJSON, for
// every image.
func TestSchema(t *testing.T) {
	images := imagesToValidate(t)
	for _, command := range documented {
		t.Run(command, func(t *testing.T) {
			schema := jsonschema.NewCompiler().MustCompile(schemaFile(command))
			seen := map[string]bool{}
			for _, image := range images {
				for _, flags := range flagsOf[command] {
					markValues(seen, "", validDocument(t, schema, command, image, flags...))
				}
			}
			for _, p := range slices.Sorted(maps.Keys(schemaPaths(documentSchema(command)))) {
				elsewhere := command == "audit" && (p == "errors[].section" || p == "errors[].offset") // in its findings
				if !seen[p] && !elsewhere {
					t.Errorf("no document has a value for %s", p)
				}
			}
		})
	}
}

// documentSchema returns the schema of a whole document.
func documentSchema(command string) *jsonschema.Schema {
	return jsonschema.NewCompiler().MustCompile(schemaFile(command) + "#/$defs/document")
}

// validDocument runs the command in both formats, which must hold the same
// document, one that the schema allows and the exit status agrees with. The
// schema must allow each line, too.
func validDocument(t *testing.T, schema *jsonschema.Schema, command, image string, flags ...string) any {
	t.Helper()
	args := slices.Concat([]string{command, image}, flags)
	for i, arg := range args {
		args[i] = strings.Replace(arg, "{dir}", filepath.Dir(image), 1)
	}
	pretty, _, code := execute(t, append(args, "-o", "json")...)
	lines, _, lineCode := execute(t, append(args, "-o", "ndjson")...)
	name := fmt.Sprint(command, flags, filepath.Base(image))
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(pretty))
	if err != nil {
		t.Fatalf("%s: %v in\n%s", name, err, pretty)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%s: %#v\n%s", name, err, pretty)
	}
	got := parseLines(t, lines)
	if diff := cmp.Diff(wantLines(command, doc), got); diff != "" {
		t.Errorf("%s: lines (-by the json document +ndjson):\n%s", name, diff)
	}
	for _, line := range got {
		if err := schema.Validate(line); err != nil {
			t.Errorf("%s: %#v\n%s", name, err, line)
		}
	}
	keys := topLevelKeys(t, pretty)
	ends := slices.Concat(keys[:3], keys[len(keys)-3:])
	if got, want := strings.Join(ends, " "), "schema filename filename-hex changed open-elsewhere errors"; got != want {
		t.Errorf("%s: the first three keys and the last three are %q, want %q", name, got, want)
	}
	errs, _ := doc.(map[string]any)["errors"].([]any)
	if command == "check" && (code == 2 || code == 3) || command == "audit" && code == 2 {
		return doc // its problems, or findings, are the answer, not errors
	}
	if code != lineCode || (code == 0) != (len(errs) == 0) || (code == 1) != (len(keys) == len(ends)) {
		t.Errorf("%s: exit status %d, with ndjson %d, with %d keys and %d errors", name, code, lineCode, len(keys), len(errs))
	}
	return doc
}

// parseLines returns the JSON values of lines that each hold one.
func parseLines(t *testing.T, lines string) []any {
	t.Helper()
	var values []any
	for line := range strings.Lines(lines) {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
		if err != nil || !strings.HasSuffix(line, "\n") {
			t.Fatalf("%v, in %q", err, line)
		}
		values = append(values, value)
	}
	return values
}

// wantLines returns the lines that a document is in NDJSON: itself, or where rows
// are streamed each of them, and what comes after them in the document.
func wantLines(command string, doc any) []any {
	document := doc.(map[string]any)
	list, ok := streamed[command]
	if !ok {
		return []any{doc}
	}
	var lines []any
	rows, _ := document[list].([]any)
	for _, row := range rows {
		line := maps.Clone(row.(map[string]any))
		line["filename"] = document["filename"]
		lines = append(lines, line)
	}
	end := map[string]any{}
	for _, key := range []string{"schema", "filename", "filename-hex", "changed", "open-elsewhere", "errors"} {
		end[key] = document[key]
	}
	for _, key := range closing[command] {
		if value, ok := document[key]; ok { // else nothing could be shown
			end[key] = value
		}
	}
	return append(lines, end)
}

// topLevelKeys returns the keys of a document in their order.
func topLevelKeys(t *testing.T, doc string) []string {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(doc))
	if _, err := d.Token(); err != nil { // the brace
		t.Fatal(err)
	}
	var keys []string
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
	}
	return keys
}

// TestSchemaBites shows that the schemas are strict: a document from which a
// key is taken, to which one is added, or in which a value is of another type
// is refused, wherever in the document that is.
func TestSchemaBites(t *testing.T) {
	for command, images := range map[string][]string{
		"header":     {"data-file.qcow2", "luks.qcow2", "unknown-feature.qcow2", "README.md"},
		"extensions": {"bitmaps.qcow2", "extended-l2.qcow2", "luks.qcow2", "README.md"},
		"snapshots":  {"evil-names.qcow2", "README.md"},
		"guest":      {"v3.qcow2", "data-file.qcow2", "extended-l2.qcow2", "README.md"},
		"host":       {"snapshots.qcow2", "bitmaps.qcow2", "README.md"},
		"check":      {"corrupt.qcow2", "README.md"},
		"usage":      {"snapshots.qcow2", "bitmaps.qcow2", "README.md"},
		"decode":     {"tables.qcow2", "README.md"},
		"diff":       {"snapshots.qcow2", "README.md"},
		"bitmaps":    {"bitmaps.qcow2", "README.md"},
		"dirty":      {"bitmaps.qcow2", "README.md"},
		"plot":       {"snapshots.qcow2", "README.md"},
		"chain":      {"backing.qcow2", "base.qcow2", "data-file.qcow2", "README.md"},
	} {
		schema := jsonschema.NewCompiler().MustCompile(schemaFile(command))
		for _, image := range images {
			for _, flags := range flagsOf[command] {
				doc := validDocument(t, schema, command, filepath.Join(fixtures, image), flags...)
				bites(t, schema, fmt.Sprint(command, flags, image), doc)
				for i, line := range wantLines(command, doc) {
					bites(t, schema, fmt.Sprint(command, flags, image, " line ", i), line)
				}
			}
		}
	}
}

// bites shows that every change of a document is refused.
func bites(t *testing.T, schema *jsonschema.Schema, name string, doc any) {
	t.Helper()
	n := 0
	mutate("", doc, func(what string) {
		n++
		if schema.Validate(doc) == nil {
			t.Errorf("%s: %s is not refused", name, what)
		}
	})
	if n < 7 {
		t.Errorf("%s: only %d mutations", name, n)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%s: not restored after the mutations: %v", name, err)
	}
}

// mutate changes the document in each way, one at a time, calls check with a
// description, and takes the change back.
func mutate(path string, v any, check func(what string)) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			mutate(fmt.Sprintf("%s[%d]", path, i), v[i], check)
		}
	case map[string]any:
		v["additional"] = nil
		check("an additional key in " + path)
		delete(v, "additional")
		for _, key := range slices.Sorted(maps.Keys(v)) {
			value := v[key]
			delete(v, key)
			check(path + "." + key + " missing")
			v[key] = map[string]any{"an": "object"}
			check(path + "." + key + " as another object")
			v[key] = value
			mutate(path+"."+key, value, check)
		}
	}
}

// markValues records the path of each value of a document that is not null:
// "l1-table.offset", "fields[].name".
func markValues(seen map[string]bool, path string, v any) {
	switch v := v.(type) {
	case nil:
		return
	case []any:
		for _, value := range v {
			markValues(seen, path+"[]", value)
		}
	case map[string]any:
		for key, value := range v {
			markValues(seen, strings.TrimPrefix(path+"."+key, "."), value)
		}
	}
	seen[path] = true
}

// schemaPaths returns the path of each key that a schema defines, with its
// types as docs/json.md writes them: "integer or null".
func schemaPaths(s *jsonschema.Schema) map[string]string {
	paths := map[string]string{}
	var walk func(path string, s *jsonschema.Schema)
	walk = func(path string, s *jsonschema.Schema) {
		if s.Ref != nil {
			walk(path, s.Ref)
		}
		for _, s := range s.OneOf {
			walk(path, s)
		}
		for key, property := range s.Properties {
			key = strings.TrimPrefix(path+"."+key, ".")
			types := property.Types.ToStrings()
			if i := slices.Index(types, "null"); i >= 0 {
				types = append(slices.Delete(types, i, i+1), "null")
			}
			paths[key] = strings.Join(types, " or ")
			walk(key, property)
		}
		if s.Items2020 != nil {
			walk(path+"[]", s.Items2020)
		}
	}
	walk("", s)
	return paths
}
