package cmd

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// TestKindTones: metadata are told from data, and from what is lost, wherever a
// kind is shown.
func TestKindTones(t *testing.T) {
	host := hostTones()
	for name, want := range map[string]render.Tone{
		"header": render.ToneMetadata, "refcount-block": render.ToneMetadata, "bitmap-data": render.ToneMetadata, "l2-table": render.ToneMetadata,
		"data": render.ToneNone, "vm-state": render.ToneNone, "zero-allocated": render.ToneZeros, "compressed": render.ToneCompressed,
		"leaked": render.ToneCaution, "unknown": render.ToneCaution, "free": render.ToneAbsent,
	} {
		for i, n := range qcow2.HostKindNames() {
			if n == name && host[i] != want {
				t.Errorf("%s has tone %d, want %d", name, host[i], want)
			}
		}
	}
	mapped := mappingTones()
	for i, name := range qcow2.MappingKindNames() {
		for j, n := range qcow2.HostKindNames() {
			if n == name && mapped[i] != host[j] {
				t.Errorf("%s has tone %d in guest and %d in host", name, mapped[i], host[j])
			}
		}
	}
}
