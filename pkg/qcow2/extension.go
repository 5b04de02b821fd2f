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
	bitmapsExtLength      = 24 // bytes
	encryptionExtLength   = 16 // bytes
)

// FeatureNameLength is the length of a record of the feature name table, in
// bytes: u8 kind, u8 bit, 46 bytes of name.
const FeatureNameLength = 48

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
		for off := uint64(img.header.HeaderLength); off < end && end-off >= extensionHeaderLength; {
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

// extensionsEnd returns the first byte that no extension may touch: that of
// the backing file name, or that of the second cluster.
func (img *Image) extensionsEnd() uint64 {
	if off := img.header.BackingFileOffset; off != 0 {
		return min(off, img.geometry.ClusterSize)
	}
	return img.geometry.ClusterSize
}

// extensionAt decodes the extension at off; 8 bytes fit before end.
func (img *Image) extensionAt(off, end uint64) (Extension, error) {
	have := uint64(len(img.firstCluster))
	if have < off+extensionHeaderLength {
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
		return Extension{}, errorf(SectionExtensions, off, ErrTruncated, "extension 0x%08x (%s) has length %d, but the file ends at %#x",
			uint32(x.Type), x.Type, n, have)
	}
	x.Data = img.firstCluster[data:][:n:n]
	return x, nil
}

// Extension returns the extension of type t and whether there is one. Of
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

// Text returns the data of an extension that holds a string: the backing file
// format or the name of the external data file. The bytes are arbitrary.
func (x Extension) Text() string { return string(x.Data) }

// FeatureNames yields the records of a feature name table. A rest that is
// shorter than a record is an [*Error] at the end.
func (x Extension) FeatureNames() iter.Seq2[FeatureName, error] {
	return func(yield func(FeatureName, error) bool) {
		for p := x.Data; len(p) > 0; p = p[FeatureNameLength:] {
			if len(p) < FeatureNameLength {
				yield(FeatureName{}, errorf(SectionExtensions, x.Offset, ErrCorrupt,
					"the feature name table ends with %d bytes of a record of %d", len(p), FeatureNameLength))
				return
			}
			name, _, _ := bytes.Cut(p[2:FeatureNameLength], []byte{0})
			if !yield(FeatureName{Kind: FeatureKind(p[0]), Bit: p[1], Name: string(name)}, nil) {
				return
			}
		}
	}
}

// FeatureNames returns the image's own feature name table, as far as it can be
// read, for [IncompatibleFeatures.Names]. It holds one name for each bit at
// most (the first that the table gives), whatever the image repeats.
func (img *Image) FeatureNames() []FeatureName {
	var names []FeatureName
	seen := map[[2]byte]bool{}
	x, _ := img.Extension(ExtFeatureNames)
	for n, err := range x.FeatureNames() {
		if key := [2]byte{byte(n.Kind), n.Bit}; err == nil && !seen[key] {
			seen[key] = true
			names = append(names, n)
		}
	}
	return names
}

// BackingFormat returns the format of the backing file as the image names it,
// and whether it does.
func (img *Image) BackingFormat() (string, bool) {
	x, ok := img.Extension(ExtBackingFormat)
	return x.Text(), ok
}

// DataFile returns the name of the external data file (never opened by this
// package), and whether the image has one.
func (img *Image) DataFile() (string, bool) {
	x, ok := img.Extension(ExtDataFile)
	return x.Text(), ok
}

// An EncryptionHeader is the data of the full disk encryption extension
// (specification, section "Full disk encryption header pointer").
type EncryptionHeader struct {
	Offset uint64 // of the LUKS header, in bytes from the start of the file
	Length uint64 // bytes
}

// EncryptionHeader decodes the data of an extension of type [ExtEncryption].
func (x Extension) EncryptionHeader() (EncryptionHeader, error) {
	if err := x.wantLength(encryptionExtLength); err != nil {
		return EncryptionHeader{}, err
	}
	return EncryptionHeader{
		Offset: binary.BigEndian.Uint64(x.Data),
		Length: binary.BigEndian.Uint64(x.Data[8:]),
	}, nil
}

// A BitmapDirectory is the data of the bitmaps extension (specification,
// section "Bitmaps extension"): where the directory of the bitmaps lies.
type BitmapDirectory struct {
	NbBitmaps uint32
	Reserved  uint32 // 0
	Size      uint64 // bytes
	Offset    uint64 // bytes from the start of the file
}

// BitmapDirectory decodes the data of an extension of type [ExtBitmaps].
func (x Extension) BitmapDirectory() (BitmapDirectory, error) {
	if err := x.wantLength(bitmapsExtLength); err != nil {
		return BitmapDirectory{}, err
	}
	return BitmapDirectory{
		NbBitmaps: binary.BigEndian.Uint32(x.Data),
		Reserved:  binary.BigEndian.Uint32(x.Data[4:]),
		Size:      binary.BigEndian.Uint64(x.Data[8:]),
		Offset:    binary.BigEndian.Uint64(x.Data[16:]),
	}, nil
}

func (x Extension) wantLength(n int) error {
	if len(x.Data) == n {
		return nil
	}
	return errorf(SectionExtensions, x.Offset, ErrCorrupt, "the %s extension has length %d, not %d", x.Type, len(x.Data), n)
}
