package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// console matches a terminal session in a Markdown text.
var console = regexp.MustCompile("(?s)```console\n(.*?)```")

// TestREADME runs the README's terminal sessions.
func TestREADME(t *testing.T) {
	if dir := holdSessions(t, "README.md", 3); haveTools("jq ") {
		holdAnswer(t, dir)
	}
}

// TestDecodeQuestions runs the sessions of docs/decode.md, one for each question.
func TestDecodeQuestions(t *testing.T) { holdSessions(t, filepath.Join("docs", "decode.md"), 10) }

// TestChainSessions runs those of docs/chains.md, which make the images with qemu-img.
func TestChainSessions(t *testing.T) {
	for _, tool := range []string{"qemu-img", "qemu-io", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no " + tool)
		}
	}
	holdSessions(t, filepath.Join("docs", "chains.md"), 3)
}

// holdSessions runs the terminal sessions of a page, at least as many as given, one
// after the other in one directory: they print what the page says. `go test .
// -update` writes what they print. It returns the directory.
func holdSessions(t *testing.T, page string, least int) string {
	t.Helper()
	text := readText(t, page)
	if n := len(console.FindAllString(text, -1)); n < least {
		t.Errorf("%d sessions, want %d at least", n, least)
	}
	dir := shellFolder(t)
	got := console.ReplaceAllStringFunc(text, func(block string) string {
		if !haveTools(block) {
			return block
		}
		var b strings.Builder
		for _, command := range commands(block) {
			out, _ := shell(t, dir, command) // what it prints says how it went
			b.WriteString("$ " + command + "\n" + out)
		}
		return "```console\n" + b.String() + "```"
	})
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(text, got); diff != "" {
		t.Errorf("sessions (-%s +got):\n%s", page, diff)
	}
	return dir
}

// holdAnswer compares the README's answer to its query of the checks that its sessions
// left in a directory.
func holdAnswer(t *testing.T, dir string) {
	t.Helper()
	var want strings.Builder
	for line := range strings.Lines(readText(t, filepath.Join(dir, "checks.ndjson"))) {
		var check struct {
			Filename    string
			Corruptions uint64
			Allocated   uint64 `json:"allocated-clusters"`
			Fragmented  uint64 `json:"fragmented-clusters"`
		}
		if err := json.Unmarshal([]byte(line), &check); err != nil {
			t.Fatal(err)
		}
		if check.Fragmented > 0 {
			fmt.Fprintf(&want, "| %s | %d | %d | %d |\n", check.Filename, check.Corruptions, check.Allocated, check.Fragmented)
		}
	}
	_, answer, _ := strings.Cut(readText(t, "README.md"), "| filename | corruptions | allocated-clusters | fragmented-clusters |\n|---|---:|---:|---:|\n")
	answer, _, _ = strings.Cut(answer, "\n\n")
	if diff := cmp.Diff(answer+"\n", want.String()); diff != "" {
		t.Errorf("answer to the query (-README +checks):\n%s", diff)
	}
}

// TestRecipes runs the command lines of docs/json.md on an image: they are
// right when nobody complains.
func TestRecipes(t *testing.T) {
	if !haveTools("jq ") {
		t.Skip("no jq")
	}
	dir := shellFolder(t)
	for name, fixture := range map[string]string{"disk.qcow2": "snapshots.qcow2", "backup.qcow2": "bitmaps.qcow2"} {
		if err := os.Rename(filepath.Join(dir, fixtures, fixture), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, block := range console.FindAllString(readText(t, filepath.Join("docs", "json.md")), -1) {
		for _, command := range commands(block) {
			n++
			if out, err := shell(t, dir, command+" >/dev/null"); err != nil || out != "" {
				t.Errorf("$ %s: %v\n%s", command, err, out)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d command lines, want 10 at least", n)
	}
}

// TestDiffRecipes runs the command lines of docs/diff.md: they print the ranges that
// differ between snapshot 1 and now.
func TestDiffRecipes(t *testing.T) {
	if !haveTools("jq ") {
		t.Skip("no jq")
	}
	dir := shellFolder(t)
	if err := os.Rename(filepath.Join(dir, fixtures, "snapshots.qcow2"), filepath.Join(dir, "disk.qcow2")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"byte_offset":0,"size_bytes":1024}
{"byte_offset":4096,"size_bytes":4096}
{"byte_offset":8192,"size_bytes":4096}
{"byte_offset":1048576,"size_bytes":1024}
{"byte_offset":1049600,"size_bytes":523264}
{"byte_offset":1572864,"size_bytes":2048}
{"byte_offset":1574912,"size_bytes":522240}
`,
		"read\t0\t1024\nread\t4096\t4096\nread\t8192\t4096\nread\t1048576\t1024\nzero\t1049600\t523264\nread\t1572864\t2048\nzero\t1574912\t522240\n",
		"[0,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31]",
	}
	var got []string
	for _, block := range console.FindAllString(readText(t, filepath.Join("docs", "diff.md")), -1) {
		for _, command := range commands(block) {
			out, err := shell(t, dir, command)
			if err != nil {
				t.Errorf("$ %s: %v", command, err)
			}
			if strings.HasPrefix(out, "[") {
				out = strings.Join(strings.Fields(out), "")
			}
			got = append(got, out)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what the recipes print (-want +got):\n%s", diff)
	}
}

// TestREADMEExample holds the README's Go code against that of an example,
// which is compiled and run.
func TestREADMEExample(t *testing.T) {
	code := func(text, begin, end string) string {
		_, text, _ = strings.Cut(text, begin)
		text, _, _ = strings.Cut(text, end)
		return text
	}
	example := code(readText(t, "pkg/qcow2/example_test.go"), "func ExampleOpenFile() {\n", "\t// Output:")
	example = strings.ReplaceAll("\n"+example, "\n\t", "\n")
	example = strings.Replace(example[1:], "../../testdata/images/snapshots.qcow2", "disk.qcow2", 1)
	if diff := cmp.Diff(example, code(readText(t, "README.md"), "```go\n", "```")); diff != "" || example == "" {
		t.Errorf("Go code (-ExampleOpenFile +README):\n%s", diff)
	}
}

// TestLinks holds that what the documentation links to is there.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, page := range append(pages, "README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md") {
		for _, link := range relativeLink.FindAllStringSubmatch(readText(t, page), -1) {
			n++
			if _, err := os.Stat(filepath.Join(filepath.Dir(page), link[1])); err != nil {
				t.Errorf("%s links to %s: %v", page, link[1], err)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d links, want 20 at least", n)
	}
}

// relativeLink matches a Markdown link to a file.
var relativeLink = regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)

// commands returns the command lines of a session.
func commands(block string) []string {
	var all []string
	for line := range strings.Lines(block) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, strings.TrimSuffix(command, "\n"))
		}
	}
	return all
}

// haveTools reports whether what a session calls is there. A shell is, or
// shellFolder skips the test.
func haveTools(block string) bool {
	_, err := exec.LookPath("jq")
	return err == nil || !strings.Contains(block, "jq ")
}

// shellFolder returns a directory like that of the project, with the images only.
func shellFolder(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no sh to run command lines with")
	}
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, fixtures), os.DirFS(fixtures)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// shell runs a command line in the directory, and returns all that it prints. The
// qinspect that it calls is the one under test, which TestMain has put there.
func shell(t *testing.T, dir, command string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-c", command)
	c.Dir = dir
	c.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME=") // no config of the user's
	out, err := c.CombinedOutput()
	return string(out), err
}

// readText returns a file of the project.
func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
