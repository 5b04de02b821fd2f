package cmd

import (
	"unicode/utf8"

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
// snapshot table can be read. Long ones are cut, as rows repeat them.
func snapshotIDs(img *qcow2.Image) []string {
	var ids []string
	for s, err := range img.Snapshots() {
		if err != nil {
			break // Host and Check report it
		}
		ids = append(ids, cutText(s.ID))
	}
	return ids
}

// bitmapNames returns the names of the bitmaps in their order, as far as the bitmap
// directory can be read. Long ones are cut.
func bitmapNames(img *qcow2.Image) []string {
	var names []string
	for b, err := range img.Bitmaps() {
		if err != nil {
			break // Host reports it
		}
		names = append(names, cutText(b.Name))
	}
	return names
}

// listedText is how much of an id or a name of the image each row of a listing has,
// in bytes. The ids that QEMU makes have 127 at most, the names of snapshots 255.
const listedText = 255

// cutText returns the start of a long text, whole characters, and an ellipsis.
func cutText(s string) string {
	if len(s) <= listedText {
		return s
	}
	n := listedText
	for n > listedText-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
