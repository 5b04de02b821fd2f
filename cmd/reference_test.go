package cmd

import (
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestReferenceOfLateSnapshot: the snapshot table of an image in use can become
// readable after its ids were read. The snapshot then has a position, and no id.
func TestReferenceOfLateSnapshot(t *testing.T) {
	for owner, want := range []string{"one", ""} {
		c := newReferenceCells(qcow2.HostL1Table, &qcow2.Reference{Owner: qcow2.Owner(owner)}, []string{"one"})
		if c.snapshot.Str() != want || c.snapshot.IsNull() != (want == "") || c.snapshotIndex.Num() != uint64(owner) {
			t.Errorf("snapshot %d: id %q, position %d", owner, c.snapshot.Str(), c.snapshotIndex.Num())
		}
	}
}

// TestSnapshotIDs: rows have the first 255 bytes of an id, in whole characters.
func TestSnapshotIDs(t *testing.T) {
	ids := map[string]string{
		"":                          "",
		strings.Repeat("a", 255):    strings.Repeat("a", 255),
		strings.Repeat("a", 256):    strings.Repeat("a", 255) + "…",
		strings.Repeat("é", 200):    strings.Repeat("é", 127) + "…",
		strings.Repeat("🙂", 100):    strings.Repeat("🙂", 63) + "…",
		strings.Repeat("\xff", 300): strings.Repeat("\xff", 255) + "…",
		strings.Repeat("\x80", 300): strings.Repeat("\x80", 251) + "…", // no character begins there
	}
	for id, want := range ids {
		b := qcow2test.Image{Snapshots: []qcow2test.Snapshot{{ID: id}}}.Build()
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		if got := snapshotIDs(img); len(got) != 1 || got[0] != want {
			t.Errorf("%.10q…: %q, want %q", id, got, want)
		}
	}
}
