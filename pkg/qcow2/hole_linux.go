package qcow2

import (
	"errors"
	"math"
	"os"
	"syscall"
)

// Values of whence; see lseek(2).
const (
	seekData = 3
	seekHole = 4
)

// nextData returns a function that returns the first offset from off on where a
// file has data, off itself where it does not know of holes, and if that is off,
// where the next hole begins.
func nextData(f *os.File) func(off uint64) (data, hole uint64) {
	return func(off uint64) (data, hole uint64) {
		at, err := f.Seek(int64(off), seekData) // the position of the file is of no interest: it is read with ReadAt
		switch {
		case errors.Is(err, syscall.ENXIO):
			return math.MaxInt64, off // a hole up to the end
		case err != nil:
			return off, off
		}
		if at > int64(off) {
			return uint64(at), off
		}
		end, err := f.Seek(int64(off), seekHole)
		if err != nil {
			return off, off
		}
		return off, uint64(end)
	}
}
