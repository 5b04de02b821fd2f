package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// bitmapTables are the tables of all bitmaps of an image, each byte of them read
// once: they say which clusters of bitmap data belong to more than one entry. Such
// bitmaps are not read, so that reading all others costs what their bytes do.
type bitmapTables struct {
	img   *Image
	cover *interval.Cover
	span  map[int]int            // the number of the table's span in cover, by the index of the bitmap
	data  *sparse.Builder[uint8] // how many entries point to each host cluster: 0, 1, or 2 for more
}

// newBitmapTables reads the tables. What is wrong with them is for those that read
// a bitmap to say. When ctx is done, it returns what it has.
func newBitmapTables(ctx context.Context, img *Image) *bitmapTables {
	t := &bitmapTables{img: img, span: map[int]int{}, data: sparse.NewScattered[uint8](img.geometry.HostClusters)}
	var spans []interval.Span
	for b, err := range img.Bitmaps() {
		if err != nil || ctx.Err() != nil {
			break
		}
		if table, err := img.bitmapTable(&b); err == nil {
			t.span[b.Index] = len(spans)
			spans = append(spans, table.span(img.src.size))
		}
	}
	t.cover = interval.NewCover(spans)
	for _, g := range t.cover.ByOffset {
		if !img.eachBitmapEntry(ctx, g.From, g.To, func(at uint64, e bitmapEntry, _ uint64, err error) bool {
			if err == nil && e.stored() && img.bitmapEntryError(at, e) == nil {
				n := t.data.At(e.offset() >> img.geometry.ClusterBits)
				*n = min(*n+1, 2)
			}
			return true
		}) {
			break
		}
	}
	return t
}

// recordError returns what keeps a bitmap from being read, as far as its record and
// the other tables show.
func (t *bitmapTables) recordError(b *Bitmap) *Error {
	if e := firstOf(b.Damage); e != nil {
		return e
	}
	if i, ok := t.span[b.Index]; ok && !t.cover.Alone(i) {
		return errorf(SectionBitmapDirectory, b.Offset+bitmapTableOffsetField, ErrCorrupt, "the bitmap table at %#x lies in the table of another bitmap", b.TableOffset)
	}
	return nil
}

// entryError returns what keeps the bitmap data of an entry from being read.
func (t *bitmapTables) entryError(at uint64, e bitmapEntry) error {
	if err := t.img.bitmapEntryError(at, e); err != nil {
		return err
	}
	switch offset := e.offset(); {
	case t.data.Word(offset>>t.img.geometry.ClusterBits) > 1:
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry points to %#x, as another entry does", offset)
	case t.cover.Has(offset):
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry points to %#x, where a bitmap table lies", offset)
	}
	return nil
}
