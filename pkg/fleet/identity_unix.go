//go:build unix

package fleet

import (
	"io/fs"
	"syscall"
)

// identityOf returns the device and the inode of a file.
func identityOf(info fs.FileInfo) (identity, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{uint64(st.Dev), uint64(st.Ino)}, true
}
