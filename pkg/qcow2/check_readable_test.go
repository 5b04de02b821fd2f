package qcow2_test

import (
	"slices"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestCheckReadableHidesNothing: reserved bits leave an entry of the refcount table
// readable, and a leak is a leak; an offset astray hides what its block says.
func TestCheckReadableHidesNothing(t *testing.T) {
	for _, change := range []uint64{0, 1, 0x1ff} {
		b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: kinds{0: data}}.Build()
		b.Set("refcount_table[0]", b.Get("refcount_table[0]")|change)
		b.Set("refcount[2]", 7)
		if found, result := check(t, open(t, b)); result.Unread != 0 || result.Leaks != 1 {
			t.Errorf("entry 0 with %#x: %d leaks, unread %v: %q", change, result.Leaks, result.Unread.Names(), found)
		}
	}
	b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: kinds{0: data}}.Build()
	b.Set("l1[0]", 1<<40)
	if _, result := check(t, open(t, b)); !slices.Equal(result.Unread.Names(), []string{qcow2.FindingL1Table.String()}) {
		t.Errorf("an L2 table past the end: unread %v", result.Unread.Names())
	}
}
