package qcow2

import (
	"fmt"
	"strings"
)

// FindBitmap returns the bitmap with the given name, else, for "@N", that at position
// N of the directory, from 0. If none or several match, the error is [ErrNoBitmap] or
// [ErrSeveralBitmaps], and lists the names. If none matches and not all of the
// directory can be read, it is the [*Error] of the directory.
func (img *Image) FindBitmap(name string) (Bitmap, error) {
	var byName, byPosition []Bitmap
	var names []string
	var broken error
	for b, err := range img.Bitmaps() {
		if err != nil {
			broken = err
			break
		}
		if b.Name == name {
			byName = append(byName, b)
		}
		if fmt.Sprintf("@%d", len(names)) == name {
			byPosition = append(byPosition, b)
		}
		names = append(names, quotedStart(b.Name))
	}
	switch {
	case len(byName) > 1:
		return Bitmap{}, fmt.Errorf("%w %q", ErrSeveralBitmaps, name)
	case len(byName) == 1:
		return byName[0], nil
	case len(byPosition) == 1:
		return byPosition[0], nil
	case broken != nil: // it may be there
		return Bitmap{}, broken
	case len(names) == 0:
		return Bitmap{}, fmt.Errorf("%w %q: the image has none", ErrNoBitmap, name)
	}
	listed := names[:min(len(names), listedSnapshots)]
	if n := len(names) - len(listed); n > 0 {
		listed = append(listed, fmt.Sprintf("and %d more", n))
	}
	return Bitmap{}, fmt.Errorf("%w %q; there are %s", ErrNoBitmap, name, strings.Join(listed, ", "))
}
