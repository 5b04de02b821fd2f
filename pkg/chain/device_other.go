//go:build !unix

package chain

import "io/fs"

// nonBlocking is for named pipes, which there are none of.
const nonBlocking = 0

// sameDevice is unknown: files have no st_rdev.
func sameDevice(_, _ fs.FileInfo) bool { return false }
