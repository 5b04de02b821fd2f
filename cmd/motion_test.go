package cmd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestLayersMove: what a document says of moving files is also about the layers that
// --follow reads. Standard error, or a remark of chain, says which of them it was.
func TestLayersMove(t *testing.T) {
	const no, reading, writing = qcow2.ElsewhereNo, qcow2.ElsewhereReading, qcow2.ElsewhereWriting
	for _, tt := range []struct {
		changed       bool            // the base
		top, base     qcow2.Elsewhere // what another program does with them
		want, remarks string
	}{
		{false, no, no, "false no", ""},
		{false, no, reading, "false reading", ""},
		{false, writing, reading, "false writing", ""},
		{false, reading, unknownElsewhere, "false null", ""},
		{false, writing, unknownElsewhere, "false writing", ""},
		{true, no, no, "true no", "it has changed while it was read"},
		{true, unknownElsewhere, no, "true null", "it has changed while it was read"},
		{false, no, writing, "false writing", "another program has it open for writing"},
	} {
		for _, command := range []string{"guest", "chain"} {
			for _, follow := range []bool{true, false} {
				got, words := motionOfLayers(t, command, follow, tt.changed, tt.top, tt.base)
				want := tt.want
				if !follow {
					want = fmt.Sprint("false ", strings.ReplaceAll(tt.top.String(), "unknown-255", "null"))
				}
				if got != want || follow && !strings.Contains(words, tt.remarks) || strings.Contains(words, "the file has changed") {
					t.Errorf("%s, follow %t, %+v: changed and open-elsewhere are %s\n%s", command, follow, tt, got, words)
				}
			}
		}
	}
}

// motionOfLayers returns what the document of a command says of an image and its
// base, and all words of it and of standard error.
func motionOfLayers(t *testing.T, command string, follow, changed bool, top, base qcow2.Elsewhere) (motion, words string) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	f := &memoryFile{built: qcow2test.Image{Size: 1 << 16, BackingFile: "base"}.Build(), elsewhere: top}
	below := &memoryFile{built: qcow2test.Image{Size: 1 << 16}.Build(), elsewhere: base, changed: changed}
	var out, complaints bytes.Buffer
	code := cmd.Execute(t.Context(), cmd.Process{
		Args: []string{command, fmt.Sprintf("--follow=%t", follow), "-o", "json", "memory"}, Stdout: &out, Stderr: &complaints, Open: f.open,
		Layers: func(string, []string) (cmd.Layers, error) { return memoryLayers{"base": below}, nil },
	})
	var doc struct {
		Changed   json.RawMessage
		Elsewhere json.RawMessage `json:"open-elsewhere"`
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil || code != 0 {
		t.Fatalf("%s: exit status %d, %v\n%s%s", command, code, err, &out, &complaints)
	}
	return strings.ReplaceAll(fmt.Sprintf("%s %s", doc.Changed, doc.Elsewhere), `"`, ""), out.String() + complaints.String()
}

// TestPageMoves: the verdict of a page says that the file has changed, also if that was
// while it was read.
func TestPageMoves(t *testing.T) {
	for _, after := range []int{0, 1} {
		f := memoryFile{built: qcow2test.Image{Size: 1 << 20}.Build(), changesAfter: after}
		page, _, code := f.run(t, "plot", "-o", "html", "memory")
		if code != 0 || strings.Contains(page, "but another program writes to the image") != (after > 0) {
			t.Errorf("a change after %d looks: exit status %d, or what the verdict says of it", after, code)
		}
	}
}
