package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// malformedGolden says, for every malformed image, what each command prints and
// its exit status. `go test -update .` rewrites it.
const malformedGolden = "testdata/malformed.txt"

// malformedFile writes an image to the current directory.
func malformedFile(t *testing.T, b *qcow2test.Built) string {
	t.Helper()
	const name = "image.qcow2"
	if err := os.WriteFile(name, b.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// firstLines returns the first lines of a text, indented, and how many more
// there are.
func firstLines(text string, n int) string {
	var b strings.Builder
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i, line := range lines {
		if i == n {
			fmt.Fprintf(&b, "      and %d lines more\n", len(lines)-n)
			break
		}
		if line != "" {
			fmt.Fprintf(&b, "      %s\n", line)
		}
	}
	return b.String()
}

// printed returns what matters of what a command printed: complaints, what check
// found, and why audit rejects.
func printed(command string, r ran) string {
	text := r.stderr
	if rules := rejectingRules(r.stdout); command == "audit" && len(rules) > 0 {
		text += "reject " + strings.Join(rules, ", ") + "\n"
	}
	if at := strings.Index(r.stdout, "result: "); command == "check" && at >= 0 {
		text += r.stdout[:at]
		for line := range strings.Lines(r.stdout[at:]) {
			if strings.HasPrefix(line, "result: ") {
				text = line + text
			}
		}
	}
	return fmt.Sprintf("%d\n%s", r.code, firstLines(text, 6))
}

// rejectingRules returns the rules for which audit rejects an image, by its plain
// lines.
func rejectingRules(stdout string) []string {
	var rules []string
	for line := range strings.Lines(stdout) {
		rule, _, _ := strings.Cut(line, ": ")
		if rule, ok := strings.CutPrefix(rule, "reject "); ok && !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
	}
	return rules
}

// TestMalformed runs every command on every malformed image. All must end with
// an exit status from 0 to 3, print nothing that could reach the terminal, and
// print what the golden file says.
func TestMalformed(t *testing.T) {
	golden, err := filepath.Abs(malformedGolden)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var got strings.Builder
	n := 0
	for name, b := range qcow2test.Malformed() {
		n++
		image := malformedFile(t, b)
		fmt.Fprintf(&got, "%s\n", name)
		var texts []string
		commands := map[string][]string{} // that print a text
		for _, args := range everyCommand {
			r := runOn(t, image, append(slices.Clone(args), "-o", "plain")...)
			holdText(t, name+": "+label(args), r)
			text := printed(args[0], r)
			if commands[text] == nil {
				texts = append(texts, text)
			}
			commands[text] = append(commands[text], label(args))
		}
		for _, text := range texts {
			fmt.Fprintf(&got, "  %s: %s", strings.Join(commands[text], ", "), text)
		}
	}
	if n < 150 {
		t.Errorf("%d malformed images, want 150 at least", n)
	}
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	gotCases, wantCases := malformedCases(got.String()), malformedCases(string(want))
	for name := range gotCases {
		if diff := cmp.Diff(wantCases[name], gotCases[name]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(gotCases) != len(wantCases) {
		t.Errorf("%d malformed images, but %s has %d", len(gotCases), malformedGolden, len(wantCases))
	}
}

// malformedCases cuts the golden file at the names of images, which are not
// indented.
func malformedCases(text string) map[string]string {
	cases := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if line[0] != ' ' {
			name = line
			continue
		}
		cases[name] += line
	}
	return cases
}

// TestMalformedJSON: whatever the image, what a command prints for programs is
// valid.
func TestMalformedJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for name, b := range qcow2test.Malformed() {
		image := malformedFile(t, b)
		for _, args := range everyCommand {
			holdJSON(t, name, image, args)
		}
	}
}
