package qcow2

import (
	"io"
	"os"
	"syscall"
)

// getOFDLock is F_OFD_GETLK of fcntl(2): it asks whether a lock could be taken,
// and takes none.
const getOFDLock = 36

// The bytes that QEMU locks in an image that it has open, each for a permission
// (block/file-posix.c in QEMU: RAW_LOCK_PERM_BASE).
const (
	lockRead   = 100 // reads what is consistent
	lockWrite  = 101
	lockResize = 103
)

// openElsewhere asks which of QEMU's permission bytes another open file
// description has locked.
func openElsewhere(f *os.File) (Elsewhere, bool) {
	answer := ElsewhereNo
	for _, b := range []struct {
		offset int64
		state  Elsewhere
	}{{lockRead, ElsewhereReading}, {lockWrite, ElsewhereWriting}, {lockResize, ElsewhereWriting}} {
		lock := syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Start: b.offset, Len: 1}
		if err := syscall.FcntlFlock(f.Fd(), getOFDLock, &lock); err != nil {
			return ElsewhereNo, false
		}
		if lock.Type != syscall.F_UNLCK {
			answer = max(answer, b.state)
		}
	}
	return answer, true
}
