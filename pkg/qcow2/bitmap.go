package qcow2

import (
	"context"
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
	BitmapAuto            BitmapFlags = 1 << 1 // QEMU tracks writes in it
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

// BitmapDirtyTracking is the only defined type: a bit is set if guest data changed.
const BitmapDirtyTracking BitmapType = 1

// String returns the name of the type, or "unknown-N".
func (t BitmapType) String() string {
	if t == BitmapDirtyTracking {
		return "dirty-tracking"
	}
	return fmt.Sprintf("unknown-%d", uint8(t))
}

// QEMU's bounds for granularity_bits.
const (
	minGranularityBits = 9
	maxGranularityBits = 31
)

// A Bitmap is one entry of the bitmap directory (specification, section
// "Bitmap directory").
type Bitmap struct {
	Index int // position in the directory, from 0
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
// whether that fits in 64 bits (GranularityBits below 64).
func (b *Bitmap) Granularity() (uint64, bool) {
	return 1 << (b.GranularityBits & 63), b.GranularityBits < 64
}

// A BitmapDirectory is the data of the bitmaps extension (specification,
// section "Bitmaps extension"): where the directory of the bitmaps lies.
type BitmapDirectory struct {
	// Extension is where the header extension lies, in bytes from the start of the
	// file.
	Extension uint64
	NbBitmaps uint32
	Reserved  uint32 // must be 0
	Size      uint64 // bytes
	Offset    uint64 // bytes from the start of the file
}

// BitmapDirectory decodes the data of an extension of type [ExtBitmaps]. The error
// is an [*Error]: the data has the wrong length.
func (x Extension) BitmapDirectory() (BitmapDirectory, error) {
	if err := x.wantLength(bitmapsRecordLength); err != nil {
		return BitmapDirectory{}, err
	}
	r := bitmapsRecord(x.Data)
	return BitmapDirectory{
		Extension: x.Offset,
		NbBitmaps: r.count(),
		Reserved:  r.reserved(),
		Size:      r.directorySize(),
		Offset:    r.directoryOffset(),
	}, nil
}

// BitmapDirectory returns where the bitmap directory lies, and whether the image
// has a bitmaps extension. The error, an [*Error], is why the directory cannot be
// read, or that of [Image.Geometry].
func (img *Image) BitmapDirectory() (d BitmapDirectory, ok bool, err error) {
	x, ok := img.Extension(ExtBitmaps)
	if !ok {
		return d, false, img.geometryErr
	}
	if d, err = x.BitmapDirectory(); err == nil {
		err = img.bitmapDirectoryError(d)
	}
	return d, true, err
}

// BitmapsConsistent reports whether the bitmaps can be trusted and count as
// references: autoclear feature bit 0 is set. While it is clear, QEMU ignores
// them, and their clusters are leaks.
func (img *Image) BitmapsConsistent() bool {
	return img.header.AutoclearFeatures&BitmapsConsistent != 0
}

// Bitmaps yields the entries of the bitmap directory in its order, none if there
// is no bitmaps extension. An error ends the sequence: what follows a broken entry
// cannot be found. It is an [*Error], with the zero Bitmap. The entries mean
// nothing while [Image.BitmapsConsistent] is false.
func (img *Image) Bitmaps() iter.Seq2[Bitmap, error] {
	return func(yield func(Bitmap, error) bool) {
		d, ok, err := img.BitmapDirectory()
		if err != nil {
			yield(Bitmap{}, err)
		}
		if !ok || err != nil {
			return
		}
		c := newCursor(&img.src, SectionBitmapDirectory, d.Offset, d.Offset+d.Size)
		if !img.bitmapsAt(c, d.NbBitmaps, yield) {
			return
		}
		if n := c.left(); n > 0 {
			yield(Bitmap{}, errorf(SectionBitmapDirectory, c.off, ErrCorrupt,
				"%d bytes are left of the directory after its %d entries", n, d.NbBitmaps))
		} else if d.Reserved != 0 {
			yield(Bitmap{}, errorf(SectionExtensions, d.Extension+extensionHeaderLength+bitmapsReservedField, ErrCorrupt, "the reserved field of the bitmaps extension is %#x", d.Reserved))
		}
	}
}

// bitmapsAt calls yield for n entries from the cursor on. It returns false if
// yield did, or an entry cannot be read.
func (img *Image) bitmapsAt(c *cursor, n uint32, yield func(Bitmap, error) bool) bool {
	seen, seed := map[uint64]bool{}, maphash.MakeSeed()
	for i := range n {
		b, err := img.bitmapAt(c)
		if err != nil {
			yield(Bitmap{}, inEntry(err, int(i)))
			return false
		}
		b.Index = int(i)
		if hash := maphash.String(seed, b.Name); seen[hash] {
			b.Damage = append(b.Damage, errorf(SectionBitmapDirectory, b.Offset+bitmapRecordLength, ErrCorrupt, "another bitmap has the same name"))
		} else {
			seen[hash] = true
		}
		if !yield(b, nil) {
			return false
		}
	}
	return true
}

// bitmapDirectoryError returns why the directory cannot be read.
func (img *Image) bitmapDirectoryError(d BitmapDirectory) error {
	bad := func(kind error, format string, args ...any) error {
		return errorf(SectionBitmapDirectory, d.Offset, kind, format, args...)
	}
	pointer := d.Extension + extensionHeaderLength + bitmapsDirectoryOffsetField
	l := img.limits
	switch {
	case img.geometryErr != nil:
		return img.geometryErr
	case d.NbBitmaps == 0:
		return bad(ErrCorrupt, "the bitmaps extension counts no bitmaps")
	case d.Offset >= img.src.size:
		return errorf(SectionBitmapDirectory, pointer, ErrTruncated, "the directory lies at %#x, but the file ends at %#x", d.Offset, img.src.size)
	case uint64(d.NbBitmaps) > l.Bitmaps:
		return bad(ErrLimit, "%d bitmaps are above the limit of %d (Bitmaps)", d.NbBitmaps, l.Bitmaps)
	case d.Size > l.BitmapDirectoryBytes:
		return bad(ErrLimit, "a directory of %d bytes is above the limit of %d (BitmapDirectoryBytes)", d.Size, l.BitmapDirectoryBytes)
	case d.Offset == 0 || d.Offset%img.geometry.ClusterSize != 0:
		return bad(ErrCorrupt, "the offset %#x is not that of a cluster after the header", d.Offset)
	case d.Size > img.src.size-d.Offset:
		return errorf(SectionBitmapDirectory, pointer, ErrTruncated, "the directory has %d bytes at %#x, but the file ends at %#x", d.Size, d.Offset, img.src.size)
	}
	return nil
}

// bitmapAt decodes the entry at the cursor, padded to a multiple of 8 bytes.
func (img *Image) bitmapAt(c *cursor) (Bitmap, error) {
	b := Bitmap{Offset: c.off}
	p, err := c.next(bitmapRecordLength, "fixed part")
	if err != nil {
		return b, err
	}
	r := bitmapRecord(p)
	b.TableOffset = r.tableOffset()
	b.TableSize = r.tableSize()
	b.Flags = BitmapFlags(r.flags())
	b.Type = BitmapType(r.kind())
	b.GranularityBits = r.granularityBits()
	b.ExtraSize = r.extraSize()
	nameSize := uint64(r.nameSize())
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

// bitmapDamage judges one entry as QEMU does when it opens the image.
func (img *Image) bitmapDamage(b *Bitmap) []*Error {
	errs := img.bitmapTableErrors(b)
	bad := func(at uint64, kind error, format string, args ...any) {
		errs = append(errs, errorf(SectionBitmapDirectory, b.Offset+at, kind, format, args...))
	}
	need, ok := img.bitmapTableSize(b)
	switch n := uint64(b.TableSize); {
	case n == 0:
		bad(bitmapTableSizeField, ErrCorrupt, "the bitmap table has no entries")
	case ok && n != need && b.Flags&BitmapInUse == 0 && img.bitmapSizeError(b) == nil: // QEMU does not load one in use
		bad(bitmapTableSizeField, ErrCorrupt, "the bitmap table has %d entries, but a disk of %d bytes at this granularity needs %d", n, img.geometry.VirtualSize, need)
	}
	if unknown := b.Flags &^ (BitmapInUse | BitmapAuto); unknown != 0 {
		bad(bitmapFlagsField, ErrUnsupported, "the flags %s are not supported", unknown)
	}
	if b.Type != BitmapDirtyTracking {
		bad(bitmapTypeField, ErrUnsupported, "the type %d is not 1 (dirty tracking)", uint8(b.Type))
	}
	if b.GranularityBits < minGranularityBits || b.GranularityBits > maxGranularityBits {
		bad(bitmapGranularityField, ErrCorrupt, "granularity_bits %d is outside %d to %d", b.GranularityBits, minGranularityBits, maxGranularityBits)
	}
	if n := uint64(len(b.Name)); n > img.limits.BitmapNameBytes {
		bad(bitmapNameSizeField, ErrLimit, "a name of %d bytes is above the limit of %d (BitmapNameBytes)", n, img.limits.BitmapNameBytes)
	} else if n == 0 {
		bad(bitmapNameSizeField, ErrCorrupt, "the name is empty")
	}
	if b.ExtraSize > 0 {
		bad(bitmapExtraSizeField, ErrUnsupported, "%d bytes of extra data are not known", b.ExtraSize)
	}
	return errs
}

// bitmapTableSize returns how many entries the table of a bitmap needs for the
// disk, and whether its granularity is known.
func (img *Image) bitmapTableSize(b *Bitmap) (entries uint64, ok bool) {
	granularity, ok := b.Granularity()
	if !ok {
		return 0, false
	}
	bytes := ceilDiv(ceilDiv(img.geometry.VirtualSize, granularity), 8)
	return ceilDiv(bytes, img.geometry.ClusterSize), true
}

// bitmapEntryError returns what is wrong with an entry of a bitmap table at a
// file offset.
func (img *Image) bitmapEntryError(at uint64, e bitmapEntry) error {
	switch offset := e.offset(); {
	case e.reservedBits() != 0:
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry %#x has reserved bits", uint64(e))
	case offset%img.geometry.ClusterSize != 0:
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry points to %#x, not a multiple of the cluster size %#x", offset, img.geometry.ClusterSize)
	case offset >= img.src.size:
		return errorf(SectionBitmapTable, at, ErrTruncated, "the entry points to %#x, but the file ends at %#x", offset, img.src.size)
	}
	return nil
}

// eachBitmapEntry calls yield with the entries of bitmap tables between two file
// offsets: with each that points to bitmap data, and once for n equal others. It
// yields what cannot be read as an error, and goes on after it. It returns false if
// yield did or the context is done.
func (img *Image) eachBitmapEntry(ctx context.Context, from, to uint64, yield func(at uint64, e bitmapEntry, n uint64, err error) bool) bool {
	r := newEntryReader(&img.src, SectionBitmapTable)
	return r.pieces(ctx, from, to, func(p *piece) bool {
		if p.bytes == nil {
			return yield(p.offset, 0, p.n, p.err)
		}
		for at, rest := p.offset, p.bytes; len(rest) > 0; {
			e, n := bitmapEntry(be64(rest)), uint64(1)
			if !e.stored() {
				n = uint64(runLength(rest, uint64(e), 0))
			}
			if !yield(at, e, n, nil) {
				return false
			}
			at, rest = at+n*entrySize, rest[n*entrySize:]
		}
		return true
	})
}
