//go:build unix

package qcow2

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// openFlags opens for reading a file that may turn out to be a pipe.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK

// statBlock is the unit of st_blocks on every file system, in bytes.
const statBlock = 512

func allocatedBytes(info fs.FileInfo) (int64, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int64(st.Blocks) * statBlock, true
}

// seekWhence returns the values of whence that ask lseek(2) for data and holes.
func seekWhence() (data, hole int, ok bool) {
	switch runtime.GOOS {
	case "linux", "freebsd":
		return 3, 4, true
	case "darwin":
		return 4, 3, true
	}
	return 0, 0, false
}

// dataRange finds the first data of a file from an offset on. It moves the
// position of the file, which nothing else uses.
func dataRange(f *os.File, offset uint64) (start, end uint64, err error) {
	data, hole, ok := seekWhence()
	if !ok {
		return 0, 0, errors.ErrUnsupported
	}
	at, err := f.Seek(int64(offset), data)
	if errors.Is(err, syscall.ENXIO) { // no data up to the end
		at, err = f.Seek(0, io.SeekEnd)
		return uint64(at), uint64(at), err
	}
	if err != nil {
		return 0, 0, err
	}
	stop, err := f.Seek(at, hole)
	return uint64(at), uint64(stop), err
}
