package cmd

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"
)

// TestIsAbsent has what keeps a default config file from being found, and what is
// reported when it is read.
func TestIsAbsent(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, fs.ErrNotExist: true, fs.ErrPermission: true, errors.ErrUnsupported: false,
		syscall.ENOENT: true, syscall.ENOTDIR: true, syscall.EACCES: true, syscall.EIO: false, syscall.ELOOP: false,
	} {
		if got := isAbsent(err); got != want {
			t.Errorf("isAbsent(%v) = %v, want %v", err, got, want)
		}
		wrapped := &fs.PathError{Op: "stat", Path: "config.yaml", Err: err}
		if got := isAbsent(wrapped); got != want {
			t.Errorf("isAbsent(%v) = %v, want %v", wrapped, got, want)
		}
	}
}
