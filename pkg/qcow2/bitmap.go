package qcow2

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"iter"
	"strings"
)

// BitmapFlags is the flags word of a bitmap directory entry.
type BitmapFlags uint32

// Bitmap flags (specification, section "Bitmap directory").
const (
	BitmapInUse           BitmapFlags = 1 << 0 // not closed properly: content is stale
	BitmapAuto            BitmapFlags = 1 << 1 // tracks writes when the image is opened
	BitmapExtraCompatible BitmapFlags = 1 << 2 // unknown extra data may be ignored
)

// Names returns the names of the flags that are set, lowest bit first:
// "in-use", "auto" (as in qemu-img info), then "bit-N".
func (f BitmapFlags) Names() []string {
	var names []string
	for bit := range setBits(uint64(f)) {
		switch BitmapFlags(1) << bit {
		case BitmapInUse:
			names = append(names, "in-use")
		case BitmapAuto:
			names = append(names, "auto")
		default:
			names = append(names, fmt.Sprintf("bit-%d", bit))
		}
	}
	return names
}

// String returns the names of the flags joined by commas.
func (f BitmapFlags) String() string { return strings.Join(f.Names(), ",") }

// BitmapType is the type of a bitmap.
type BitmapType uint8

// BitmapDirtyTracking is the only defined type: each bit tells whether guest
// data changed.
const BitmapDirtyTracking BitmapType = 1

// String returns the name of the type, or "unknown-N".
func (t BitmapType) String() string {
	if t == BitmapDirtyTracking {
		return "dirty-tracking"
	}
	return fmt.Sprintf("unknown-%d", uint8(t))
}

const (
	bitmapEntryLength = 24 // bytes of a directory entry before extra data and name
	// bitmapEntryOnes is a bitmap table entry without an offset for a cluster
	// of ones.
	bitmapEntryOnes = 1

	minGranularity = 9 // QEMU's bounds for granularity_bits
	maxGranularity = 31
)

// A Bitmap is one entry of the bitmap directory (specification, section
// "Bitmap directory").
type Bitmap struct {
	// Offset is where the entry lies, in bytes from the start of the file.
	Offset uint64
	// TableOffset is where the bitmap table lies, in bytes.
	TableOffset uint64
	// TableSize is the number of entries of the bitmap table.
	TableSize       uint32
	Flags           BitmapFlags
	Type            BitmapType
	GranularityBits uint8
	// ExtraSize is the length of the entry's extra data, in bytes. No extra
	// data are defined.
	ExtraSize uint32
	// Name is arbitrary bytes.
	Name string
	// Damage is what is wrong with this entry; it was decoded all the same.
	Damage []*Error
}

// Granularity returns how many guest bytes one bit of the bitmap covers, and
// whether that is a number at all (GranularityBits below 64).
func (b *Bitmap) Granularity() (uint64, bool) {
	return 1 << (b.GranularityBits & 63), b.GranularityBits < 64
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

// Bitmaps yields the entries of the bitmap directory d in its order, which
// [Extension.BitmapDirectory] of the extension of type [ExtBitmaps] returns. An
// error ends the sequence: what follows a broken entry cannot be found. It is an
// [*Error], with the zero Bitmap. The entries mean nothing while the autoclear
// feature bit [BitmapsConsistent] is clear.
func (img *Image) Bitmaps(d BitmapDirectory) iter.Seq2[Bitmap, error] {
	return func(yield func(Bitmap, error) bool) {
		if err := img.bitmapDirectoryError(d); err != nil {
			yield(Bitmap{}, err)
			return
		}
		c := newCursor(&img.src, SectionBitmapDirectory, d.Offset, d.Offset+d.Size)
		seen, seed := map[uint64]bool{}, maphash.MakeSeed()
		for i := range d.NbBitmaps {
			b, err := img.bitmapAt(c)
			if err != nil {
				yield(Bitmap{}, inEntry(err, int(i)))
				return
			}
			if hash := maphash.String(seed, b.Name); seen[hash] {
				b.Damage = append(b.Damage, errorf(SectionBitmapDirectory, b.Offset+bitmapEntryLength, ErrCorrupt, "another bitmap has the same name"))
			} else {
				seen[hash] = true
			}
			if !yield(b, nil) {
				return
			}
		}
		if n := c.left(); n > 0 {
			yield(Bitmap{}, errorf(SectionBitmapDirectory, c.off, ErrCorrupt,
				"%d bytes are left of the directory after its %d entries", n, d.NbBitmaps))
		} else if x, ok := img.Extension(ExtBitmaps); ok && d.Reserved != 0 {
			yield(Bitmap{}, errorf(SectionExtensions, x.Offset+extensionHeaderLength+4, ErrCorrupt, "the reserved field of the bitmaps extension is %#x", d.Reserved))
		}
	}
}

// bitmapDirectoryError returns why the directory cannot be read.
func (img *Image) bitmapDirectoryError(d BitmapDirectory) error {
	bad := func(kind error, format string, args ...any) error {
		return errorf(SectionBitmapDirectory, d.Offset, kind, format, args...)
	}
	l := img.limits
	switch {
	case img.geometryErr != nil:
		return img.geometryErr
	case d.NbBitmaps == 0:
		return bad(ErrCorrupt, "the bitmaps extension counts no bitmaps")
	case d.Offset >= img.src.size:
		return bad(ErrTruncated, "the file ends at %#x, before the directory", img.src.size)
	case uint64(d.NbBitmaps) > l.Bitmaps:
		return bad(ErrLimit, "%d bitmaps are above the limit of %d (Bitmaps)", d.NbBitmaps, l.Bitmaps)
	case d.Size > l.BitmapDirectoryBytes:
		return bad(ErrLimit, "a directory of %d bytes is above the limit of %d (BitmapDirectoryBytes)", d.Size, l.BitmapDirectoryBytes)
	case d.Offset == 0 || d.Offset%img.geometry.ClusterSize != 0:
		return bad(ErrCorrupt, "the offset %#x is not that of a cluster after the header", d.Offset)
	case d.Size > img.src.size-d.Offset:
		return bad(ErrTruncated, "the directory has %d bytes, but the file ends at %#x", d.Size, img.src.size)
	}
	return nil
}

// bitmapAt decodes the entry at the cursor, padded to a multiple of 8 bytes.
func (img *Image) bitmapAt(c *cursor) (Bitmap, error) {
	b := Bitmap{Offset: c.off}
	p, err := c.next(bitmapEntryLength, "fixed part")
	if err != nil {
		return b, err
	}
	b.TableOffset = binary.BigEndian.Uint64(p)
	b.TableSize = binary.BigEndian.Uint32(p[8:])
	b.Flags = BitmapFlags(binary.BigEndian.Uint32(p[12:]))
	b.Type = BitmapType(p[16])
	b.GranularityBits = p[17]
	nameSize := uint64(binary.BigEndian.Uint16(p[18:]))
	b.ExtraSize = binary.BigEndian.Uint32(p[20:])
	if err := c.skip(uint64(b.ExtraSize), "extra data"); err != nil {
		return b, err
	}
	name, err := c.next(nameSize, "name")
	if err != nil {
		return b, err
	}
	b.Name = string(name)
	b.Damage = img.bitmapDamage(&b)
	if err := c.pad(b.Offset); err != nil {
		return b, err
	}
	if (c.off-b.Offset)%8 != 0 {
		b.Damage = append(b.Damage, errorf(SectionBitmapDirectory, c.off, ErrCorrupt, "the directory ends before the padding of the entry"))
	}
	return b, nil
}

// bitmapSizeDamage judges the size of the bitmap that the table points to.
func (img *Image) bitmapSizeDamage(b *Bitmap, bad func(at uint64, kind error, format string, args ...any)) {
	n := uint64(b.TableSize) * img.geometry.ClusterSize
	granularity, ok := b.Granularity()
	switch {
	case n > img.limits.BitmapBytes:
		bad(8, ErrLimit, "a bitmap of %d bytes is above the limit of %d (BitmapBytes)", n, img.limits.BitmapBytes)
	case ok && b.Flags&BitmapInUse == 0: // one in use is not loaded
		bytes := ceilDiv(ceilDiv(img.geometry.VirtualSize, granularity), 8)
		if need := ceilDiv(bytes, img.geometry.ClusterSize); uint64(b.TableSize) != need {
			bad(8, ErrCorrupt, "the bitmap table has %d entries, but a disk of %d bytes at this granularity needs %d", b.TableSize, img.geometry.VirtualSize, need)
		}
	}
}

// bitmapDamage judges one entry as QEMU does when it opens the image.
func (img *Image) bitmapDamage(b *Bitmap) []*Error {
	var errs []*Error
	bad := func(at uint64, kind error, format string, args ...any) {
		errs = append(errs, errorf(SectionBitmapDirectory, b.Offset+at, kind, format, args...))
	}
	if b.TableOffset == 0 || b.TableOffset%img.geometry.ClusterSize != 0 {
		bad(0, ErrCorrupt, "the bitmap table offset %#x is not that of a cluster after the header", b.TableOffset)
	}
	if n := uint64(b.TableSize); n > img.limits.BitmapTableEntries {
		bad(8, ErrLimit, "a bitmap table of %d entries is above the limit of %d (BitmapTableEntries)", n, img.limits.BitmapTableEntries)
	} else if n == 0 {
		bad(8, ErrCorrupt, "the bitmap table has no entries")
	} else {
		img.bitmapSizeDamage(b, bad)
	}
	if unknown := b.Flags &^ (BitmapInUse | BitmapAuto); unknown != 0 {
		bad(12, ErrUnsupported, "the flags %s are not supported", unknown)
	}
	if b.Type != BitmapDirtyTracking {
		bad(16, ErrUnsupported, "the type %d is not 1 (dirty tracking)", uint8(b.Type))
	}
	if b.GranularityBits < minGranularity || b.GranularityBits > maxGranularity {
		bad(17, ErrCorrupt, "granularity_bits %d is outside %d to %d", b.GranularityBits, minGranularity, maxGranularity)
	}
	if n := uint64(len(b.Name)); n > img.limits.BitmapNameBytes {
		bad(18, ErrLimit, "a name of %d bytes is above the limit of %d (BitmapNameBytes)", n, img.limits.BitmapNameBytes)
	} else if n == 0 {
		bad(18, ErrCorrupt, "the name is empty")
	}
	if b.ExtraSize > 0 {
		bad(20, ErrUnsupported, "%d bytes of extra data are not known", b.ExtraSize)
	}
	return errs
}
