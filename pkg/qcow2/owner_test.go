package qcow2_test

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

func TestOwner(t *testing.T) {
	for owner, want := range map[qcow2.Owner]struct {
		name  string
		index int
		ok    bool
	}{
		qcow2.OwnerImage:  {"image", 0, false},
		qcow2.OwnerActive: {"active", 0, false},
		0:                 {"@0", 0, true},
		7:                 {"@7", 7, true},
	} {
		if index, ok := owner.Snapshot(); owner.String() != want.name || index != want.index || ok != want.ok {
			t.Errorf("%d: %s, snapshot %d %v; want %+v", int32(owner), owner, index, ok, want)
		}
	}
}
