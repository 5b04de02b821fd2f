package qcow2

import (
	"context"
	"errors"
	"iter"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A BitmapContent is what is known of a bitmap: its record, and what its table and
// its data say.
type BitmapContent struct {
	Bitmap
	State BitmapState
	// Unreadable is why the content is not known: the first thing that is wrong with
	// the record, the table or the data. Nil: the content is known.
	Unreadable *Error
	// ExpectedEntries is how many entries the table needs for the disk, 0 if the
	// granularity is not known.
	ExpectedEntries uint64
	// Dirty is how many bytes of the disk are dirty, and Ranges in how many ranges of
	// the largest size.
	Dirty, Ranges uint64
	// Data, Zero and Unallocated are how many dirty bytes the active image has data
	// for, compressed ones too; what it says are zeros; and what it says nothing of.
	// Unknown is the rest: the mapping cannot be read.
	Data, Zero, Unallocated, Unknown uint64
	// Stored is how many bytes of the file the table and the data take, in whole
	// clusters.
	Stored uint64
}

// Reason says in words why the bitmap is in its state, and why its content is not
// known.
func (c *BitmapContent) Reason() string {
	switch {
	case c.Unreadable == nil:
		return c.State.Reason()
	case c.State == StateDamaged:
		return c.Unreadable.Error()
	}
	return c.State.Reason() + "; " + c.Unreadable.Error()
}

// contentBatch is how many bitmaps are read together.
const contentBatch = 16384

// BitmapContents yields what is known of each bitmap, in the order of the directory.
// An error is an [*Error], with a nil BitmapContent: of the directory, which ends the
// sequence, or of a table that maps what is dirty; the sequence goes on after that.
// What is wrong with one bitmap is in its BitmapContent. When ctx is done the
// sequence ends with its error.
//
// It reads each byte of the bitmaps once, and of the mapping what is dirty, for 16384
// bitmaps at a time; nothing grows with the number of ranges.
func (img *Image) BitmapContents(ctx context.Context) iter.Seq2[*BitmapContent, error] {
	return func(yield func(*BitmapContent, error) bool) {
		if img.geometryErr != nil {
			yield(nil, img.geometryErr)
			return
		}
		r := contentReader{ctx: ctx, img: img, tables: newBitmapTables(ctx, img), yield: yield}
		var batch []*BitmapContent
		for b, err := range img.Bitmaps() {
			if err != nil {
				if r.read(batch) {
					yield(nil, err)
				}
				return
			}
			if batch = append(batch, r.newContent(&b)); len(batch) == contentBatch {
				if !r.read(batch) {
					return
				}
				batch = batch[:0]
			}
		}
		r.read(batch)
	}
}

// A contentReader counts what is dirty in several bitmaps at once. Between two of
// their edges it maps the disk once, for all that are dirty there: a bitmap whose
// range begins at one sum and ends at another gets the difference.
type contentReader struct {
	ctx    context.Context
	img    *Image
	tables *bitmapTables
	yield  func(*BitmapContent, error) bool

	mapping dirtyMapper
	sum     dirtySum // of all that was mapped
	at      uint64   // how far, in guest bytes
	dirty   int      // how many bitmaps are dirty there
}

// A dirtySum is numbers of guest bytes.
type dirtySum struct{ data, zero, unallocated, unknown uint64 }

// newContent returns what the record and the table's place say of a bitmap.
func (r *contentReader) newContent(b *Bitmap) *BitmapContent {
	g := &r.img.geometry
	c := &BitmapContent{Bitmap: *b, Unreadable: r.tables.recordError(b), Stored: ceilDiv(uint64(b.TableSize)*entrySize, g.ClusterSize) << g.ClusterBits}
	if n, ok := r.img.bitmapTableSize(b); ok {
		c.ExpectedEntries = n
	}
	return c
}

// read counts what is dirty, and yields the contents. It returns false when the
// sequence ends.
func (r *contentReader) read(batch []*BitmapContent) bool {
	var contents []*BitmapContent
	var bitmaps []*Bitmap
	for _, c := range batch {
		if c.Unreadable == nil {
			contents, bitmaps = append(contents, c), append(bitmaps, &c.Bitmap)
		}
	}
	r.sum, r.at, r.dirty = dirtySum{}, 0, 0
	merge := newDirtyMerge(r.ctx, r.tables, bitmaps)
	for e, ok := merge.next(); ok; e, ok = merge.next() {
		c := contents[e.source.number]
		if e.err != nil {
			e.source.stop()
			if c.Unreadable, ok = errors.AsType[*Error](e.err); !ok {
				return r.yield(nil, e.err) && false
			}
			continue
		}
		if !r.advance(e.at) {
			return false
		}
		r.count(c, &e)
	}
	for i, s := range merge.all {
		contents[i].Stored += s.stored << r.img.geometry.ClusterBits
	}
	for _, c := range batch {
		r.finish(c)
		if !r.yield(c, nil) {
			return false
		}
	}
	return true
}

// advance maps the disk up to an address, if any bitmap is dirty there.
func (r *contentReader) advance(to uint64) bool {
	span := interval.Span{From: r.at, To: to}
	if r.at = to; r.dirty == 0 || span.From == span.To {
		return true
	}
	if r.mapping.found == nil {
		r.mapping.found = r.add
		if err := r.mapping.open(r.ctx, r.img); err != nil && !r.yield(nil, err) {
			return false
		}
	}
	return r.mapping.each(span)
}

// add adds a part of the disk that is mapped by m, or an error.
func (r *contentReader) add(s interval.Span, m *Mapping, err error) bool {
	if err != nil {
		return r.yield(nil, err)
	}
	n := s.To - s.From
	switch {
	case m == nil:
		r.sum.unknown += n
	case m.Kind == MappingData || m.Kind == MappingCompressed:
		r.sum.data += n
	case m.Kind == MappingUnallocated:
		r.sum.unallocated += n
	default:
		r.sum.zero += n
	}
	return true
}

// count takes an edge of a bitmap: the sums at the beginnings of its ranges are
// taken from those at their ends. Numbers below 0 on the way come back.
func (r *contentReader) count(c *BitmapContent, e *dirtyEdge) {
	if e.begins {
		r.dirty++
		c.Ranges++
		c.Dirty -= e.at
		c.Data -= r.sum.data
		c.Zero -= r.sum.zero
		c.Unallocated -= r.sum.unallocated
		c.Unknown -= r.sum.unknown
		return
	}
	r.dirty--
	c.Dirty += e.at
	c.Data += r.sum.data
	c.Zero += r.sum.zero
	c.Unallocated += r.sum.unallocated
	c.Unknown += r.sum.unknown
}

// finish sets what is known when the bitmap has been read.
func (r *contentReader) finish(c *BitmapContent) {
	c.State = r.img.bitmapState(&c.Bitmap, c.Unreadable != nil)
	if c.Unreadable != nil {
		c.Dirty, c.Ranges, c.Data, c.Zero, c.Unallocated, c.Unknown, c.Stored = 0, 0, 0, 0, 0, 0, 0
	}
}
