package qcow2

import (
	"fmt"
	"strings"
)

// A BitmapState says what a bitmap is good for.
type BitmapState uint8

// The states of bitmaps. Only what is stored in the first two is what was written
// to the disk.
const (
	StateRecording BitmapState = iota // QEMU sets a bit with each write
	StateDisabled                     // QEMU leaves it as it is
	StateInUse                        // a program had it, and has not stored it since
	StateStale                        // a program without bitmap support has written
	StateDamaged                      // it cannot be read
)

// BitmapStateNames returns the names of the states in their order.
func BitmapStateNames() []string {
	return []string{"recording", "disabled", "in-use", "stale", "damaged"}
}

// String returns the name of the state.
func (s BitmapState) String() string { return nameOf(BitmapStateNames(), s, "unknown-") }

// Reason says in words what the state means.
func (s BitmapState) Reason() string {
	return [...]string{
		"QEMU records each write in it",
		"QEMU records nothing in it",
		"in use: a running QEMU has it, or it was not stored when that ended; QEMU will only remove it",
		"stale: a program without bitmap support wrote; QEMU ignores all bitmaps and drops them when it next writes",
		"damaged: QEMU may refuse the whole image",
	}[s]
}

// BitmapState returns the state of a bitmap, as far as its record shows:
// [Image.BitmapContents] also reads the content.
func (img *Image) BitmapState(b *Bitmap) BitmapState { return img.bitmapState(b, len(b.Damage) > 0) }

// bitmapState returns the state of a bitmap that is damaged, or not. QEMU does not
// read the bitmaps of an image where they are stale, so that they cannot be damaged.
func (img *Image) bitmapState(b *Bitmap, damaged bool) BitmapState {
	switch {
	case !img.BitmapsConsistent():
		return StateStale
	case damaged:
		return StateDamaged
	case b.Flags&BitmapInUse != 0:
		return StateInUse
	case b.Flags&BitmapAuto != 0:
		return StateRecording
	}
	return StateDisabled
}

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
