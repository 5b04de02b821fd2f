//go:build unix

package qcow2_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A swappingFS opens other files than it looked at.
type swappingFS map[string]string

func (swappingFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (s swappingFS) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(s[name], flag, perm)
}

// TestOpenReplaced: what takes a name between the look and the opening is not what
// was asked for, even if it is a file, and a pipe does not hold up the program.
func TestOpenReplaced(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"asked", "other"} {
		if err := os.WriteFile(file(name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(file("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{
		"asked": nil, "other": qcow2.ErrReplaced, "pipe": qcow2.ErrNotFile, "/dev/zero": qcow2.ErrNotFile, "": qcow2.ErrNotFile, "gone": fs.ErrNotExist,
	} {
		now := name
		if !filepath.IsAbs(name) {
			now = file(name)
		}
		f, err := qcow2.OpenHostFile(swappingFS{file("asked"): now}, file("asked"))
		if !errors.Is(err, want) || (f != nil) != (want == nil) {
			t.Errorf("replaced by %q: %v, want %v", name, err, want)
		}
		if _, named := err.(*fs.PathError); err != nil && !named { //nolint:errorlint // its words are those of the system
			t.Errorf("replaced by %q: %#v, want a *fs.PathError", name, err)
		}
		if f != nil {
			f.Close()
		}
	}
}
