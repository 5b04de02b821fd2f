package chain

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// An Opener finds the files that layers name. The names that it gets have passed
// the test of their text, and a relative one is joined to the directory of its
// layer.
//
// Its errors decide the status of a layer: [fs.ErrNotExist] is [Missing], a
// [Refused] is [NotAllowed], [qcow2.ErrNotFile] is [NotAFile], and any other is
// [Unreadable].
type Opener interface {
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Stat looks at a file without opening it.
	Stat(name string) (fs.FileInfo, error)
}

// A File is the file of a layer. A [qcow2.HostFile] has these methods.
type File interface {
	io.ReaderAt
	io.Closer
	Facts
	// Size returns the size of the file in bytes.
	Size() int64
	// DataRange finds data, as [qcow2.HostFile.DataRange] does.
	DataRange(offset uint64) (start, end uint64, err error)
}

// Facts are what is known of a file beside its content.
type Facts interface {
	// Info returns what the system said of the file when it was opened, by which a
	// file is known that has two names; nil where there is no system to say.
	Info() fs.FileInfo
	// AllocatedBytes returns how much space the file takes on its file system.
	AllocatedBytes() (n int64, ok bool)
	// Changed reports whether the file has changed since it was opened.
	Changed() (changed, ok bool)
	// OpenElsewhere returns what another program does with the image.
	OpenElsewhere() (state qcow2.Elsewhere, ok bool)
}

// Refused is the error of an [Opener] for a file that it must not open, and why.
type Refused string

// Error returns why the file must not be opened.
func (r Refused) Error() string { return string(r) }

// sameFile reports whether two files are one: by device and inode, block devices by
// the device that they stand for.
func sameFile(a, b fs.FileInfo) bool {
	return a != nil && b != nil && (os.SameFile(a, b) || sameDevice(a, b))
}

// leaves reports whether an error of an [os.Root] is that a name leads out of it:
// the one error that the system did not return.
func leaves(err error) bool {
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		return false
	}
	_, system := errors.AsType[syscall.Errno](err)
	return !system && !errors.Is(err, qcow2.ErrNotFile) && !errors.Is(err, qcow2.ErrReplaced)
}
