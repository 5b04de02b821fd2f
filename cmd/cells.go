package cmd

import (
	"encoding/hex"
	"fmt"

	"github.com/qinspect/qinspect/pkg/render"
)

// imageText returns a text from the image, null if there is none.
func imageText(s string, ok bool) render.Value {
	if !ok {
		return render.Null
	}
	return render.ImageText(s)
}

// offsetOrNull returns an offset that is absent when it is 0.
func offsetOrNull(n uint64) render.Value {
	if n == 0 {
		return render.Null
	}
	return render.Offset(n)
}

// previewBytes is how much of unknown data is shown.
const previewBytes = 32

// preview returns the first bytes of unknown data in hexadecimal, with an
// ellipsis where there are more.
func preview(p []byte) string {
	if len(p) > previewBytes {
		return hex.EncodeToString(p[:previewBytes]) + "…"
	}
	return hex.EncodeToString(p)
}

// oneRow returns a nested section of one row.
func oneRow(s *render.Section, row ...render.Value) render.Value {
	return render.Rows(s, func(yield func([]render.Value) bool) { yield(row) })
}

// counted returns a number of things in words.
func counted(n uint64, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
