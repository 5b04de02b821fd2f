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
	*Storage
}

// OpenFile opens the named regular file or block device, for reading only, and then
// the image in it as [Open] does. The error is that of the system, or of [Open].
// Close it when done.
func OpenFile(name string, opts ...Option) (*File, error) {
	s, err := OpenStorage(name)
	if err != nil {
		return nil, err
	}
	img, err := Open(s, s.Length(), append([]Option{WithHoles(s.DataRange)}, opts...)...)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return &File{img, s}, nil
}

// A Storage is a file or block device that is open for reading, whatever it holds.
type Storage struct {
	f      *os.File
	opened fs.FileInfo // at the time of opening
	length int64       // bytes
}

// OpenStorage opens the named regular file or block device, for reading only, and
// looks at nothing in it. The error is that of the system. Close it when done.
func OpenStorage(name string) (*Storage, error) {
	f, err := openSeekable(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	length, err := f.Seek(0, io.SeekEnd) // a block device has no size otherwise
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Storage{f, info, length}, nil
}

// Length returns the size of the file or device in bytes, when it was opened.
func (s *Storage) Length() int64 { return s.length }

// openSeekable opens a file that can be read at any offset. It checks before it
// opens: opening a named pipe would wait for a writer.
func openSeekable(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if kind := unseekable(info.Mode()); kind != "" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%s, not a file or block device", kind)}
	}
	f, err := os.OpenFile(name, openFlags, 0) // it may be a pipe by now
	if err != nil {
		return nil, err
	}
	if info, err = f.Stat(); err == nil && unseekable(info.Mode()) != "" {
		err = &fs.PathError{Op: "open", Path: name, Err: fmt.Errorf("%s, not a file or block device", unseekable(info.Mode()))}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
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

// Close closes the file.
func (s *Storage) Close() error { return s.f.Close() }

// ReadAt reads bytes of the image file, as [io.ReaderAt] says.
func (s *Storage) ReadAt(p []byte, off int64) (int, error) { return s.f.ReadAt(p, off) }

// DataRange returns the first range of data, not of holes, at or after offset: from
// start up to end, in bytes. If there is none, both are the end of the file. The
// error is that of the system, and [errors.ErrUnsupported] on systems other than
// Linux, macOS and FreeBSD, where holes cannot be found.
func (s *Storage) DataRange(offset uint64) (start, end uint64, err error) {
	return dataRange(s.f, offset)
}

// Changed reports whether the file has changed since it was opened, by its size
// and the time of its last change: what was read of it may then not fit together,
// such as of the disk of a running machine. ok is false where that is not known: a
// block device has no time of its last change.
func (s *Storage) Changed() (changed, ok bool) {
	info, err := s.f.Stat()
	if err != nil {
		return false, false
	}
	if info.Size() != s.opened.Size() {
		return true, true
	}
	return !info.ModTime().Equal(s.opened.ModTime()), info.Mode().IsRegular()
}

// OpenElsewhere returns what another program does with the image. It asks for the
// locks that QEMU takes and takes none. ok is false where they cannot be asked for:
// on systems other than Linux, and on some network file systems. A program that
// takes no locks is not seen.
func (s *Storage) OpenElsewhere() (state Elsewhere, ok bool) { return openElsewhere(s.f) }

// IsDevice reports whether it is a block device.
func (s *Storage) IsDevice() bool { return s.opened.Mode()&fs.ModeDevice != 0 }

// AllocatedBytes returns how much space the file takes on its file system, in
// bytes, without its holes; ok is false if that is not known, such as for a block
// device.
func (s *Storage) AllocatedBytes() (n int64, ok bool) {
	info, err := s.f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return allocatedBytes(info)
}
