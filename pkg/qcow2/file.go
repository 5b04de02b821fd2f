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
	f      *os.File
	opened fs.FileInfo // as it was when it was opened
}

// OpenFile opens the named regular file or block device, for reading only, and
// then the image in it as [Open] does. Close it when done.
func OpenFile(name string, opts ...Option) (*File, error) {
	f, err := openSeekable(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	size, err := f.Seek(0, io.SeekEnd) // a block device has no size otherwise
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	file := &File{f: f, opened: info}
	if file.Image, err = Open(f, size, append([]Option{WithHoles(file.DataRange)}, opts...)...); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file, nil
}

// openSeekable opens what can be read at any offset. It looks before it opens:
// opening a named pipe would wait for a writer.
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

// unseekable names what the mode is of, or returns "" for a regular file or a
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
func (f *File) Close() error { return f.f.Close() }

// ReadAt reads bytes of the image file, as [io.ReaderAt] says.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }

// DataRange returns the first range of the file from offset on that is no hole,
// from start up to end, in bytes. Without one both are the end of the file. The
// error is [errors.ErrUnsupported], or that of the system, where holes are not
// known: on systems other than Linux, macOS and FreeBSD, and on file systems that
// do not tell.
func (f *File) DataRange(offset uint64) (start, end uint64, err error) { return dataRange(f.f, offset) }

// Changed reports whether the size of the file or the time of its last change is
// not what it was when it was opened: what was read of it since, such as of the
// disk of a running machine, may not fit together. Of a block device that is not
// known.
func (f *File) Changed() bool {
	info, err := f.f.Stat()
	return err == nil && (info.Size() != f.opened.Size() || info.Mode().IsRegular() && !info.ModTime().Equal(f.opened.ModTime()))
}

// IsDevice reports whether it is a block device.
func (f *File) IsDevice() bool { return f.opened.Mode()&fs.ModeDevice != 0 }

// AllocatedBytes returns how much space the file takes on its file system, in
// bytes, holes left out; ok is false where that is not known, such as on a
// block device.
func (f *File) AllocatedBytes() (n int64, ok bool) {
	info, err := f.f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return 0, false
	}
	return allocatedBytes(info)
}
