package cmd

import (
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// referenceCells are the values that say who refers to a host cluster. What a
// kind of reference does not have is null.
type referenceCells struct {
	owner, snapshot, snapshotIndex, guest, index, l1Index, entry render.Value
}

// newReferenceCells returns the values of a reference. ids are those of the
// snapshots.
func newReferenceCells(kind qcow2.HostKind, r *qcow2.Reference, ids []string) referenceCells {
	c := referenceCells{index: render.Uint(r.Index), entry: render.Offset(r.Entry)}
	switch {
	case r.Owner == qcow2.OwnerActive:
		c.owner = render.Enum(0)
	case r.Owner >= 0:
		c.owner, c.snapshotIndex = render.Enum(1), render.Uint(uint64(r.Owner))
		if int(r.Owner) < len(ids) { // else the table could not be read to there, and then it could
			c.snapshot = render.ImageText(ids[r.Owner])
		}
	}
	switch kind {
	case qcow2.HostL2Table:
		c.l1Index = render.Uint(r.L1Index)
	case qcow2.HostData, qcow2.HostZeroAllocated, qcow2.HostCompressed, qcow2.HostVMState:
		c.l1Index = render.Uint(r.L1Index)
		c.guest = render.Addr(r.GuestOffset)
	case qcow2.HostHeader:
		c.index, c.entry = render.Null, render.Null // nothing points there
	}
	return c
}
