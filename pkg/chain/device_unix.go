//go:build unix

package chain

import (
	"io/fs"
	"syscall"
)

// nonBlocking keeps a name that has become a named pipe from holding up the program.
const nonBlocking = syscall.O_NONBLOCK

// sameDevice reports whether two files stand for one block device.
func sameDevice(a, b fs.FileInfo) bool {
	s, ok := a.Sys().(*syscall.Stat_t)
	t, also := b.Sys().(*syscall.Stat_t)
	return ok && also && isBlockDevice(a) && isBlockDevice(b) && s.Rdev == t.Rdev
}

func isBlockDevice(info fs.FileInfo) bool {
	return info.Mode()&(fs.ModeDevice|fs.ModeCharDevice) == fs.ModeDevice
}
