package qcow2test_test

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestMalformedNames checks that no two malformed images have one name.
func TestMalformedNames(t *testing.T) {
	seen := map[string]bool{}
	for name := range qcow2test.Malformed() {
		if seen[name] {
			t.Errorf("two images are named %q", name)
		}
		seen[name] = true
	}
}
