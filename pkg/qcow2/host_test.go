package qcow2_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestHostSharedBitmapTable: an entry of a bitmap table that two bitmaps share
// is a reference of each.
func TestHostSharedBitmapTable(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 4 << 9, Bitmaps: []qcow2test.Bitmap{{Name: "one"}, {Name: "two"}}}.Build()
	data := uint64(len(b.Bytes))
	b.Bytes = append(b.Bytes, make([]byte, 512)...)
	table := b.Get("bitmap[0].table_offset")
	b.Set("bitmap[0].table[0]", data).Set("bitmap[1].table_offset", table)

	img := open(t, b)
	reference := qcow2.HostRange{
		Offset: data, Length: 512, Kind: qcow2.HostBitmapData, HasRefcount: true, References: 2,
		HasReference: true, Reference: qcow2.Reference{Owner: qcow2.OwnerImage, Entry: table},
	}
	at := qcow2.HostOptions{Offset: data, Length: 1}
	if diff := cmp.Diff([]qcow2.HostRange{reference}, hostRanges(t, img, at)); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
	at.Owners = true
	if diff := cmp.Diff([]qcow2.HostRange{reference, reference}, hostRanges(t, img, at)); diff != "" {
		t.Errorf("references (-want +got):\n%s", diff)
	}
}
