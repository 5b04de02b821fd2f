package cmd_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A memoryHostFile is a file in memory that audit looks at.
type memoryHostFile struct {
	memoryFile
	*bytes.Reader
}

func (s *memoryHostFile) DataRange(offset uint64) (start, end uint64, err error) {
	return offset, uint64(s.Size()), nil
}

// auditMemory runs audit on an image that another program writes, or not.
func auditMemory(t *testing.T, f memoryFile, args ...string) (doc struct {
	Verdict *string
	Changed bool
	Errors  []struct{ Message string }
}, stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var out, complaints bytes.Buffer
	open := func(string) (cmd.HostFile, error) { return &memoryHostFile{f, f.built.Reader()}, nil }
	code = cmd.Execute(t.Context(), cmd.Process{Args: append([]string{"audit", "memory"}, args...), Stdout: &out, Stderr: &complaints, OpenHostFile: open})
	if len(args) > 0 && args[1] == "json" {
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
	}
	return doc, out.String(), complaints.String(), code
}

// TestAuditChanged: there is no verdict on a file that changed meanwhile, whatever
// it holds.
func TestAuditChanged(t *testing.T) {
	for name, image := range map[string]qcow2test.Image{"healthy": {Size: 1 << 20}, "with a backing file": {Size: 1 << 20, BackingFile: "../x"}} {
		f := memoryFile{built: image.Build(), changed: true}
		doc, _, stderr, code := auditMemory(t, f, "-o", "json")
		if code != 1 || doc.Verdict != nil || len(doc.Errors) != 1 || !strings.Contains(stderr, "no verdict: the file changed while it was read") {
			t.Errorf("%s: status %d, verdict %v, %+v\n%s", name, code, doc.Verdict, doc.Errors, stderr)
		}
		if _, stdout, _, code := auditMemory(t, f, "-o", "plain"); code != 1 || !strings.HasPrefix(stdout, "verdict: -\n") {
			t.Errorf("%s: status %d\n%s", name, code, stdout)
		}
	}
}

// TestAuditChangesLate: whenever a file changes, a document has a verdict or says that
// there is none, and never both.
func TestAuditChangesLate(t *testing.T) {
	verdicts := 0
	for looks := 1; looks <= 6; looks++ {
		f := memoryFile{built: qcow2test.Image{Size: 1 << 20}.Build(), changesAfter: looks}
		doc, _, _, code := auditMemory(t, f, "-o", "json")
		if doc.Changed != (doc.Verdict == nil) || doc.Changed != (code == 1) || doc.Changed != (len(doc.Errors) == 1) {
			t.Errorf("a change after %d looks: status %d, %+v", looks, code, doc)
		}
		if doc.Verdict != nil {
			verdicts++
		}
	}
	if verdicts == 0 || verdicts == 6 {
		t.Errorf("%d of 6 changes are after the last look", verdicts)
	}
}

// TestAuditElsewhere: an image that another program has open for writing is
// rejected, and so is one of which that is not known.
func TestAuditElsewhere(t *testing.T) {
	for _, tt := range []struct {
		state qcow2.Elsewhere
		code  int
		want  string
	}{
		{qcow2.ElsewhereNo, 0, "verdict: accept\n"},
		{qcow2.ElsewhereReading, 0, "verdict: accept\n"},
		{qcow2.ElsewhereWriting, 2, "\nreject open-for-writing: another program"},
		{unknownElsewhere, 2, "\nreject open-for-writing: not checked: "},
	} {
		f := memoryFile{built: qcow2test.Image{Size: 1 << 20}.Build(), elsewhere: tt.state}
		if _, stdout, _, code := auditMemory(t, f, "-o", "plain"); code != tt.code || !strings.Contains(stdout, tt.want) {
			t.Errorf("%v: status %d, want %d, and %q in\n%s", tt.state, code, tt.code, tt.want, stdout)
		}
	}
}
