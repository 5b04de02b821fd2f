package cmd

import (
	"bytes"
	"errors"
	"io"
	"io/fs"

	"github.com/qinspect/qinspect/pkg/audit"
	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A HostFile is a file that may be no image. A [qcow2.HostFile] has these methods.
type HostFile interface {
	File
	io.ReaderAt
	// Size returns the size of the file in bytes.
	Size() int64
	// DataRange finds what is no hole, as [qcow2.HostFile.DataRange] does.
	DataRange(offset uint64) (start, end uint64, err error)
}

// A pipe is the start of something that can be read only once.
type pipe struct{ *bytes.Reader }

func (p *pipe) Close() error                                    { return nil }
func (p *pipe) Changed() (changed, ok bool)                     { return false, false }
func (p *pipe) OpenElsewhere() (state qcow2.Elsewhere, ok bool) { return qcow2.ElsewhereNo, false }
func (p *pipe) AllocatedBytes() (n int64, ok bool)              { return 0, false }
func (p *pipe) Info() fs.FileInfo                               { return nil }
func (p *pipe) IsDevice() bool                                  { return false }

func (p *pipe) DataRange(uint64) (start, end uint64, err error) {
	return 0, 0, errors.ErrUnsupported
}

// openToAudit opens a file, be it an image or not; "-" is standard input, of which
// stdin returns the start. It returns no image.
func (a *app) openToAudit(name string, headerOnly bool, stdin func() ([]byte, error)) (*qcow2.Image, File, error) {
	if name != "-" {
		f, err := a.OpenHostFile(name)
		if err != nil {
			return nil, nil, err
		}
		return nil, f, nil
	}
	if !headerOnly {
		return nil, nil, &hintError{errors.New("an image cannot come from a pipe"), "name a file or a block device, or look at its start alone with --header-only"}
	}
	p, err := stdin()
	return nil, &pipe{bytes.NewReader(p)}, err
}

// readStdin returns the start of standard input.
func (a *app) readStdin() ([]byte, error) {
	if a.Stdin == nil {
		return nil, errors.New("there is no standard input")
	}
	return audit.ReadPrefix(a.Stdin)
}
