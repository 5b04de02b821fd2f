package picture

import "math/bits"

// The most columns and rows of a scatter.
const (
	scatterColumns = 280
	scatterRows    = 180
)

// A Scatter is a grid of guest addresses, from left to right, and host addresses
// from top to bottom: where the guest data of the active disk, and those of
// snapshots at the same addresses, lie in the file. What a snapshot has past the end
// of the active disk is left out.
type Scatter struct {
	GuestSize, HostSize uint64 // bytes
	Columns, Rows       int
	// Cells has the bytes of each class in the cells of one row after the other.
	Cells [][Classes]uint64
}

func newScatter(guestSize, hostSize uint64) Scatter {
	if guestSize == 0 {
		return Scatter{HostSize: hostSize}
	}
	return Scatter{
		GuestSize: guestSize, HostSize: hostSize, Columns: scatterColumns, Rows: scatterRows,
		Cells: make([][Classes]uint64, scatterColumns*scatterRows),
	}
}

// add adds n bytes at a guest address that lie at a host address.
func (s *Scatter) add(c Class, guest, host, n uint64) {
	for n > 0 && guest < s.GuestSize && host < s.HostSize {
		column, row := fraction(guest, s.GuestSize, s.Columns), fraction(host, s.HostSize, s.Rows)
		k := min(n, edge(column+1, s.GuestSize, s.Columns)-guest, edge(row+1, s.HostSize, s.Rows)-host)
		s.Cells[row*s.Columns+column][c] += k
		guest, host, n = guest+k, host+k, n-k
	}
}

// fraction returns in which of n equal parts of size bytes an address below size
// lies.
func fraction(at, size uint64, n int) int {
	high, low := bits.Mul64(at, uint64(n))
	part, _ := bits.Div64(high, low, size)
	return int(part)
}

// edge returns the first address of the i-th of n equal parts of size bytes.
func edge(i int, size uint64, n int) uint64 {
	high, low := bits.Mul64(uint64(i), size)
	at, rest := bits.Div64(high, low, uint64(n))
	if rest > 0 {
		at++
	}
	return at
}

// At returns the class with the most bytes in a cell, and how many bytes it has of
// all classes.
func (s *Scatter) At(column, row int) (most Class, n uint64) {
	cell := &s.Cells[row*s.Columns+column]
	for c, b := range cell {
		n += b
		if b > cell[most] {
			most = Class(c)
		}
	}
	return most, n
}
