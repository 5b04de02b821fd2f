package fleet

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A Row is what is known of one image. What is not known is nil, or its Has is false.
type Row struct {
	Name   string // that of [Found]
	Status Status
	// Err is why there is no verdict; nil if there is one.
	Err error

	// File is what the system says of the file; nil if it could not be opened.
	File *FileFacts
	// Image is what the header says; nil if there is none.
	Image *ImageFacts
	// Counts is what was counted; nil if nothing could be.
	Counts *Counts
}

// FileFacts are what the system says of an image file.
type FileFacts struct {
	Size      uint64 // bytes
	Allocated uint64 // bytes that it takes on its file system
	// HasAllocated reports whether Allocated is known.
	HasAllocated bool
	// Changed reports whether the file changed while it was read.
	Changed, HasChanged bool
	// Elsewhere is what another program does with the image.
	Elsewhere    qcow2.Elsewhere
	HasElsewhere bool
}

// ImageFacts are what a header says, and the extensions that belong to it.
type ImageFacts struct {
	Version     uint32
	Compat      string // "0.10" or "1.1", as in qemu-img
	VirtualSize uint64 // bytes
	Snapshots   uint32
	Encrypted   bool
	// Dirty and Corrupt are bits of the incompatible features. HasFeatures is false if
	// the file ends before them.
	Dirty, Corrupt, HasFeatures bool
	// Names of other files, as they are stored: arbitrary bytes.
	Backing, BackingFormat, DataFile          string
	HasBacking, HasBackingFormat, HasDataFile bool
	// Bitmaps is the number of bitmaps; HasBitmaps is false if that is not known.
	Bitmaps    uint32
	HasBitmaps bool
}

// Counts are numbers of [qcow2.CheckResult] and [qcow2.Usage].
type Counts struct {
	Corruptions    uint64 // errors
	Leaks          uint64 // clusters
	CheckErrors    uint64 // parts of the file that could not be read
	ImageEndOffset uint64 // bytes
	FreeBytes      uint64 // that nothing uses
	LeakedBytes    uint64 // of kind [qcow2.HostLeaked]
	// SnapshotsOnly is the number of bytes that only snapshots hold. HasSnapshotsOnly
	// is false if tables are damaged, or clusters are shared in more ways than can be
	// counted.
	SnapshotsOnly    uint64
	HasSnapshotsOnly bool
}

// InUse reports whether another program has the image open for writing.
func (r *Row) InUse() bool { return r.File != nil && r.File.Elsewhere == qcow2.ElsewhereWriting }

// Message returns what is wrong in words, "" if nothing is.
func (r *Row) Message() string {
	switch {
	case r.Err != nil:
		return words(r.Err)
	case r.Counts == nil:
		return ""
	}
	var all []string
	if r.Image.Corrupt {
		all = append(all, "marked corrupt")
	}
	if r.Image.Dirty && !r.InUse() { // else it is usual
		all = append(all, "marked dirty")
	}
	for _, n := range []struct {
		n         uint64
		one, many string
	}{{r.Counts.Corruptions, "error", "errors"}, {r.Counts.Leaks, "leaked cluster", "leaked clusters"}, {r.Counts.CheckErrors, "part cannot be read", "parts cannot be read"}} {
		switch n.n {
		case 0:
		case 1:
			all = append(all, "1 "+n.one)
		default:
			all = append(all, fmt.Sprintf("%d %s", n.n, n.many))
		}
	}
	return strings.Join(all, ", ")
}

// words returns an error without the name of the file.
func words(err error) string {
	if e, ok := err.(*fs.PathError); ok { //nolint:errorlint // a wrapped one has words around it
		err = e.Err
	}
	return err.Error()
}

// judge sets the status of an image that could be opened. failed is why nothing was
// counted.
func (r *Row) judge(failed error) {
	r.Err = failed
	switch {
	case r.File.Changed:
		r.Status, r.Err = StatusChanged, errChanged
	case errors.Is(failed, qcow2.ErrTruncated): // after what Open needs
		r.Status = StatusErrors
	case failed != nil:
		r.Status = statusOf(failed)
	case r.Counts.Corruptions == 0 && r.Counts.Leaks == 0:
		r.Status = StatusOK
	case r.InUse():
		r.Status = StatusLive
	case r.Counts.Corruptions > 0:
		r.Status = StatusErrors
	default:
		r.Status = StatusLeaks
	}
}

var errChanged = errors.New("the file changed while it was read")

// statusOf returns the status for what keeps an image from being looked at.
func statusOf(err error) Status {
	switch {
	case errors.Is(err, ErrTimeout):
		return StatusTimedOut
	case errors.Is(err, qcow2.ErrNotQcow2):
		return StatusNotQcow2
	case errors.Is(err, qcow2.ErrUnsupported):
		return StatusUnsupported
	case errors.Is(err, qcow2.ErrCorrupt), errors.Is(err, qcow2.ErrLimit):
		return StatusErrors
	}
	return StatusUnreadable
}
