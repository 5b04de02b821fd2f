package qcow2_test

import (
	"os"
	"path/filepath"
	"slices"
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

// TestFindingKindStructure: true for the kinds about structures, except the one
// that hides nothing.
func TestFindingKindStructure(t *testing.T) {
	structures := []string{
		"header", "header-extensions", "refcount-table", "refcount-block", "l1-table", "l2-table",
		"snapshot-table", "bitmap-directory", "bitmap-table", "encryption-header",
	}
	for i, name := range qcow2.FindingKindNames() {
		if got, want := qcow2.FindingKind(i).Structure(), slices.Contains(structures, name); got != want {
			t.Errorf("%s is of a structure: %t, want %t", name, got, want)
		}
	}
}
