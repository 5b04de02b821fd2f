package qcow2_test

import (
	"bytes"
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestSlacks(t *testing.T) {
	im := qcow2test.Image{
		ClusterBits: 9, Size: 1 << 16, BackingFile: "base",
		Extensions: []qcow2test.Extension{{Type: 0xe2792aca, Data: []byte("raw")}},
		Snapshots:  []qcow2test.Snapshot{{ID: "1", Name: "a"}},
	}
	b := im.Build()
	name := b.Get("backing_file_offset")
	l1, table, snapshotL1 := b.Get("l1_table_offset"), b.Get("snapshots_offset"), b.Get("snapshot[0].l1_table_offset")
	want := []qcow2.Slack{
		{Kind: qcow2.HostHeader, Offset: 112 + 8 + 3, Length: 5},
		{Kind: qcow2.HostHeader, Offset: name + 4, Length: 512 - name - 4},
		{Kind: qcow2.HostL1Table, Offset: l1 + 16, Length: 512 - 16},
		{Kind: qcow2.HostL1Table, Offset: snapshotL1 + 16, Length: 512 - 16},
		{Kind: qcow2.HostSnapshotTable, Offset: table + 66, Length: 512 - 66},
	}
	var got []qcow2.Slack
	for s, err := range open(t, b).Slacks() {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSlacksOfLongHeader: nobody knows what is in header fields that are not known.
func TestSlacksOfLongHeader(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9}.Build()
	clear(b.Bytes[104:512])
	b.Set("header_length", 400)
	var got []qcow2.Slack
	for s, err := range open(t, b).Slacks() {
		if err != nil {
			t.Fatal(err)
		}
		if s.Kind == qcow2.HostHeader {
			got = append(got, s)
		}
	}
	want := []qcow2.Slack{{Kind: qcow2.HostHeader, Offset: 112, Length: 288}, {Kind: qcow2.HostHeader, Offset: 408, Length: 104}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNonZero(t *testing.T) {
	b := qcow2test.Image{}.Build()
	b.Bytes = append(b.Bytes, make([]byte, 3<<20)...)[:3<<20]
	b.Bytes[2<<20] = 1
	holes := func(off uint64) (start, end uint64, err error) { // from 0x40000 to 1 MiB
		if off >= 0x40000 && off < 1<<20 {
			return 1 << 20, uint64(len(b.Bytes)), nil
		}
		return off, uint64(len(b.Bytes)), nil
	}
	img, err := qcow2.Open(bytes.NewReader(b.Bytes), int64(len(b.Bytes)), qcow2.WithHoles(holes))
	if err != nil {
		t.Fatal(err)
	}
	b.Bytes[0x50000] = 1 // in what is said to be a hole
	for _, tt := range []struct {
		from, to, at uint64
		found        bool
	}{
		{0x40000, 2 << 20, 0, false},
		{0x40000, 2<<20 + 1, 2 << 20, true},
		{2<<20 + 1, 1 << 40, 0, false},
		{0, 1 << 40, 0, true},
		{1 << 40, 1 << 41, 0, false},
	} {
		at, found, err := img.NonZero(t.Context(), maps.All(map[uint64]uint64{tt.from: tt.to}))
		if at != tt.at || found != tt.found || err != nil {
			t.Errorf("from %#x to %#x: %#x, %v, %v; want %#x, %v", tt.from, tt.to, at, found, err, tt.at, tt.found)
		}
	}
}
