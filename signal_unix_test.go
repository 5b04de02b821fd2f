//go:build unix

package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestSignals: a signal that asks a listing to end gets a whole document, and the
// status that a shell gives to it.
func TestSignals(t *testing.T) {
	image := filepath.Join(t.TempDir(), "large.qcow2")
	if err := os.WriteFile(image, qcow2test.Image{ClusterBits: 9, Size: 1 << 36}.Build().Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	for signal, want := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		c := exec.Command("qinspect", "guest", "--all", "--per-cluster", "-o", "json", image)
		stdout, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if _, err := io.CopyN(&out, stdout, 1<<20); err != nil { // it has begun
			t.Fatal(err)
		}
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if _, err := out.ReadFrom(stdout); err != nil {
			t.Fatal(err)
		}
		c.Wait() // its error is the exit status
		doc := parseDocument(t, out.String())
		errs, _ := doc["errors"].([]any)
		if code := c.ProcessState.ExitCode(); code != want || len(errs) != 1 {
			t.Errorf("%v: exit status %d, want %d; errors %v", signal, code, want, errs)
		}
	}
}

// TestIgnoredSignal: what is ignored when the command begins stays so, as under
// nohup.
func TestIgnoredSignal(t *testing.T) {
	image := filepath.Join(t.TempDir(), "large.qcow2")
	if err := os.WriteFile(image, qcow2test.Image{ClusterBits: 9, Size: 1 << 28}.Build().Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-c", `trap "" HUP; qinspect guest --all --per-cluster -o ndjson "$0" | { head -c 100 >/dev/null; kill -HUP $$; tail -n 1; }`, image)
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out), `"errors":[]}`) {
		t.Errorf("the listing ended early: %q", out)
	}
}
