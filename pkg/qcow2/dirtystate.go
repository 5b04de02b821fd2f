package qcow2

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
