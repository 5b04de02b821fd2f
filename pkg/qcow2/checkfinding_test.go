package qcow2_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// TestProblemsDocumentation: docs/problems.md has every code.
func TestProblemsDocumentation(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "problems.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range qcow2.FindingKindNames() {
		if !strings.Contains(string(text), "`"+code+"`") {
			t.Errorf("docs/problems.md does not have %s", code)
		}
	}
	for _, severity := range qcow2.SeverityNames() {
		if !strings.Contains(string(text), "| "+severity+" |") {
			t.Errorf("docs/problems.md does not have the severity %s", severity)
		}
	}
}
