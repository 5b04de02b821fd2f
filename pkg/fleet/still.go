package fleet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// isStill reports whether the file that was opened is what the name stands for without
// symbolic links: who may write to a directory can put one there between two looks,
// and have files read that the directory does not hold. opened is nil where the system
// says nothing of files.
func (f *Found) isStill(opened fs.FileInfo) bool {
	if opened == nil {
		return true
	}
	info, err := os.Lstat(f.Name)
	if err != nil || !info.Mode().IsRegular() || !os.SameFile(info, opened) {
		return false
	}
	name := f.Name
	for range strings.Count(f.Key, "/") { // the directories below the one that was given
		name = filepath.Dir(name)
		if info, err := os.Lstat(name); err != nil || !info.IsDir() {
			return false
		}
	}
	return true
}

// isGone reports whether the error of opening a file that a walk found says that its name
// stands for no regular file any more.
func isGone(err error) bool {
	for _, gone := range []error{fs.ErrNotExist, qcow2.ErrNotFile, syscall.ENOTDIR, syscall.ELOOP} {
		if errors.Is(err, gone) {
			return true
		}
	}
	return false
}
