package qcow2

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// HeaderErrors returns what is wrong with the header, in the order of the file:
// fields that violate the specification, exceed a limit or contradict the header
// extensions, and a header that the file cuts off. Unknown feature bits are not an
// error here.
func (img *Image) HeaderErrors() []*Error {
	h, j := &img.header, headerJudge{img: img}
	j.errs = geometryErrors(h)
	if img.geometryErr == nil && img.src.size < uint64(h.HeaderLength) {
		j.bad(uint32(img.src.size), ErrTruncated, "the file ends inside the header: it has %d bytes of %d", img.src.size, h.HeaderLength)
	}
	if !h.CryptMethod.known() {
		j.field("crypt_method", ErrUnsupported, "%d is neither 0 (none), 1 (AES) nor 2 (LUKS)", uint32(h.CryptMethod))
	}
	if h.CompressionType.known() {
		j.compressionBit()
	} else {
		j.field("compression_type", ErrUnsupported, "%d is neither 0 (deflate) nor 1 (zstd)", uint8(h.CompressionType))
	}
	if img.geometryErr == nil { // what follows needs the cluster size
		j.backingName()
		j.errs = append(j.errs, img.l1TableErrors()...)
		j.l1Size()
		j.errs = append(j.errs, img.refcountTableErrors()...)
		j.snapshotTable()
		j.encryption()
		j.backingFormat()
	}
	slices.SortStableFunc(j.errs, func(a, b *Error) int { return cmp.Compare(a.Offset, b.Offset) })
	return j.errs
}

func (m CryptMethod) known() bool     { return m <= CryptLUKS }
func (t CompressionType) known() bool { return t <= CompressionZstd }

// A headerJudge collects what is wrong with the header of img.
type headerJudge struct {
	img  *Image
	errs []*Error
}

func (j *headerJudge) bad(offset uint32, kind error, format string, args ...any) {
	j.errs = append(j.errs, errorf(SectionHeader, uint64(offset), kind, format, args...))
}

// field records that the named field is wrong; format continues after its name.
func (j *headerJudge) field(name string, kind error, format string, args ...any) {
	j.bad(uint32(fieldOffset(name)), kind, name+" "+format, args...)
}

func (j *headerJudge) compressionBit() {
	h := &j.img.header
	bit := h.IncompatibleFeatures&CompressionBit != 0
	switch {
	case bit && h.CompressionType == CompressionDeflate:
		j.field("compression_type", ErrCorrupt, "is 0 (deflate) or absent, but incompatible feature bit 3 is set")
	case !bit && h.CompressionType != CompressionDeflate:
		j.field("compression_type", ErrCorrupt, "%d needs incompatible feature bit 3, which is not set", uint8(h.CompressionType))
	}
}

func (j *headerJudge) backingName() {
	h, g := &j.img.header, j.img.geometry
	if h.BackingFileOffset == 0 {
		return
	}
	if _, _, err := j.img.BackingFile(); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			j.errs = append(j.errs, e)
		}
	}
	if h.BackingFileOffset > g.ClusterSize {
		j.field("backing_file_offset", ErrCorrupt, "%#x lies outside the first cluster", h.BackingFileOffset)
	} else if uint64(h.BackingFileSize) > g.ClusterSize-h.BackingFileOffset {
		j.field("backing_file_size", ErrCorrupt, "%d: the name at %#x crosses the end of the first cluster", h.BackingFileSize, h.BackingFileOffset)
	}
}

// l1Size judges whether the active L1 table is large enough for the disk.
func (j *headerJudge) l1Size() {
	h, g := &j.img.header, j.img.geometry
	if uint64(h.L1Size) < g.L1Entries && uint64(h.L1Size)*entrySize <= j.img.limits.L1Bytes {
		j.field("l1_size", ErrCorrupt, "%d is too small: the size of %d bytes needs %d", h.L1Size, g.VirtualSize, g.L1Entries)
	}
}

func (j *headerJudge) snapshotTable() {
	h := &j.img.header
	if err := j.img.snapshotCountError(); err != nil {
		j.errs = append(j.errs, err)
	}
	if h.NbSnapshots > 0 && h.SnapshotsOffset == 0 {
		j.field("snapshots_offset", ErrCorrupt, "is 0, but nb_snapshots is %d", h.NbSnapshots)
	}
	j.table("snapshots_offset", h.SnapshotsOffset, 0)
}

// table judges the offset of a table of n bytes.
func (j *headerJudge) table(field string, offset, n uint64) {
	switch {
	case offset == 0 && n > 0:
		j.field(field, ErrCorrupt, "is 0: the table would overlap the header")
	case offset%j.img.geometry.ClusterSize != 0:
		j.field(field, ErrCorrupt, "%#x is not a multiple of the cluster size %#x", offset, j.img.geometry.ClusterSize)
	case offset > math.MaxInt64 || n > math.MaxInt64-offset:
		j.field(field, ErrCorrupt, "%#x: the table of %d bytes would reach beyond 2^63", offset, n)
	}
}

func (j *headerJudge) encryption() {
	x, ok := j.img.Extension(ExtEncryption)
	luks := j.img.header.CryptMethod == CryptLUKS
	switch {
	case luks && !ok:
		j.field("crypt_method", ErrCorrupt, "2 (LUKS) needs the encryption header extension, which is missing")
	case ok && !luks:
		j.field("crypt_method", ErrCorrupt, "%d is not 2 (LUKS), but there is an encryption header extension at %#x", uint32(j.img.header.CryptMethod), x.Offset)
	}
}

func (j *headerJudge) backingFormat() {
	if x, ok := j.img.Extension(ExtBackingFormat); ok {
		if e, ok := errors.AsType[*Error](j.img.ExtensionError(x)); ok {
			j.errs = append(j.errs, e)
		}
	}
}
