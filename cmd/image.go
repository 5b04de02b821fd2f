package cmd

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/qinspect/qinspect/pkg/chain"
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
	// Facts are what is known beside its content: whether it has changed since it was
	// opened, what another program does with it, how much space it takes.
	chain.Facts
	// IsDevice reports whether it is a block device, whose size is not that of the
	// image.
	IsDevice() bool
}

// Layers find the files that an image names. [chain.Folders] has these methods.
type Layers interface {
	chain.Opener
	Close() error
}

// openFolders returns the Layers of an image: files below its directory, and below
// those that are allowed.
func openFolders(image string, allowed []string) (Layers, error) {
	f, err := chain.NewFolders(filepath.ToSlash(image), allowed...)
	if err != nil {
		return nil, err
	}
	return f, nil
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
