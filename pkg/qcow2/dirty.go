package qcow2

import (
	"context"
	"iter"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A GuestRange is a range of guest addresses.
type GuestRange struct {
	Start, Length uint64 // bytes
}

// DirtyRanges yields the ranges of the disk that are dirty in any of the bitmaps, in
// the order of their addresses, the longest possible ones. The last ends where the
// disk does at the latest. They are those that are stored, whatever
// [Image.BitmapState] says of the bitmaps.
//
// Its memory does not grow with the number of ranges. An error is an [*Error] about
// bits that are not known, with the range that they are about, which can be dirty in
// another bitmap: the ranges after it are yielded. They are those of a bitmap with
// Damage, of an entry that points nowhere or where another does, and of what cannot
// be read. When ctx is done the sequence ends with its error.
func (img *Image) DirtyRanges(ctx context.Context, bitmaps ...Bitmap) iter.Seq2[GuestRange, error] {
	return func(yield func(GuestRange, error) bool) {
		img.dirtySpans(ctx, bitmaps, func(r interval.Span, dirty bool, err error) bool {
			return !dirty && err == nil || yield(GuestRange{r.From, r.To - r.From}, err)
		})
	}
}

// dirtySpans calls yield as [Image.DirtyRanges] does, and with the ranges that are not
// known to be dirty. It returns false if yield did.
func (img *Image) dirtySpans(ctx context.Context, bitmaps []Bitmap, yield dirtyYield) bool {
	if img.geometryErr != nil {
		return yield(interval.Span{}, false, img.geometryErr)
	}
	disk := interval.Span{To: img.geometry.VirtualSize}
	tables := newBitmapTables(ctx, img)
	var readable []*Bitmap
	for i := range bitmaps {
		if err := tables.recordError(&bitmaps[i]); err == nil {
			readable = append(readable, &bitmaps[i])
		} else if !yield(disk, false, err) {
			return false
		}
	}
	return newDirtyMerge(ctx, tables, readable).union(len(bitmaps)-len(readable), disk.To, yield)
}

// A DirtyMapping is a range of guest addresses that is dirty or not, and mapped in
// one way.
type DirtyMapping struct {
	GuestRange
	Dirty bool
	// Known is whether the mapping could be read. Where it is false, nothing is known
	// but Dirty.
	Known bool
	Kind  MappingKind
	// Offset is where a reader finds the bytes as they are, in bytes from the start of
	// the image file, or of the external data file; meaningful when HasOffset is true.
	// Compressed and encrypted data have none.
	Offset    uint64
	HasOffset bool
	Problems  Problems // of the entry that maps the range
}

// DirtyOptions selects what [Image.Dirty] yields.
type DirtyOptions struct {
	// Bitmaps are those whose dirty ranges are wanted: those of all of them together.
	Bitmaps []Bitmap
	// All yields what is clean, too: not what is not known to be dirty.
	All bool
}

// Dirty yields what is dirty in any of the bitmaps, in the order of the addresses,
// with how it is mapped in the active image: a range for each part that is mapped in
// one way. A DirtyMapping is valid until the next is yielded. Errors are those of
// [Image.DirtyRanges] and [Image.Guest], with a nil DirtyMapping, and the sequence
// goes on after them.
//
// The mapping of an image with unknown incompatible features cannot be known; see
// [Image.Supported].
func (img *Image) Dirty(ctx context.Context, o DirtyOptions) iter.Seq2[*DirtyMapping, error] {
	return func(yield func(*DirtyMapping, error) bool) {
		l := newDirtyLister(ctx, img, yield)
		if l == nil {
			return
		}
		at, size := uint64(0), img.geometry.VirtualSize
		if !img.dirtySpans(ctx, o.Bitmaps, func(r interval.Span, dirty bool, err error) bool {
			if err != nil {
				return l.flush() && yield(nil, err)
			}
			if o.All && !l.list(interval.Span{From: at, To: r.From}, false) {
				return false
			}
			at = r.To
			return !dirty || l.list(r, true)
		}) {
			return
		}
		if (!o.All || l.list(interval.Span{From: at, To: size}, false)) && ctx.Err() == nil {
			l.flush()
		}
	}
}

// A dirtyLister maps ranges, one after the other, and joins what is alike.
type dirtyLister struct {
	mapping   dirtyMapper
	encrypted bool // guest data have no offset for a reader
	yield     func(*DirtyMapping, error) bool
	dirty     bool         // the range in hand
	cur       DirtyMapping // what can still grow; none if its length is 0
	out       DirtyMapping // the argument of yield
}

// newDirtyLister returns nil if yield returned false.
func newDirtyLister(ctx context.Context, img *Image, yield func(*DirtyMapping, error) bool) *dirtyLister {
	l := &dirtyLister{encrypted: img.header.CryptMethod != CryptNone, yield: yield}
	l.mapping.found = l.add
	if err := l.mapping.open(ctx, img); err != nil && !yield(nil, err) {
		return nil
	}
	return l
}

// list adds a range. It returns false if yield did.
func (l *dirtyLister) list(r interval.Span, dirty bool) bool {
	l.dirty = dirty
	return l.mapping.each(r)
}

// add adds a part of the range in hand that is mapped by m, nil if that is not
// known; or an error.
func (l *dirtyLister) add(r interval.Span, m *Mapping, err error) bool {
	if err != nil {
		return l.flush() && l.yield(nil, err)
	}
	d := DirtyMapping{GuestRange: GuestRange{r.From, r.To - r.From}, Dirty: l.dirty}
	if m != nil {
		d.Known, d.Kind, d.Problems = true, m.Kind, m.Problems
		if d.HasOffset = m.HasHost && m.Kind != MappingCompressed && !l.encrypted; d.HasOffset {
			d.Offset = m.HostOffset + (r.From - m.Start)
		}
	}
	if l.joins(&d) {
		l.cur.Length += d.Length
		return true
	}
	ok := l.flush()
	l.cur = d
	return ok
}

// joins reports whether d continues the mapping in hand.
func (l *dirtyLister) joins(d *DirtyMapping) bool {
	c := &l.cur
	return c.Length > 0 && c.Start+c.Length == d.Start && c.Dirty == d.Dirty && c.Known == d.Known && c.Kind == d.Kind &&
		c.Problems == d.Problems && c.HasOffset == d.HasOffset && (!c.HasOffset || c.Offset+c.Length == d.Offset)
}

// flush yields the mapping in hand.
func (l *dirtyLister) flush() bool {
	if l.cur.Length == 0 {
		return true
	}
	l.out, l.cur.Length = l.cur, 0
	return l.yield(&l.out, nil)
}
