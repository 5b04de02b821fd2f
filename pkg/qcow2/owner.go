package qcow2

import "fmt"

// An Owner is what a reference belongs to: the image itself, the active image, or
// the snapshot at a position of the snapshot table, from 0.
type Owner int32

// The owners that are not snapshots.
const (
	OwnerImage  Owner = -2 // the image itself: header, refcounts, snapshot table, bitmaps, encryption
	OwnerActive Owner = -1 // the active image
)

// Snapshot returns the position of the snapshot in the snapshot table, from 0, and
// whether the owner is a snapshot.
func (o Owner) Snapshot() (index int, ok bool) { return max(int(o), 0), o >= 0 }

// String returns "image", "active", or "@N" for the snapshot at position N, as
// [Image.FindSnapshot] takes it.
func (o Owner) String() string {
	switch o {
	case OwnerImage:
		return "image"
	case OwnerActive:
		return "active"
	}
	return fmt.Sprintf("@%d", int32(o))
}
