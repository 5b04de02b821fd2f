package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/qinspect/qinspect/cmd"
)

// everyCommand is the commands that read an image, each with the flags that have
// it read most.
var everyCommand = [][]string{
	{"header"}, {"extensions"}, {"snapshots"}, {"guest", "--all"}, {"host", "--owners"}, {"check"}, {"audit", "--content"}, {"usage"}, {"dump", "--host", "--guest"},
	{"bitmaps"}, {"dirty", "--bitmap", "@0", "--all"}, {"plot", "--squares", "100"}, {"chain", "--follow"},
	{"decode", "--kind", "l2-table", "--all"}, {"decode", "--at", "#2", "--per-entry"},
	{"diff", "--from", "active", "--all"}, {"diff", "--from", "@0", "--all"},
}

// label names one of everyCommand.
func label(args []string) string {
	if args[0] == "diff" || args[0] == "decode" {
		return strings.Join(args[:3], " ")
	}
	return args[0]
}

// A ran is what a command did.
type ran struct {
	code           int
	stdout, stderr string
}

// runOn runs a command on an image.
func runOn(t *testing.T, image string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cmd.Execute(t.Context(), cmd.Process{Args: append(args, image), Stdout: &stdout, Stderr: &stderr})
	return ran{code, stdout.String(), strings.ReplaceAll(stderr.String(), "qinspect: "+image+": ", "")}
}

// holdText holds what is true of everything that is printed for people: the exit
// status is one of those that an image can cause, and nothing reaches the
// terminal but text.
func holdText(t *testing.T, name string, r ran) {
	t.Helper()
	if r.code < 0 || r.code > 3 {
		t.Errorf("%s: exit status %d", name, r.code)
	}
	if text := r.stdout + r.stderr; strings.ContainsFunc(text, func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
		t.Errorf("%s prints a control character: %q", name, text)
	}
}

// holdJSON runs a command for programs: it prints one valid document, or lines
// that are valid. There are errors where nothing could be shown, and none where
// all is fine; what is damaged can be in the document itself, as all of a scan is.
func holdJSON(t *testing.T, name, image string, args []string) {
	t.Helper()
	r := runOn(t, image, append(slices.Clone(args), "-o", "json")...)
	var doc struct {
		Errors []json.RawMessage
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatalf("%s: %s -o json: %v\n%s", name, args[0], err, r.stdout)
	}
	inRows := args[0] == "scan" && len(doc.Errors) == 0
	if doc.Errors == nil || !inRows && (r.code == 0 && len(doc.Errors) > 0 || r.code == 1 && len(doc.Errors) == 0) {
		t.Errorf("%s: %s -o json: exit status %d, %d errors", name, args[0], r.code, len(doc.Errors))
	}
	r = runOn(t, image, append(slices.Clone(args), "-o", "ndjson")...)
	if !strings.HasSuffix(r.stdout, "}\n") {
		t.Errorf("%s: %s -o ndjson: no last line: %s", name, args[0], r.stdout)
	}
	for line := range strings.Lines(r.stdout) {
		if !json.Valid([]byte(line)) {
			t.Errorf("%s: %s -o ndjson: no valid line: %s", name, args[0], line)
		}
	}
}

// holdCommand runs a command in every format.
func holdCommand(t *testing.T, name, image string, args []string) {
	t.Helper()
	for _, format := range []string{"table", "plain"} {
		holdText(t, name+": "+label(args), runOn(t, image, append(slices.Clone(args), "-o", format)...))
	}
	holdJSON(t, name, image, args)
}
