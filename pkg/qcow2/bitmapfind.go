package qcow2

import (
	"fmt"
	"strings"
)

// FindBitmap returns the bitmap with the given name, else, for "@N", that at position
// N of the directory, from 0. If none or several match, the error is [ErrNoBitmap] or
// [ErrSeveralBitmaps], and lists the candidates. If none matches and not all of the
// directory can be read, it is the [*Error] of the directory.
func (img *Image) FindBitmap(name string) (Bitmap, error) {
	var named, placed, all []Bitmap // of all, as many as an error lists
	var broken error
	n := 0
	for b, err := range img.Bitmaps() {
		if err != nil {
			broken = err
			break
		}
		n++
		if b.Name == name {
			named = append(named, b)
		}
		if fmt.Sprintf("@%d", b.Index) == name {
			placed = append(placed, b)
		}
		if len(all) < listedBitmaps {
			all = append(all, b)
		}
	}
	found := named
	if len(found) == 0 {
		found = placed
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return Bitmap{}, fmt.Errorf("%w %q: %s", ErrSeveralBitmaps, name, bitmapList(found, len(found)))
	case broken != nil: // it may be there
		return Bitmap{}, broken
	case n > 0:
		return Bitmap{}, fmt.Errorf("%w %q; there are %s", ErrNoBitmap, name, bitmapList(all, n))
	case img.header.Version == 2:
		return Bitmap{}, fmt.Errorf("%w %q: an image of version 2 cannot have any", ErrNoBitmap, name)
	}
	return Bitmap{}, fmt.Errorf("%w %q: the image has none", ErrNoBitmap, name)
}

// listedBitmaps is how many bitmaps an error lists.
const listedBitmaps = 10

// bitmapList lists bitmaps for an error, the first of n.
func bitmapList(all []Bitmap, n int) string {
	var words []string
	for _, b := range all[:min(len(all), listedBitmaps)] {
		words = append(words, fmt.Sprintf("@%d (name %s)", b.Index, quotedStart(b.Name)))
	}
	if n > listedBitmaps {
		words = append(words, fmt.Sprintf("and %d more", n-listedBitmaps))
	}
	return strings.Join(words, ", ")
}
