package qcow2

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// ExtensionType is the type word of a header extension (specification, section
// "Header extensions").
type ExtensionType uint32

// Header extension types.
const (
	extEnd           ExtensionType = 0x00000000
	ExtBackingFormat ExtensionType = 0xe2792aca // format of the backing file
	ExtFeatureNames  ExtensionType = 0x6803f857 // feature name table
	ExtBitmaps       ExtensionType = 0x23852875 // persistent dirty bitmaps
	ExtEncryption    ExtensionType = 0x0537be77 // where the LUKS header lies
	ExtDataFile      ExtensionType = 0x44415441 // name of the external data file
)

// String returns the name of the type, or "unknown".
func (t ExtensionType) String() string {
	switch t {
	case extEnd:
		return "end"
	case ExtBackingFormat:
		return "backing-file-format"
	case ExtFeatureNames:
		return "feature-name-table"
	case ExtBitmaps:
		return "bitmaps"
	case ExtEncryption:
		return "full-disk-encryption"
	case ExtDataFile:
		return "external-data-file"
	}
	return "unknown"
}

const (
	extensionHeaderLength = 8  // bytes: u32 type, u32 length
	featureNameLength     = 48 // bytes: u8 kind, u8 bit, 46 bytes of name
)

// An Extension is one header extension.
type Extension struct {
	Type ExtensionType
	// Offset is where the extension's type word lies, in bytes from the start
	// of the file. Its data begin 8 bytes later.
	Offset uint64
	// Data is the payload without the padding. Do not modify it.
	Data []byte
}

// Extensions yields the header extensions in the order of the file, without
// the end marker. An error ends the sequence: what follows a broken extension
// cannot be found. It is an [*Error], with the zero Extension.
func (img *Image) Extensions() iter.Seq2[Extension, error] {
	return func(yield func(Extension, error) bool) {
		if img.geometryErr != nil {
			yield(Extension{}, img.geometryErr)
			return
		}
		end := img.extensionsEnd()
		for off := uint64(img.header.HeaderLength); off < end; {
			x, err := img.extensionAt(off, end)
			if err != nil {
				yield(Extension{}, err)
				return
			}
			if x.Type == extEnd || !yield(x, nil) {
				return
			}
			off += extensionHeaderLength + (uint64(len(x.Data))+7)&^7
		}
	}
}

// extensionsEnd returns where the extensions must end: where the backing file name
// begins, or the second cluster.
func (img *Image) extensionsEnd() uint64 {
	if off := img.header.BackingFileOffset; off != 0 {
		return min(off, img.geometry.ClusterSize)
	}
	return img.geometry.ClusterSize
}

// extensionAt decodes the extension at off, before end.
func (img *Image) extensionAt(off, end uint64) (Extension, error) {
	have := uint64(len(img.firstCluster))
	if end-off < extensionHeaderLength {
		return Extension{}, errorf(SectionExtensions, off, ErrCorrupt, "%d bytes are left before %#x, too few for an extension or an end marker", end-off, end)
	}
	if have < off+extensionHeaderLength {
		if img.firstClusterErr != nil {
			return Extension{}, img.firstClusterErr
		}
		return Extension{}, errorf(SectionExtensions, off, ErrTruncated, "the file ends at %#x, before an end marker", have)
	}
	x := Extension{Type: ExtensionType(binary.BigEndian.Uint32(img.firstCluster[off:])), Offset: off}
	n := uint64(binary.BigEndian.Uint32(img.firstCluster[off+4:]))
	data := off + extensionHeaderLength
	if n > end-data {
		return Extension{}, errorf(SectionExtensions, off, ErrCorrupt, "extension 0x%08x (%s) has length %d, but only %d bytes are left before %#x",
			uint32(x.Type), x.Type, n, end-data, end)
	}
	if n > have-data {
		if img.firstClusterErr != nil {
			return Extension{}, img.firstClusterErr
		}
		return Extension{}, errorf(SectionExtensions, off, ErrTruncated, "extension 0x%08x (%s) has length %d, but the file ends at %#x",
			uint32(x.Type), x.Type, n, have)
	}
	x.Data = img.firstCluster[data:][:n:n]
	return x, nil
}

// Extension returns the extension of type t and whether there is one. If there are
// several it is the last, as in QEMU.
func (img *Image) Extension(t ExtensionType) (Extension, bool) {
	var last Extension
	found := false
	for x, err := range img.Extensions() {
		if err == nil && x.Type == t {
			last, found = x, true
		}
	}
	return last, found
}

// Text returns the data of an extension that holds a string (the backing file
// format, or the name of the external data file), arbitrary bytes.
func (x Extension) Text() string { return string(x.Data) }

// FeatureNames yields the records of a feature name table. An incomplete record at
// the end is ignored.
func (x Extension) FeatureNames() iter.Seq[FeatureName] {
	return func(yield func(FeatureName) bool) {
		for p := x.Data; len(p) >= featureNameLength; p = p[featureNameLength:] {
			name, _, _ := bytes.Cut(p[2:featureNameLength], []byte{0})
			if !yield(FeatureName{Kind: FeatureKind(p[0]), Bit: p[1], Name: string(name)}) {
				return
			}
		}
	}
}

// FeatureNames returns the image's own feature name table, as far as it can be
// read, for [IncompatibleFeatures.Names]. If the table names a bit several times,
// only the first name is returned.
func (img *Image) FeatureNames() []FeatureName {
	var names []FeatureName
	seen := map[[2]byte]bool{}
	x, _ := img.Extension(ExtFeatureNames)
	for n := range x.FeatureNames() {
		if key := [2]byte{byte(n.Kind), n.Bit}; !seen[key] {
			seen[key] = true
			names = append(names, n)
		}
	}
	return names
}

// DataFile returns the name of the external data file, arbitrary bytes, and whether
// the image names one. Whether it uses one depends on the feature bit
// [ExternalDataFile]. The file is never opened.
func (img *Image) DataFile() (string, bool) {
	x, ok := img.Extension(ExtDataFile)
	return x.Text(), ok
}

// ExtensionError returns an [*Error] if QEMU refuses the image because of the data
// of this extension, and else nil. It judges every extension, even one that a later
// one of its type replaces. [Image.Bitmaps] and [Image.LUKS] judge what the last
// one points to.
func (img *Image) ExtensionError(x Extension) error {
	switch x.Type {
	case ExtBitmaps:
		d, err := x.BitmapDirectory()
		if err != nil || img.header.AutoclearFeatures&BitmapsConsistent == 0 {
			return err
		}
		return img.bitmapDirectoryError(d)
	case ExtEncryption:
		e, err := x.EncryptionHeader()
		if err != nil {
			return err
		}
		return img.encryptionHeaderError(e)
	case ExtBackingFormat:
		if n := uint64(len(x.Data)); n > img.limits.BackingFormatBytes {
			return errorf(SectionExtensions, x.Offset, ErrLimit, "a backing file format of %d bytes is above the limit of %d (BackingFormatBytes)", n, img.limits.BackingFormatBytes)
		}
	}
	return nil
}

func (x Extension) wantLength(n int) error {
	if len(x.Data) == n {
		return nil
	}
	return errorf(SectionExtensions, x.Offset, ErrCorrupt, "the %s extension has length %d, not %d", x.Type, len(x.Data), n)
}
