package cmd

import (
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the references in the head of a table.
const (
	decodeOwnerKind = iota
	decodeOwner
	decodeOwnerSnapshot
	decodeOwnerSnapshotIndex
	decodeOwnerGuest
	decodeOwnerIndex
	decodeOwnerL1Index
	decodeOwnerBitmap
	decodeOwnerBitmapIndex
	decodeOwnerEntry
	decodeOwnerProblems

	decodeOwnerColumns // how many
)

// decodeOwnersSection declares what refers to a table.
func decodeOwnersSection() *render.Section {
	return &render.Section{
		Title:  "References",
		Layout: render.LayoutList,
		Columns: []render.Column{
			decodeOwnerKind:          {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Tones: hostTones()},
			decodeOwner:              {Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: ownerNames()},
			decodeOwnerSnapshot:      {Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText},
			decodeOwnerSnapshotIndex: {Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			decodeOwnerGuest:         {Key: "guest-offset", Title: "GUEST OFFSET", Kind: render.KindAddr},
			decodeOwnerIndex:         {Key: "index", Title: "INDEX", Kind: render.KindUint},
			decodeOwnerL1Index:       {Key: "l1-index", Title: "L1 INDEX", Kind: render.KindUint},
			decodeOwnerBitmap:        {Key: "bitmap", Title: "BITMAP", Kind: render.KindImageText},
			decodeOwnerBitmapIndex:   {Key: "bitmap-index", Kind: render.KindUint, Show: render.InJSON},
			decodeOwnerEntry:         {Key: "entry", Title: "ENTRY", Kind: render.KindOffset},
			decodeOwnerProblems:      {Key: "problems", Title: "PROBLEMS", Kind: render.KindFlags, Names: qcow2.ProblemNames(), Tones: alarm()},
		},
	}
}

// ownerRows yields the rows of what refers to the table.
func (d *decodeTarget) ownerRows(yield func([]render.Value) bool) {
	names := hostRows{ids: snapshotIDs(d.rep.img), bitmaps: bitmapNames(d.rep.img)}
	c := make([]render.Value, decodeOwnerColumns)
	for i := range d.owners {
		r := &d.owners[i]
		ref := newReferenceCells(r.Kind, &r.Reference, names.ids)
		c[decodeOwnerKind] = render.Enum(uint64(r.Kind))
		c[decodeOwner], c[decodeOwnerSnapshot], c[decodeOwnerSnapshotIndex] = ref.owner, ref.snapshot, ref.snapshotIndex
		c[decodeOwnerGuest], c[decodeOwnerIndex], c[decodeOwnerL1Index] = ref.guest, ref.index, ref.l1Index
		c[decodeOwnerBitmap], c[decodeOwnerBitmapIndex] = names.bitmap(r)
		c[decodeOwnerEntry], c[decodeOwnerProblems] = ref.entry, render.Flags(uint64(r.Problems))
		if !yield(c) {
			return
		}
	}
}
