package qcow2_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// TestFormatDoc holds that docs/format.md has the header as the code has it.
func TestFormatDoc(t *testing.T) {
	var table strings.Builder
	table.WriteString("| byte | size | field | since version | holds |\n|---:|---:|---|---:|---|\n")
	for f := range qcow2.Fields() {
		fmt.Fprintf(&table, "| %d | %d | %s | %d | %s |\n", f.Offset, f.Size, f.Name, f.Version, f.Doc)
	}
	doc, err := os.ReadFile("../../docs/format.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), table.String()) {
		t.Errorf("docs/format.md does not have this table:\n%s", table.String())
	}
}
