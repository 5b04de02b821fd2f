package cmd

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// TestKindColors: metadata are told from data, and from what is lost, wherever a
// kind is shown.
func TestKindColors(t *testing.T) {
	host := hostColors()
	for name, want := range map[string]render.Color{
		"header": render.ColorCyan, "refcount-block": render.ColorCyan, "bitmap-data": render.ColorCyan, "l2-table": render.ColorCyan,
		"data": render.ColorNone, "vm-state": render.ColorNone, "zero-allocated": render.ColorGreen, "compressed": render.ColorMagenta,
		"leaked": render.ColorYellow, "unknown": render.ColorYellow, "free": render.ColorDim,
	} {
		for i, n := range qcow2.HostKindNames() {
			if n == name && host[i] != want {
				t.Errorf("%s has colour %d, want %d", name, host[i], want)
			}
		}
	}
	mapped := mappingColors()
	for i, name := range qcow2.MappingKindNames() {
		for j, n := range qcow2.HostKindNames() {
			if n == name && mapped[i] != host[j] {
				t.Errorf("%s has colour %d in guest and %d in host", name, mapped[i], host[j])
			}
		}
	}
}
