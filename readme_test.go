package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/cmd"
)

// TestREADME runs the README's terminal session: every "$ qinspect" line on an
// image of testdata that needs no other program.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // no config of the user's
	ran := 0
	for command, want := range sessions(string(readme)) {
		args := strings.Fields(command)
		if args[0] != "qinspect" || !strings.Contains(command, "testdata/") || strings.Contains(command, "|") {
			continue
		}
		ran++
		var out bytes.Buffer
		code := cmd.Execute(t.Context(), cmd.Process{Args: args[1:], Stdout: &out, Stderr: &out})
		if diff := cmp.Diff(want, out.String()); diff != "" || code != 0 {
			t.Errorf("$ %s: exit status %d, output (-README +got):\n%s", command, code, diff)
		}
	}
	if ran < 2 {
		t.Errorf("%d commands in the README's sessions, want 2 at least", ran)
	}
}

// sessions returns the commands of the "console" blocks of a Markdown text,
// and what each prints.
func sessions(markdown string) map[string]string {
	outputs := map[string]string{}
	for _, block := range strings.Split(markdown, "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		for _, part := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, output, _ := strings.Cut(part, "\n")
			if output != "" && !strings.HasSuffix(output, "\n") {
				output += "\n"
			}
			outputs[command] = output
		}
	}
	return outputs
}
