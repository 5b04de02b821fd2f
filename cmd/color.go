package cmd

import "os"

// A colorMode is when tables have colours.
type colorMode string

const (
	colorAuto   colorMode = "auto" // on a terminal whose TERM has them, unless NO_COLOR is set
	colorAlways colorMode = "always"
	colorNever  colorMode = "never"
)

// colored reports whether tables have colours. A console of Windows, which may
// show the sequences as they are, has no TERM.
func (a *app) colored() bool {
	if a.color.value != colorAuto {
		return a.color.value == colorAlways
	}
	kind := os.Getenv("TERM")
	return terminal(a.Stdout) != nil && os.Getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"
}
