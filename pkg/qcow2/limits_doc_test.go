package qcow2_test

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// TestLimitsDoc holds that docs/limits.md has every limit with its default.
func TestLimitsDoc(t *testing.T) {
	doc, err := os.ReadFile("../../docs/limits.md")
	if err != nil {
		t.Fatal(err)
	}
	limits := reflect.ValueOf(qcow2.DefaultLimits())
	for i := range limits.NumField() {
		row := fmt.Sprintf("| `%s` | %d | ", limits.Type().Field(i).Name, limits.Field(i).Uint())
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/limits.md does not have %q", row)
		}
	}
}
