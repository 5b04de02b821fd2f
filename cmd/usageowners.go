package cmd

import (
	"errors"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the section of owners.
const (
	ownersOwner = iota
	ownersSnapshot
	ownersSnapshotIndex
	ownersName
	ownersReferenced
	ownersExclusive
	ownersWithOlder
	ownersShared
	ownersVMState
)

// ownerSnapshots stands for all snapshots together, behind the owners of ownerNames.
const ownerSnapshots = ownerSnapshot + 1

// ownersSection declares how much the active image and each snapshot takes.
func ownersSection() *render.Section {
	return &render.Section{
		Key:    "owners",
		Title:  "By owner",
		Layout: render.LayoutList,
		Columns: []render.Column{
			ownersOwner:         {Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: append(ownerNames(), "all snapshots"), Show: render.InTable | render.InPlain},
			ownersSnapshot:      {Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText},
			ownersSnapshotIndex: {Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			ownersName:          {Key: "name", Title: "NAME", Kind: render.KindImageText, Drop: 2},
			ownersReferenced:    {Key: "referenced", Title: "REFERENCED", Kind: render.KindSize},
			ownersExclusive:     {Key: "exclusive", Title: "EXCLUSIVE", Kind: render.KindSize},
			ownersWithOlder:     {Key: "exclusive-with-older", Title: "FREED WITH OLDER", Kind: render.KindSize, Drop: 1},
			ownersShared:        {Key: "shared", Title: "SHARED", Kind: render.KindSize, Drop: 3},
			ownersVMState:       {Key: "vm-state", Title: "VM STATE CLUSTERS", Kind: render.KindSize, Drop: 4},
		},
	}
}

// setOwner sets the cells of a row of the section of owners. The snapshot is nil
// for the active image.
func setOwner(c []render.Value, o *qcow2.OwnerUsage, s *qcow2.Snapshot) {
	clear(c)
	c[ownersOwner] = render.Enum(ownerActive)
	if s != nil {
		c[ownersOwner], c[ownersSnapshot] = render.Enum(ownerSnapshot), render.ImageText(s.ID)
		c[ownersSnapshotIndex], c[ownersName] = render.Uint(uint64(s.Index)), render.ImageText(s.Name)
		c[ownersWithOlder] = render.Size(o.ExclusiveWithOlder)
	}
	c[ownersReferenced], c[ownersExclusive] = render.Size(o.Referenced), render.Size(o.Exclusive)
	c[ownersShared], c[ownersVMState] = render.Size(o.Shared), render.Size(o.VMState)
}

// listOwners pushes the active image and the snapshots, for people also what all
// snapshots have together.
func listOwners(rep *report, u *qcow2.Usage, o usageOptions) {
	if u.Owners == nil {
		rep.damaged(errors.New("clusters are shared in too many ways to tell what each owner has"))
		rep.none("owners")
		return
	}
	section := ownersSection()
	rep.Section(section)
	c := make([]render.Value, len(section.Columns))
	owners := u.Owners
	if len(owners) > 0 && owners[0].Owner == qcow2.OwnerActive {
		setOwner(c, &owners[0], nil)
		rep.row(c...)
		owners = owners[1:]
	}
	for s, err := range rep.img.Snapshots() {
		if err != nil || len(owners) == 0 {
			break // Usage has reported it
		}
		if owners[0].Owner != qcow2.Owner(s.Index) {
			continue // its L1 table cannot be read
		}
		setOwner(c, &owners[0], &s)
		rep.row(c...)
		owners = owners[1:]
	}
	if o.people && len(u.Owners) > 2 {
		clear(c)
		c[ownersOwner], c[ownersExclusive] = render.Enum(ownerSnapshots), render.Size(u.SnapshotsOnly)
		rep.row(c...)
	}
}
