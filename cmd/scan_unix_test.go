//go:build unix

package cmd_test

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/qinspect/qinspect/cmd"
)

// TestScanSpecialFiles: a named pipe, a socket, and a loop of symbolic links are
// passed by in a directory; as names they are rows, and nothing waits for a writer.
func TestScanSpecialFiles(t *testing.T) {
	dir := imagesIn(t, 1)
	pipe, socket, loop := filepath.Join(dir, "pipe.qcow2"), filepath.Join(dir, "socket.qcow2"), filepath.Join(dir, "loop")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // the names of sockets are short
	l, err := net.Listen("unix", "socket.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for from, to := range map[string]string{loop: dir, filepath.Join(dir, "a"): "b", filepath.Join(dir, "b"): "a"} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{nil, {"--match", "*"}} {
		out, complaints, code := runFiles(t, append([]string{"scan", "-o", "json", dir}, args...)...)
		if doc := decodeScan(t, out); code != 0 || len(doc.Images) != 1 || doc.Images[0].Status != "ok" || complaints != "" {
			t.Errorf("%s: exit status %d, %+v, %q", args, code, doc, complaints)
		}
	}
	out, _, code := runFiles(t, "scan", "-o", "json", pipe, socket, os.DevNull, filepath.Join(dir, "a"), loop)
	doc := decodeScan(t, out)
	want := []string{
		"a named pipe, not a file or block device", "a socket, not a file or block device", "a character device, not a file or block device",
		"too many levels of symbolic links", "",
	}
	if code != 1 || len(doc.Images) != len(want) {
		t.Fatalf("exit status %d, %+v", code, doc)
	}
	for i, row := range doc.Images {
		if row.Message != want[i] || (row.Status == "unreadable") != (want[i] != "") {
			t.Errorf("%+v, want %q", row, want[i])
		}
	}
}

// TestScanNamesPipe: a scan that waits for a named pipe with names ends when it is
// interrupted.
func TestScanNamesPipe(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	pipe := filepath.Join(t.TempDir(), "names")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := cmd.Execute(ctx, cmd.Process{Args: []string{"scan", "--files0-from", pipe}, Stdout: io.Discard, Stderr: io.Discard}); code != 130 {
		t.Errorf("exit status %d, want 130", code)
	}
	if f, err := os.OpenFile(pipe, os.O_RDWR, 0); err == nil { // ends the open that was left
		f.Close()
	}
}
