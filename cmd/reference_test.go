package cmd

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
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
