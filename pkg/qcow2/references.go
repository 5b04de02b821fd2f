package qcow2

import (
	"iter"
	"path"
	"strings"
)

// A FileRole is what an image uses another file for.
type FileRole uint8

// The roles of files.
const (
	RoleBackingFile FileRole = iota // unallocated clusters are read from it
	RoleDataFile                    // it holds the guest data
)

// FileRoleNames returns the names of the roles in their order.
func FileRoleNames() []string { return []string{"backing-file", "data-file"} }

// String returns the name of the role.
func (r FileRole) String() string { return nameOf(FileRoleNames(), r, "unknown-") }

// A NameKind is the kind of a file name, judged by its text alone: a symbolic link
// can still lead out of the directory.
type NameKind uint8

// The kinds of file names, as QEMU distinguishes them.
const (
	NameInside   NameKind = iota // a relative path that stays in its directory
	NameOutside                  // a relative path that leaves its directory: "../base.qcow2"
	NameAbsolute                 // a path from the root
	NameProtocol                 // a colon comes before the first slash: "nbd://…", also "file:x"
	NameJSON                     // a protocol and its options: "json:{…}"
)

// NameKindNames returns the names of the kinds in their order.
func NameKindNames() []string { return []string{"inside", "outside", "absolute", "protocol", "json"} }

// String returns the name of the kind.
func (k NameKind) String() string { return nameOf(NameKindNames(), k, "unknown-") }

// A FileReference is another file that an image names.
type FileReference struct {
	Role FileRole
	// Name is the name as stored: arbitrary bytes.
	Name string
	Kind NameKind // of the name that [FileReference.Opened] returns
	// Format is the format of a backing file as the image names it, arbitrary
	// bytes; if it is empty, QEMU probes the file.
	Format string
	// Used reports whether the image needs the file. A data file can be named
	// without the feature bit [ExternalDataFile]; QEMU then does not open it.
	Used bool
	// Offset is where the name lies, in bytes from the start of the file.
	Offset uint64
}

// Opened returns the name that QEMU opens: Name up to its first NUL.
func (r *FileReference) Opened() string {
	name, _, _ := strings.Cut(r.Name, "\x00")
	return name
}

// References yields every other file that the image names: the backing file and the
// external data file. No file is opened. QEMU resolves a relative backing file name
// in the directory of the image (see [FullBackingName]), a relative data file name
// in the working directory.
//
// An error means that the image may need a file that is not yielded: the header or
// an extension is damaged, the image has unknown features, or it needs a data file
// and does not name it. A gate that decides by the references whether to open an
// image must refuse it for any error. The other references are yielded all the
// same.
func (img *Image) References() iter.Seq2[FileReference, error] {
	return func(yield func(FileReference, error) bool) {
		if err := img.Supported(); err != nil && !yield(FileReference{}, err) {
			return
		}
		if img.geometryErr != nil || !img.yieldBackingFile(yield) {
			return
		}
		for _, err := range img.Extensions() {
			if err != nil && !yield(FileReference{}, err) {
				return
			}
		}
		img.yieldDataFile(yield)
	}
}

// yieldBackingFile yields the backing file, if there is one, or why its name is not
// known.
func (img *Image) yieldBackingFile(yield func(FileReference, error) bool) bool {
	name, ok, err := img.BackingFile()
	if err != nil {
		return yield(FileReference{}, err)
	}
	if !ok {
		return true
	}
	r := FileReference{Role: RoleBackingFile, Name: name, Used: true, Offset: img.header.BackingFileOffset}
	r.Kind = nameKind(r.Opened())
	r.Format, _ = img.BackingFormat()
	return yield(r, nil)
}

// yieldDataFile yields the external data file, if there is one, or an error if it
// has no name.
func (img *Image) yieldDataFile(yield func(FileReference, error) bool) bool {
	x, ok := img.Extension(ExtDataFile)
	r := FileReference{Role: RoleDataFile, Name: x.Text(), Used: img.hasDataFile(), Offset: x.Offset + extensionHeaderLength}
	r.Kind = nameKind(r.Opened())
	if r.Used && r.Opened() == "" {
		return yield(FileReference{}, errorf(SectionHeader, fieldOffset("incompatible_features"), ErrCorrupt,
			"bit 2 (external data file) is set, but the image does not name the file"))
	}
	return !ok || yield(r, nil)
}

// nameKind returns the kind of a file name.
func nameKind(name string) NameKind {
	clean := path.Clean(name)
	switch {
	case strings.HasPrefix(name, "json:"):
		return NameJSON
	case hasProtocol(name):
		return NameProtocol
	case path.IsAbs(name):
		return NameAbsolute
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return NameOutside
	}
	return NameInside
}
