package qcow2

import "encoding/binary"

// Magic is the first word of every qcow2 image: "QFI\xfb".
const Magic = 0x514649fb

const (
	headerLengthV2 = 72  // bytes; also the least that can be shown
	headerLengthV3 = 104 // bytes; the shortest header of version 3
)

// KnownHeaderLength is where the header fields known to this package end, in
// bytes.
const KnownHeaderLength = 112

// CryptMethod is the header's crypt_method: how guest data is encrypted.
type CryptMethod uint32

// Encryption methods (specification, section "Header").
const (
	CryptNone CryptMethod = 0
	CryptAES  CryptMethod = 1 // legacy: broken by design, deprecated
	CryptLUKS CryptMethod = 2
)

var cryptMethodNames = [...]string{"none", "aes", "luks"}

// String returns QEMU's name of the method, or "unknown-N".
func (m CryptMethod) String() string { return nameOf(cryptMethodNames[:], m, "unknown-") }

// CompressionType is the header's compression_type: the algorithm of all
// compressed clusters of the image.
type CompressionType uint8

// Compression types (specification, section "Header").
const (
	CompressionDeflate CompressionType = 0
	CompressionZstd    CompressionType = 1
)

var compressionTypeNames = [...]string{"zlib", "zstd"}

// String returns QEMU's name of the type ("zlib" for deflate), or "unknown-N".
func (t CompressionType) String() string { return nameOf(compressionTypeNames[:], t, "unknown-") }

// A Header holds the fields of the image header as they are in the file, unchecked;
// [Image.HeaderErrors] judges them. A field that version 2 or a short header lacks
// has the value that the specification gives for its absence.
type Header struct {
	Magic                 uint32
	Version               uint32 // 2 or 3
	BackingFileOffset     uint64 // bytes; 0: no backing file
	BackingFileSize       uint32 // bytes
	ClusterBits           uint32 // cluster size = 1 << ClusterBits bytes
	Size                  uint64 // virtual disk size in bytes, as stored; can end inside a sector
	CryptMethod           CryptMethod
	L1Size                uint32 // entries of the active L1 table
	L1TableOffset         uint64 // bytes
	RefcountTableOffset   uint64 // bytes
	RefcountTableClusters uint32
	NbSnapshots           uint32
	SnapshotsOffset       uint64 // bytes; meaningful when NbSnapshots > 0
	IncompatibleFeatures  IncompatibleFeatures
	CompatibleFeatures    CompatibleFeatures
	AutoclearFeatures     AutoclearFeatures
	RefcountOrder         uint32 // refcount width = 1 << RefcountOrder bits; 4 in version 2
	HeaderLength          uint32 // bytes; 72 in version 2
	CompressionType       CompressionType
	// Padding follows CompressionType; the specification requires zeros.
	Padding [7]byte
	// Rest holds the bytes from [KnownHeaderLength] to HeaderLength, as far as the first
	// cluster reaches: fields that this package does not know. Usually nil.
	Rest []byte

	stored uint32 // bytes of the known header that the file has
}

// known returns where the header ends as the image claims, at most
// [KnownHeaderLength], in bytes.
func (h *Header) known() uint32 {
	if h.Version == 2 {
		return headerLengthV2
	}
	return min(max(h.HeaderLength, headerLengthV3), KnownHeaderLength)
}

// VirtualSize returns the disk size in bytes that the guest sees: Size without
// a last partial sector, which QEMU ignores.
func (h *Header) VirtualSize() uint64 { return h.Size &^ 511 }

// parseHeader decodes p, the first bytes of the file, up to [KnownHeaderLength].
func parseHeader(p []byte) (Header, error) {
	var h Header
	if len(p) == 0 {
		return h, errorf(SectionHeader, 0, ErrNotQcow2, "not a qcow2 image: the file is empty")
	}
	if len(p) < 4 || binary.BigEndian.Uint32(p) != Magic {
		return h, errorf(SectionHeader, 0, ErrNotQcow2, "not a qcow2 image: it begins with %x, not %x", p[:min(4, len(p))], Magic)
	}
	if len(p) >= 8 {
		if v := binary.BigEndian.Uint32(p[4:]); v != 2 && v != 3 {
			return h, errorf(SectionHeader, 4, ErrUnsupported, "version %d is not supported, only 2 and 3 are", v)
		}
	}
	if len(p) < headerLengthV2 {
		return h, errorf(SectionHeader, uint64(len(p)), ErrTruncated, "the file ends inside the header: it has %d bytes of at least %d", len(p), headerLengthV2)
	}
	h.HeaderLength, h.RefcountOrder = headerLengthV2, 4 // not stored in version 2
	h.stored = uint32(len(p))
	for f := range Fields() {
		if h.has(f) {
			f.decode(&h, p[f.Offset:][:f.Size])
		}
	}
	return h, nil
}

// has reports whether the file holds the field. Fields are decoded in the order of
// the file, so that Version and HeaderLength are known before they are needed.
func (h *Header) has(f Field) bool {
	end := uint32(f.Offset + f.Size)
	if f.Offset < 8 {
		return end <= h.stored
	}
	return end <= h.stored && uint32(f.Offset) < h.known()
}

// Compat returns the version as qemu-img's compat option calls it: "0.10" for
// version 2, "1.1" for version 3.
func (h *Header) Compat() string {
	if h.Version == 2 {
		return "0.10"
	}
	return "1.1"
}
