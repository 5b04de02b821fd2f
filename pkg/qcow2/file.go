package qcow2

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A File is an [Image] in a file or on a block device.
type File struct {
	*Image
	*HostFile
}

// OpenFile opens the named regular file or block device, for reading only, and then
// the image in it as [Open] does. The error is that of the system, or of [Open].
// Close it when done.
func OpenFile(name string, opts ...Option) (*File, error) {
	f, err := OpenHostFile(nil, name)
	if err != nil {
		return nil, err
	}
	img, err := f.Image(opts...)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{img, f}, nil
}

// Size returns the size of the image file in bytes.
func (f *File) Size() int64 { return f.HostFile.Size() }

// A HostFile is a regular file or a block device that is open for reading, whatever
// it holds.
type HostFile struct {
	f      *os.File
	opened fs.FileInfo // at the time of opening
	size   int64
}

// A HostFS looks up files and opens them, as an [os.Root] does.
type HostFS interface {
	Stat(name string) (fs.FileInfo, error)
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
}

// ErrNotFile is the error of [OpenHostFile] for a directory, a pipe, a socket or a
// character device.
var ErrNotFile = errors.New("not a file or block device")

// ErrReplaced is the error of [OpenHostFile] for a name that another file takes just
// then.
var ErrReplaced = errors.New("another file has taken the name while it was opened")

// OpenHostFile opens a regular file or a block device for reading; a nil fsys is
// that of the system. It looks before it opens, as opening a named pipe waits for a
// writer, and after it, as the name can stand for another file by then.
func OpenHostFile(fsys HostFS, name string) (*HostFile, error) {
	if fsys == nil {
		fsys = systemFS{}
	}
	before, err := fsys.Stat(name)
	if err != nil {
		return nil, err
	}
	if err := CheckMode(before.Mode()); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f, err := fsys.OpenFile(name, openFlags, 0)
	if err != nil {
		return nil, err
	}
	h, err := newHostFile(f)
	if err == nil && !os.SameFile(before, h.opened) {
		err = ErrReplaced
	}
	if err != nil {
		f.Close() //nolint:errcheck // it was only read
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return h, nil
}

// newHostFile returns an open file, if it can be read at any offset.
func newHostFile(f *os.File) (*HostFile, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := CheckMode(info.Mode()); err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd) // a block device has no size otherwise
	return &HostFile{f, info, size}, err
}

// A systemFS is the file system that names on the command line are about.
type systemFS struct{}

func (systemFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

func (systemFS) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return os.OpenFile(name, flag, perm)
}

// CheckMode returns an [ErrNotFile], with what it is, unless the mode is that of a
// regular file or of a block device.
func CheckMode(mode fs.FileMode) error {
	if kind := unseekable(mode); kind != "" {
		return fmt.Errorf("%s, %w", kind, ErrNotFile)
	}
	return nil
}

// unseekable returns what kind of file has the mode, or "" for a regular file or a
// block device.
func unseekable(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeCharDevice != 0:
		return "a character device"
	}
	return ""
}

// Image opens the image in the file, as [Open] does.
func (f *HostFile) Image(opts ...Option) (*Image, error) {
	return Open(f.f, f.size, append([]Option{WithHoles(f.DataRange)}, opts...)...)
}

// Size returns the size of the file when it was opened, in bytes.
func (f *HostFile) Size() int64 { return f.size }

// Info returns what the system said of the file when it was opened.
func (f *HostFile) Info() fs.FileInfo { return f.opened }

// Close closes the file.
func (f *HostFile) Close() error { return f.f.Close() }

// ReadAt reads bytes of the image file, as [io.ReaderAt] says.
func (f *HostFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// DataRange returns the first range of data, not of holes, at or after offset: from
// start up to end, in bytes. If there is none, both are the end of the file. The
// error is that of the system, and [errors.ErrUnsupported] on systems other than
// Linux, macOS and FreeBSD, where holes cannot be found.
func (f *HostFile) DataRange(offset uint64) (start, end uint64, err error) {
	return dataRange(f.f, offset)
}

// Changed reports whether the file has changed since it was opened, by its size
// and the time of its last change: what was read of it may then not fit together,
// such as of the disk of a running machine. ok is false where that is not known: a
// block device has no time of its last change.
func (f *HostFile) Changed() (changed, ok bool) {
	info, err := f.f.Stat()
	if err != nil {
		return false, false
	}
	if info.Size() != f.opened.Size() {
		return true, true
	}
	return !info.ModTime().Equal(f.opened.ModTime()), info.Mode().IsRegular()
}

// OpenElsewhere returns what another program does with the image. It asks for the
// locks that QEMU takes and takes none. ok is false where they cannot be asked for:
// on systems other than Linux, and on some network file systems. A program that
// takes no locks is not seen. Locks of a block device are those of the node in /dev
// by which it was opened, and libvirt gives each machine nodes of its own: that no
// lock is found says nothing there, so ok is false, too.
func (f *HostFile) OpenElsewhere() (state Elsewhere, ok bool) {
	state, ok = openElsewhere(f.f)
	return state, ok && (state != ElsewhereNo || !f.IsDevice())
}

// IsDevice reports whether it is a block device.
func (f *HostFile) IsDevice() bool { return f.opened.Mode()&fs.ModeDevice != 0 }

// AllocatedBytes returns how much space the file takes on its file system, in
// bytes, without its holes; ok is false if that is not known, such as for a block
// device.
func (f *HostFile) AllocatedBytes() (n int64, ok bool) {
	info, err := f.f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return allocatedBytes(info)
}
