//go:build unix

package qcow2

import (
	"io/fs"
	"syscall"
)

// statBlock is the unit of st_blocks, in bytes, whatever the file system's.
const statBlock = 512

func allocatedBytes(info fs.FileInfo) (int64, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int64(st.Blocks) * statBlock, true
}
