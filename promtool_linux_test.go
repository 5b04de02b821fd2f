package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestScanPromtool: promtool accepts the metrics of images whose names could break a
// label, a line or an option, and of those that the tests have.
func TestScanPromtool(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	image := qcow2test.Image{Size: 1 << 20}.Build().Bytes
	names := []string{"new\nline", `quo"te`, `back\slash\n`, "\x1b[31mred", "\xff\xfe", "-o", `{a="b"} 1`, "# HELP", strings.Repeat("0", 255)}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	metrics, stderr, code := execute(t, "scan", "-o", "metrics", dir, fixtures)
	if code != 1 { // one of the fixtures has an unknown feature
		t.Fatalf("exit status %d\n%s", code, stderr)
	}
	if n := strings.Count(metrics, "\nqinspect_image_status{"+`image="`+dir); n != 9*len(names) {
		t.Errorf("%d samples of a status, want one for each of 9 statuses and %d images", n, len(names))
	}
	check := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	check.Stdin = strings.NewReader(metrics)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}
