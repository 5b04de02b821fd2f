//go:build !unix

package qcow2

import (
	"errors"
	"io/fs"
	"os"
)

// openFlags opens a file for reading.
const openFlags = os.O_RDONLY

// allocatedBytes is unknown: files have no st_blocks.
func allocatedBytes(fs.FileInfo) (int64, bool) { return 0, false }

// dataRange is unknown: lseek(2) does not find holes.
func dataRange(*os.File, uint64) (start, end uint64, err error) { return 0, 0, errors.ErrUnsupported }
