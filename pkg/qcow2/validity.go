package qcow2

import (
	"cmp"
	"errors"
	"math"
	"slices"
)

// HeaderErrors returns what is wrong with the header, in the order of the
// file: fields outside what the specification allows, fields beyond the
// limits, fields that contradict the header extensions, and a header that the
// file does not hold whole. Unknown feature bits are no error here.
func (img *Image) HeaderErrors() []*Error {
	h, v := &img.header, validity{img: img}
	v.errs = geometryErrors(h)
	if img.geometryErr == nil && img.src.size < uint64(h.HeaderLength) {
		v.bad(uint32(img.src.size), ErrTruncated, "the file ends inside the header: it has %d bytes of %d", img.src.size, h.HeaderLength)
	}
	if !h.CryptMethod.known() {
		v.field("crypt_method", ErrUnsupported, "%d is neither 0 (none), 1 (AES) nor 2 (LUKS)", uint32(h.CryptMethod))
	}
	if h.CompressionType.known() {
		v.compressionBit()
	} else {
		v.field("compression_type", ErrUnsupported, "%d is neither 0 (deflate) nor 1 (zstd)", uint8(h.CompressionType))
	}
	if img.geometryErr == nil { // what follows needs the cluster size
		v.backingName()
		v.l1Table()
		v.refcountTable()
		v.snapshotTable()
		v.encryption()
		v.backingFormat()
	}
	slices.SortStableFunc(v.errs, func(a, b *Error) int { return cmp.Compare(a.Offset, b.Offset) })
	return v.errs
}

func (m CryptMethod) known() bool     { return m <= CryptLUKS }
func (t CompressionType) known() bool { return t <= CompressionZstd }

// validity collects what is wrong with the header of img.
type validity struct {
	img  *Image
	errs []*Error
}

func (v *validity) bad(offset uint32, kind error, format string, args ...any) {
	v.errs = append(v.errs, errorf(SectionHeader, uint64(offset), kind, format, args...))
}

// field records that the named field is wrong; format goes on after its name.
func (v *validity) field(name string, kind error, format string, args ...any) {
	v.bad(uint32(fieldOffset(name)), kind, name+" "+format, args...)
}

func (v *validity) compressionBit() {
	h := &v.img.header
	bit := h.IncompatibleFeatures&CompressionBit != 0
	switch {
	case bit && h.CompressionType == CompressionDeflate:
		v.field("compression_type", ErrCorrupt, "is 0 (deflate) or absent, but incompatible feature bit 3 is set")
	case !bit && h.CompressionType != CompressionDeflate:
		v.field("compression_type", ErrCorrupt, "%d needs incompatible feature bit 3, which is not set", uint8(h.CompressionType))
	}
}

func (v *validity) backingName() {
	h, g := &v.img.header, v.img.geometry
	if h.BackingFileOffset == 0 {
		return
	}
	if _, _, err := v.img.BackingFile(); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			v.errs = append(v.errs, e)
		}
	}
	if h.BackingFileOffset > g.ClusterSize {
		v.field("backing_file_offset", ErrCorrupt, "%#x lies outside the first cluster", h.BackingFileOffset)
	} else if uint64(h.BackingFileSize) > g.ClusterSize-h.BackingFileOffset {
		v.field("backing_file_size", ErrCorrupt, "%d: the name at %#x crosses the end of the first cluster", h.BackingFileSize, h.BackingFileOffset)
	}
}

func (v *validity) l1Table() {
	h, g := &v.img.header, v.img.geometry
	if n := uint64(h.L1Size) * 8; n > v.img.limits.L1Bytes {
		v.field("l1_size", ErrLimit, "%d: a table of %d bytes is above the limit of %d (L1Bytes)", h.L1Size, n, v.img.limits.L1Bytes)
	} else if uint64(h.L1Size) < g.L1Entries {
		v.field("l1_size", ErrCorrupt, "%d is too small: the size of %d bytes needs %d", h.L1Size, g.VirtualSize, g.L1Entries)
	}
	v.table("l1_table_offset", h.L1TableOffset, uint64(h.L1Size)*8)
}

func (v *validity) refcountTable() {
	h, g := &v.img.header, v.img.geometry
	n := uint64(h.RefcountTableClusters) * g.ClusterSize
	v.table("refcount_table_offset", h.RefcountTableOffset, n)
	switch {
	case n == 0:
		v.field("refcount_table_clusters", ErrCorrupt, "is 0")
	case n > v.img.limits.RefcountTableBytes:
		v.field("refcount_table_clusters", ErrLimit, "%d: a table of %d bytes is above the limit of %d (RefcountTableBytes)",
			h.RefcountTableClusters, n, v.img.limits.RefcountTableBytes)
	}
}

func (v *validity) snapshotTable() {
	h := &v.img.header
	if err := v.img.snapshotCountError(); err != nil {
		v.errs = append(v.errs, err)
	}
	if h.NbSnapshots > 0 && h.SnapshotsOffset == 0 {
		v.field("snapshots_offset", ErrCorrupt, "is 0, but nb_snapshots is %d", h.NbSnapshots)
	}
	v.table("snapshots_offset", h.SnapshotsOffset, 0)
}

// table judges where a table of n bytes lies.
func (v *validity) table(field string, offset, n uint64) {
	switch {
	case offset == 0 && n > 0:
		v.field(field, ErrCorrupt, "is 0: the table would overlap the header")
	case offset%v.img.geometry.ClusterSize != 0:
		v.field(field, ErrCorrupt, "%#x is not a multiple of the cluster size %#x", offset, v.img.geometry.ClusterSize)
	case offset > math.MaxInt64 || n > math.MaxInt64-offset:
		v.field(field, ErrCorrupt, "%#x: the table of %d bytes would reach beyond 2^63", offset, n)
	}
}

func (v *validity) encryption() {
	x, ok := v.img.Extension(ExtEncryption)
	luks := v.img.header.CryptMethod == CryptLUKS
	switch {
	case luks && !ok:
		v.field("crypt_method", ErrCorrupt, "2 (LUKS) needs the encryption header extension, which is missing")
	case ok && !luks:
		v.field("crypt_method", ErrCorrupt, "%d is not 2 (LUKS), but there is an encryption header extension at %#x", uint32(v.img.header.CryptMethod), x.Offset)
	}
}

func (v *validity) backingFormat() {
	if x, ok := v.img.Extension(ExtBackingFormat); ok {
		if e, ok := errors.AsType[*Error](v.img.ExtensionError(x)); ok {
			v.errs = append(v.errs, e)
		}
	}
}
