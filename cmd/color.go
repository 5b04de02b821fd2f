package cmd

import (
	"os"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A colorMode says when tables have colours.
type colorMode string

const (
	colorAuto   colorMode = "auto" // on a terminal that TERM says has them, unless NO_COLOR is set
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

// alarm is the colour of a thing that is bad whenever it is there; caution that
// of one to look at.
func alarm() []render.Color   { return []render.Color{render.ColorRed} }
func caution() []render.Color { return []render.Color{render.ColorYellow} }

// severityColors returns the colours of severities.
func severityColors() []render.Color {
	return []render.Color{
		qcow2.SeverityError:   render.ColorRed,
		qcow2.SeverityLeak:    render.ColorYellow,
		qcow2.SeverityWarning: render.ColorYellow,
	}
}

// hostColors returns the colours of what host clusters hold: metadata cyan,
// data that are no plain data another.
func hostColors() []render.Color {
	colors := []render.Color{
		qcow2.HostZeroAllocated: render.ColorGreen,
		qcow2.HostCompressed:    render.ColorMagenta,
		qcow2.HostLeaked:        render.ColorYellow,
		qcow2.HostFree:          render.ColorDim,
		qcow2.HostUnknown:       render.ColorYellow,
	}
	for i := range colors {
		if qcow2.HostKind(i).Metadata() {
			colors[i] = render.ColorCyan
		}
	}
	return colors
}

// mappingColors returns the colours of mappings, those of the clusters that
// hold them.
func mappingColors() []render.Color {
	return []render.Color{
		qcow2.MappingUnallocated:   render.ColorDim,
		qcow2.MappingZero:          render.ColorGreen,
		qcow2.MappingZeroAllocated: render.ColorGreen,
		qcow2.MappingCompressed:    render.ColorMagenta,
	}
}
