package chain

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// Status is what became of a layer.
type Status uint8

// The statuses. Everything but Opened ends the chain.
const (
	Opened      Status = iota
	NotFollowed        // there was no Opener
	Missing            // there is no such file
	NotAllowed         // the name must not be opened
	Loop               // the file is a layer further up
	TooDeep            // the chain has more layers than may be opened
	NotAFile           // a directory, a pipe, a socket, a character device
	Opaque             // an image in another format than qcow2 and raw
	Unreadable         // the file cannot be read, or does not hold what it should
)

// StatusNames returns the names of the statuses in their order.
func StatusNames() []string {
	return []string{"opened", "not-followed", "missing", "refused", "loop", "too-deep", "not-a-file", "opaque", "unreadable"}
}

// String returns the name of the status.
func (s Status) String() string {
	if names := StatusNames(); int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("unknown-%d", uint8(s))
}

// A Layer is one file of a chain.
type Layer struct {
	Depth int // 0: the image itself
	// Filename is the name by which the layer was opened, or would be: its Name,
	// joined to the directory of the layer above if it is relative. Arbitrary bytes.
	Filename string
	// Name is the name as the layer above stores it, arbitrary bytes; of the image
	// its Filename. HasName is false if there is one that cannot be read.
	Name    string
	HasName bool
	// Declared is the format that the layer above declares, arbitrary bytes; "": none.
	Declared string
	// Format is the format that the layer was read in, or that it looks like: "qcow2",
	// "raw", or a [qcow2.ForeignFormat]; "" if the file was not opened.
	Format string
	Probed bool // the format is not declared: Format is what the first bytes say
	Status Status
	Reason string // why it was not opened, in words, with what they quote escaped

	Image *qcow2.Image // nil unless it is a qcow2 image
	Facts Facts        // nil unless the file was opened
	// VirtualSize is the size of the disk in bytes, that of a raw file rounded up to
	// sectors of 512 bytes; meaningful if the Status is Opened.
	VirtualSize uint64
	FileSize    uint64 // bytes; meaningful if Facts is not nil
	// DataFile is the external data file, nil if there is none.
	DataFile *DataFile

	raw   File // nil unless it is a raw file
	owned File // to be closed
}

// A DataFile is the external data file of a layer, which is never opened.
type DataFile struct {
	Filename, Name string // as in [Layer]
	Status         Status // Opened: it is there
	Reason         string
	FileSize       uint64 // bytes; meaningful if the Status is Opened
}

// Readable reports whether the layer was read, so that it is known what it holds.
func (l *Layer) Readable() bool { return l.Status == Opened }

// An Error is something wrong with a layer.
type Error struct {
	Depth int
	// Filename is that of the layer, arbitrary bytes.
	Filename string
	Err      error // an [*qcow2.Error], or why the layer was not opened
}

// Error returns the place in the chain and the words of the error.
func (e *Error) Error() string { return fmt.Sprintf("layer %d, %q: %v", e.Depth, e.Filename, e.Err) }

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// wrong returns an error about the layer. One about the image itself stays as it is.
func (l *Layer) wrong(err error) error {
	if l.Depth == 0 {
		return err
	}
	return &Error{l.Depth, l.Filename, err}
}
