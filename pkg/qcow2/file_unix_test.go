//go:build unix

package qcow2_test

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// TestOpenNamedPipe would wait for ever for a writer if the pipe was opened.
func TestOpenNamedPipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := qcow2.OpenFile(name); err == nil || !strings.Contains(err.Error(), "a named pipe, not a file or block device") {
		t.Errorf("named pipe: %v", err)
	}
}
