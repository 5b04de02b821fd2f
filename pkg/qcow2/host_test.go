package qcow2_test

import (
	"fmt"
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

// TestHostWanted: of a file with more free clusters than there is time for, the
// wanted ones are yielded, and runs do not join over those that are not.
func TestHostWanted(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 64 << 9, Clusters: kinds{0: data, 1: data, 2: zeroAllocated, 3: data}}.Build()
	img, err := qcow2.Open(sparse(b.Bytes), 1<<50)
	if err != nil {
		t.Fatal(err)
	}
	first := b.Get("l2[0][0]") &^ copied
	for _, test := range []struct {
		each bool
		want []string
	}{
		{false, []string{fmt.Sprintf("%#x+0x400", first), fmt.Sprintf("%#x+0x200", first+3<<9)}},
		{true, []string{fmt.Sprintf("%#x+0x200", first), fmt.Sprintf("%#x+0x200", first+1<<9), fmt.Sprintf("%#x+0x200", first+3<<9)}},
	} {
		var got []string
		for _, r := range hostRanges(t, img, qcow2.HostOptions{PerCluster: test.each, Wanted: func(k qcow2.HostKind) bool { return k == qcow2.HostData }}) {
			got = append(got, fmt.Sprintf("%#x+%#x", r.Offset, r.Length))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("per cluster %v (-want +got):\n%s", test.each, diff)
		}
	}
}
