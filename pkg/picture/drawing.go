package picture

import (
	"fmt"
	"strings"
)

// A drawing is the text that a picture becomes.
type drawing struct{ strings.Builder }

// printf appends formatted text.
func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.Builder, format, args...) }
