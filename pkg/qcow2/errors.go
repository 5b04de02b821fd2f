package qcow2

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of [Error], for errors.Is. Any other Kind is the error of the
// underlying io.ReaderAt.
var (
	// ErrNotQcow2: the file is not a qcow2 image at all. The Kind is a
	// [ForeignFormat] if its format is recognised.
	ErrNotQcow2 = errors.New("not a qcow2 image")
	// ErrUnsupported: well formed, but of a version or with a feature that
	// this package does not know.
	ErrUnsupported = errors.New("unsupported")
	// ErrTruncated: the file ends before the structure does.
	ErrTruncated = errors.New("truncated")
	// ErrCorrupt: the structure contradicts the specification or itself.
	ErrCorrupt = errors.New("corrupt")
	// ErrLimit: the structure is larger than [Limits] allows; it was not read.
	ErrLimit = errors.New("limit exceeded")
	// ErrEntry: an entry of an L2 table that refers to no place where its data can
	// be. It is an ErrCorrupt, too.
	ErrEntry = fmt.Errorf("%w entry", ErrCorrupt)
	// ErrReadable: what is wrong, such as reserved bits, leaves an entry readable
	// and hides nothing. It is an ErrCorrupt, too.
	ErrReadable = fmt.Errorf("%w, but readable", ErrCorrupt)
)

// The errors of [Image.FindSnapshot] when nothing is wrong with the image.
var (
	// ErrNoSnapshot: no snapshot has the id, name or position.
	ErrNoSnapshot = errors.New("no snapshot")
	// ErrSeveralSnapshots: more than one snapshot has the id or name.
	ErrSeveralSnapshots = errors.New("several snapshots match")
)

// Why [Image.FindTable] or [Image.FindBitmap] finds nothing when nothing is wrong
// with the image.
var (
	// ErrNoTable: there is no such table.
	ErrNoTable = errors.New("no such table")
	// ErrNoBitmap: no bitmap has the name or position.
	ErrNoBitmap = errors.New("no bitmap")
	// ErrSeveralBitmaps: more than one bitmap has the name.
	ErrSeveralBitmaps = errors.New("several bitmaps match")
)

// A Section names the part of an image that an [Error] is about, in the words
// of the specification.
type Section string

// The sections of an image.
const (
	SectionHeader           Section = "header"
	SectionExtensions       Section = "header extensions"
	SectionSnapshotTable    Section = "snapshot table"
	SectionRefcountTable    Section = "refcount table"
	SectionRefcountBlock    Section = "refcount block"
	SectionL1Table          Section = "L1 table"
	SectionL2Table          Section = "L2 table"
	SectionBitmapDirectory  Section = "bitmap directory"
	SectionBitmapTable      Section = "bitmap table"
	SectionBitmapData       Section = "bitmap data"
	SectionEncryptionHeader Section = "encryption header"
)

// Key returns the section as a machine-readable word: "snapshot-table".
func (s Section) Key() string {
	return strings.ReplaceAll(strings.ToLower(string(s)), " ", "-")
}

// An Error is something wrong with an image, and where.
type Error struct {
	// Section is the part of the image that was being read.
	Section Section
	// Offset is the position of the offending bytes, in bytes from the start
	// of the image file.
	Offset uint64
	// Kind is one of the Err variables of this package, a [ForeignFormat], or
	// what the underlying io.ReaderAt returned.
	Kind error
	// Detail says what is wrong, with the field and its value if there is one, in
	// lower case and without a full stop. It never holds bytes of the image
	// unescaped.
	Detail string
}

// Error returns the section, the offset and the detail on one line.
func (e *Error) Error() string {
	return fmt.Sprintf("%s at offset %#x: %s", e.Section, e.Offset, e.Detail)
}

// Unwrap returns e.Kind.
func (e *Error) Unwrap() error { return e.Kind }

// isRead reports whether reading the file failed; otherwise its content is wrong.
func (e *Error) isRead() bool {
	for _, kind := range []error{ErrNotQcow2, ErrUnsupported, ErrTruncated, ErrCorrupt, ErrLimit} {
		if errors.Is(e.Kind, kind) {
			return false
		}
	}
	return true
}

// inEntry adds the index of a table entry to the words of an error.
func inEntry(err error, index int) error {
	if e, ok := errors.AsType[*Error](err); ok {
		return errorf(e.Section, e.Offset, e.Kind, "entry %d: %s", index, e.Detail)
	}
	return err
}

// errorf returns an Error whose detail is formatted.
func errorf(s Section, offset uint64, kind error, format string, args ...any) *Error {
	return &Error{Section: s, Offset: offset, Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
