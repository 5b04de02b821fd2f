package cmd

import (
	"errors"
	"io/fs"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// An Opener opens an image, as [qcow2.OpenFile] does, and returns the file apart
// from it.
type Opener func(name string, opts ...qcow2.Option) (*qcow2.Image, File, error)

// A File is what the command needs of the file that an image is in. A [qcow2.File]
// has these methods.
type File interface {
	// Close closes the file, which was only read.
	Close() error
	// Changed reports whether the file has changed since it was opened; ok is false
	// where that is not known.
	Changed() (changed, ok bool)
	// OpenElsewhere returns what another program does with the image; ok is false
	// where that is not known.
	OpenElsewhere() (state qcow2.Elsewhere, ok bool)
	// AllocatedBytes returns how much space the file takes on its file system;
	// ok is false where that is not known.
	AllocatedBytes() (n int64, ok bool)
	// IsDevice reports whether it is a block device, whose size is not that of the
	// image.
	IsDevice() bool
}

// open opens an image. Nothing else in this package opens any.
func (a *app) open(name string) (*qcow2.Image, File, error) {
	img, file, err := a.Open(name, a.options()...)
	if errors.Is(err, fs.ErrNotExist) && name == "-" {
		err = &hintError{errors.New(reason(err)), "an image cannot come from a pipe: name a file or a block device"}
	}
	return img, file, err
}

// options returns how images are to be read.
func (a *app) options() []qcow2.Option {
	if a.noLimits {
		return []qcow2.Option{qcow2.WithLimits(qcow2.NoLimits())}
	}
	return nil
}

// openFile is the Opener of files and block devices.
func openFile(name string, opts ...qcow2.Option) (*qcow2.Image, File, error) {
	f, err := qcow2.OpenFile(name, opts...)
	if err != nil {
		return nil, nil, err
	}
	return f.Image, f, nil
}
