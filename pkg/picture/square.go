package picture

import "math/bits"

// A Square is some neighbouring host clusters.
type Square struct {
	Offset uint64          // bytes from the start of the file
	Bytes  [Classes]uint64 // by class; they add up to its length
	Runs   uint64          // contiguous runs that begin in it, as [qcow2.Image.Host] yields them
	// RunLength is the length of the longest run that touches it, in bytes.
	RunLength uint64
}

// Length returns how long the square is, in bytes.
func (s *Square) Length() uint64 { return total(&s.Bytes) }

// total returns the bytes of all classes together.
func total(all *[Classes]uint64) (n uint64) {
	for _, b := range all {
		n += b
	}
	return n
}

// shown returns the class that the i-th square of a picture is painted with. One
// leaked or conflicting cluster paints it. Else the class is that at one point of
// its bytes, sorted by class; the points of neighbouring squares are spread evenly,
// so that each class paints its share of an area, however small.
func (s *Square) shown(i int) Class {
	for _, c := range []Class{Conflict, Leaked} {
		if s.Bytes[c] > 0 {
			return c
		}
	}
	at, _ := bits.Mul64(s.Length(), uint64(i+1)*goldenRatio)
	for c, n := range s.Bytes {
		if at < n {
			return Class(c)
		}
		at -= n
	}
	return Free // an empty square
}

// goldenRatio is the fraction of 1<<64 by which the points of neighbouring squares
// are apart.
const goldenRatio = 0x9e3779b97f4a7c15
