package cmd

import (
	"cmp"
	"errors"
	"math"

	"github.com/spf13/cobra"
)

// A window is the flags that select the range of a listing: --offset and --length,
// or --at.
type window struct{ offset, length, at address }

// check returns an error if the flags that were given do not go together.
func (w *window) check(cmd *cobra.Command) error {
	if w.at.given() && (w.offset.given() || w.length.given()) {
		return usageError(cmd, errors.New("--at goes without --offset and --length"))
	}
	if w.length.given() && w.length.n == 0 {
		return usageError(cmd, errors.New("--length must be more than 0"))
	}
	return nil
}

// bytes returns the range that the flags select. A length of 0 goes to the end.
func (w *window) bytes(clusterBits uint) (first, n uint64, err error) {
	if w.at.given() {
		first, err = w.at.bytes(clusterBits)
		return first, 1, err
	}
	first, err1 := w.offset.bytes(clusterBits)
	n, err2 := w.length.bytes(clusterBits)
	if err := cmp.Or(err1, err2); err != nil {
		return 0, 0, err
	}
	return first, min(n, math.MaxUint64-first), nil
}
