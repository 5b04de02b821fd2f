//go:build !unix

package qcow2

import (
	"errors"
	"io/fs"
	"os"
)

// openFlags are those of a file for reading.
const openFlags = os.O_RDONLY

// allocatedBytes is not known where files have no st_blocks.
func allocatedBytes(fs.FileInfo) (int64, bool) { return 0, false }

// dataRange is not known where lseek(2) knows of no holes.
func dataRange(*os.File, uint64) (start, end uint64, err error) { return 0, 0, errors.ErrUnsupported }
