package cmd

import (
	"encoding/hex"
	"fmt"

	"github.com/qinspect/qinspect/pkg/render"
)

// valueIf returns a value, null unless ok.
func valueIf(ok bool, v render.Value) render.Value {
	if !ok {
		return render.Null
	}
	return v
}

// allocatedSize returns the bytes that a file takes on its file system, null if
// that is not known.
func allocatedSize(f File) render.Value {
	n, ok := f.AllocatedBytes()
	return valueIf(ok, render.Size(uint64(n)))
}

// imageText returns a text from the image, null if there is none.
func imageText(s string, ok bool) render.Value { return valueIf(ok, render.ImageText(s)) }

// offsetOrNull returns an offset that is absent when it is 0.
func offsetOrNull(n uint64) render.Value { return valueIf(n != 0, render.Offset(n)) }

// previewBytes is how much of unknown data is shown.
const previewBytes = 32

// preview returns the first bytes of unknown data in hexadecimal, with an ellipsis
// if there are more.
func preview(p []byte) string {
	if len(p) > previewBytes {
		return hex.EncodeToString(p[:previewBytes]) + "…"
	}
	return hex.EncodeToString(p)
}

// counted returns a number of things in words.
func counted(n uint64, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}
