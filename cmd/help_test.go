package cmd

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// exampleImages are the images that the examples of help texts name, and what
// they are here.
var exampleImages = map[string]string{"disk.qcow2": "snapshots.qcow2", "backup.qcow2": "bitmaps.qcow2"}

// everyCommand returns the command and all below it.
func everyCommand(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, c := range cmd.Commands() {
		all = append(all, everyCommand(c)...)
	}
	return all
}

// TestHelp: each command says in a line what it does, and then when to use it,
// with examples and what its exit status means, and none of it is wider than a
// terminal. The texts of the completion scripts are Cobra's.
func TestHelp(t *testing.T) {
	for _, cmd := range everyCommand((&app{}).newRootCommand()) {
		if cmd.Parent() != nil && cmd.Parent().Name() == "completion" {
			continue
		}
		path := cmd.CommandPath()
		if n := utf8.RuneCountInString(cmd.Short); n < 10 || n > 70 || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: its short text is %q", path, cmd.Short)
		}
		if !strings.Contains(cmd.Long, "Exit status:") {
			t.Errorf("%s: its help has no exit status", path)
		}
		for line := range strings.SplitSeq(cmd.Long+"\n"+cmd.UsageString(), "\n") {
			if strings.HasPrefix(line, "  $ ") { // what is to be copied stays in one piece
				continue
			}
			if utf8.RuneCountInString(line) > 80 {
				t.Errorf("%s: a line of more than 80 characters: %s", path, line)
			}
		}
		if len(examples(t, cmd)) == 0 {
			t.Errorf("%s: its help has no example", path)
		}
	}
}

// TestHelpExamples runs the examples of every command: each ends with status 0,
// and it and the jq after it print something.
func TestHelpExamples(t *testing.T) {
	fixtures, err := filepath.Abs("../testdata/images")
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range everyCommand((&app{}).newRootCommand()) {
		t.Run(cmd.CommandPath(), func(t *testing.T) {
			t.Chdir(t.TempDir())
			t.Setenv("XDG_CONFIG_HOME", t.TempDir())
			for name, fixture := range exampleImages {
				p, err := os.ReadFile(filepath.Join(fixtures, fixture))
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, p, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, example := range examples(t, cmd) {
				runExample(t, example)
			}
		})
	}
}

// examples returns the command lines of a help text, cut into words.
func examples(t *testing.T, cmd *cobra.Command) [][]string {
	t.Helper()
	var all [][]string
	for line := range strings.Lines(cmd.Example) {
		line, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "  $ qinspect ")
		if !ok {
			t.Errorf("%s: an example that is not '  $ qinspect …': %s", cmd.CommandPath(), line)
			continue
		}
		all = append(all, shellWords(line))
	}
	return all
}

// shellWords cuts a line into words, of which those in single quotes are taken as
// they are and others can be patterns of file names.
func shellWords(line string) []string {
	var words []string
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		for word := range strings.FieldsSeq(part) {
			if files, _ := filepath.Glob(word); len(files) > 0 {
				words = append(words, files...)
			} else {
				words = append(words, word)
			}
		}
	}
	return words
}

// runExample runs an example, as far as its programs are installed.
func runExample(t *testing.T, words []string) {
	t.Helper()
	args, filter := words, []string(nil)
	for i, word := range words {
		if word == "|" {
			args, filter = words[:i], words[i+1:]
			break
		}
		if strings.HasPrefix(word, ">") { // the output is looked at here
			args = words[:i]
			break
		}
	}
	var stdout, stderr bytes.Buffer
	code := Execute(t.Context(), Process{Args: args, Stdout: &stdout, Stderr: &stderr})
	if code != 0 || stdout.Len() == 0 || stderr.Len() > 0 {
		t.Errorf("%q: exit status %d, %d bytes, and on stderr:\n%s", args, code, stdout.Len(), &stderr)
	}
	if len(filter) == 0 {
		return
	}
	if filter[0] != "jq" {
		t.Fatalf("%q pipes into another program than jq", words)
	}
	jq, err := exec.LookPath("jq")
	if err != nil {
		return
	}
	run := exec.CommandContext(t.Context(), jq, filter[1:]...)
	run.Stdin = &stdout
	if out, err := run.CombinedOutput(); err != nil || len(out) == 0 {
		t.Errorf("%q: %v, output %q", words, err, out)
	}
}

// TestHelpKinds: the help of host names every kind.
func TestHelpKinds(t *testing.T) {
	help := strings.FieldsFunc((&app{}).newHostCommand().Long, func(c rune) bool { return strings.ContainsRune(" ,.\n", c) })
	for _, kind := range qcow2.HostKindNames() {
		if !slices.Contains(help, kind) {
			t.Errorf("the help of host does not name %s", kind)
		}
	}
}
