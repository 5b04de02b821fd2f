package cmd

import (
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// The owners of references other than the image itself, by their index in
// ownerNames.
const (
	ownerActive = iota
	ownerSnapshot
)

// ownerNames returns the names of these owners.
func ownerNames() []string { return []string{"active", "snapshot"} }

// referenceCells are the values about what refers to a host cluster. Those that a
// kind of reference does not have are null.
type referenceCells struct {
	owner, snapshot, snapshotIndex, guest, index, l1Index, entry render.Value
}

// newReferenceCells returns the values of a reference. ids are those of the
// snapshots.
func newReferenceCells(kind qcow2.HostKind, r *qcow2.Reference, ids []string) referenceCells {
	c := referenceCells{index: render.Uint(r.Index), entry: render.Offset(r.Entry)}
	if r.Owner == qcow2.OwnerActive {
		c.owner = render.Enum(ownerActive)
	}
	if i, ok := r.Owner.Snapshot(); ok {
		c.owner, c.snapshotIndex = render.Enum(ownerSnapshot), render.Uint(uint64(i))
		if i < len(ids) { // unless more of the table could be read the second time
			c.snapshot = render.ImageText(ids[i])
		}
	}
	switch kind {
	case qcow2.HostL2Table:
		c.l1Index = render.Uint(r.L1Index)
	case qcow2.HostData, qcow2.HostZeroAllocated, qcow2.HostCompressed, qcow2.HostVMState:
		c.l1Index = render.Uint(r.L1Index)
		c.guest = render.Addr(r.GuestOffset)
	case qcow2.HostHeader:
		c.index, c.entry = render.Null, render.Null // nothing points to the header
	}
	return c
}

// snapshotIDs returns the ids of the snapshots in their order, as far as the
// snapshot table can be read.
func snapshotIDs(img *qcow2.Image) []string {
	var ids []string
	for s, err := range img.Snapshots() {
		if err != nil {
			break // Host and Check report it
		}
		ids = append(ids, s.ID)
	}
	return ids
}
