package cmd

import (
	"cmp"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// snapshotFlags is a flag that selects snapshots as [snapshotFlag] does, and can be
// given several times.
type snapshotFlags []snapshotFlag

func (f *snapshotFlags) String() string { return "" }
func (f *snapshotFlags) Type() string   { return "string" }

// Set adds a name.
func (f *snapshotFlags) Set(name string) error {
	*f = append(*f, snapshotFlag{name, true})
	return nil
}

// find returns the selected snapshots of an image in the order of their table,
// each once.
func (f *snapshotFlags) find(img *qcow2.Image) ([]qcow2.Snapshot, error) {
	var all []qcow2.Snapshot
	for _, one := range *f {
		s, err := one.find(img)
		if err != nil {
			return nil, err
		}
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b qcow2.Snapshot) int { return cmp.Compare(a.Index, b.Index) })
	return slices.CompactFunc(all, func(a, b qcow2.Snapshot) bool { return a.Index == b.Index }), nil
}

// showWhatIf pushes what deleting snapshots frees. If tables are damaged, what they
// hide may share what the snapshots hold: nobody knows, and there is no command.
func showWhatIf(rep *report, u *qcow2.Usage, o usageOptions, without []qcow2.Snapshot, trusted bool) {
	ids, freed := render.Null, render.Null
	if len(without) > 0 {
		list := make([]string, len(without))
		for i := range without {
			list[i] = without[i].ID
		}
		ids, freed = render.List(list), valueIf(u.Owners != nil && trusted, render.Size(u.Freed))
	}
	rep.facts(&render.Section{Title: "If snapshots are deleted", Show: tableIf(len(without) > 0)},
		fact{render.Column{Key: "what-if.snapshots", Title: "Snapshots", Kind: render.KindList}, ids},
		fact{render.Column{Key: "what-if.freed", Title: "Freed for reuse", Kind: render.KindSize}, freed})
	if o.people && len(without) > 0 && trusted {
		listDeletions(rep, u, without)
	}
}

// listDeletions pushes what to type to delete snapshots.
func listDeletions(rep *report, u *qcow2.Usage, without []qcow2.Snapshot) {
	rep.Section(&render.Section{
		Key:    "deletions",
		Layout: render.LayoutList,
		Show:   render.InTable,
		Columns: []render.Column{
			{Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText},
			{Key: "name", Title: "NAME", Kind: render.KindImageText, Drop: 1},
			{Key: "command", Title: "HOW", Kind: render.KindText},
		},
	})
	d, blocked := newDeletions(rep.img), blockedReason(rep, u)
	for i := range without {
		how := blocked
		if how == "" {
			how, _ = d.command(&without[i], shellFile(rep.name))
		}
		rep.row(render.ImageText(without[i].ID), render.ImageText(without[i].Name), render.Text(how))
	}
}
