package cmd

import (
	"errors"
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// usageFacts are the sizes of the file and the disk.
func usageFacts(f File, u *qcow2.Usage) []fact {
	return []fact{
		{render.Column{Key: "file-size", Title: "File size", Kind: render.KindSize}, render.Size(u.FileSize)},
		{render.Column{Key: "actual-size", Title: "Allocated on disk", Kind: render.KindSize}, allocatedSize(f)},
		{render.Column{Key: "image-end-offset", Title: "Image end offset", Kind: render.KindSize}, render.Size(u.ImageEndOffset)},
		{render.Column{Key: "tail", Title: "Unused tail", Kind: render.KindSize, Tones: caution()}, render.Size(u.Tail)},
		{render.Column{Key: "mapped.bytes", Title: "Mapped by the guest", Kind: render.KindSize}, render.Size(u.Mapped.Bytes)},
		{render.Column{Key: "mapped.preallocated", Title: "of it preallocated zeros", Kind: render.KindSize}, render.Size(u.Mapped.Preallocated)},
		{render.Column{Key: "mapped.zero", Title: "of it plain zeros", Kind: render.KindSize}, render.Size(u.Mapped.Zero)},
	}
}

// Columns of the section of kinds.
const (
	kindsKind = iota
	kindsClusters
	kindsBytes
	kindsShare
)

// kindsSection declares how much each kind of host clusters takes.
func kindsSection() *render.Section {
	return &render.Section{
		Key:    "kinds",
		Title:  "By kind",
		Layout: render.LayoutList,
		Label:  "kind",
		Empty:  "the file is empty",
		Columns: []render.Column{
			kindsKind:     {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Tones: hostTones()},
			kindsClusters: {Key: "clusters", Title: "CLUSTERS", Kind: render.KindUint},
			kindsBytes:    {Key: "bytes", Title: "BYTES", Kind: render.KindSize},
			kindsShare:    {Key: "share", Title: "SHARE", Kind: render.KindText, Show: render.InTable, Drop: 1},
		},
	}
}

// listKinds pushes the kinds that there are.
func listKinds(rep *report, u *qcow2.Usage) {
	s := kindsSection()
	rep.Section(s)
	c := make([]render.Value, len(s.Columns))
	for _, k := range u.Kinds {
		if k.Clusters == 0 {
			continue
		}
		c[kindsKind], c[kindsClusters], c[kindsBytes] = render.Enum(uint64(k.Kind)), render.Uint(k.Clusters), render.Size(k.Bytes)
		c[kindsShare] = render.Text(fmt.Sprintf("%7s", percent(k.Bytes, u.FileSize)))
		rep.row(c...)
	}
}

// Columns of the section of owners.
const (
	ownersOwner = iota
	ownersSnapshot
	ownersSnapshotIndex
	ownersName
	ownersReferenced
	ownersExclusive
	ownersShared
	ownersVMState
)

// ownersSection declares how much the active image and each snapshot takes.
func ownersSection() *render.Section {
	return &render.Section{
		Key:    "owners",
		Title:  "By owner",
		Layout: render.LayoutList,
		Columns: []render.Column{
			ownersOwner:         {Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: ownerNames(), Show: render.InTable | render.InPlain},
			ownersSnapshot:      {Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText},
			ownersSnapshotIndex: {Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			ownersName:          {Key: "name", Title: "NAME", Kind: render.KindImageText, Drop: 2},
			ownersReferenced:    {Key: "referenced", Title: "REFERENCED", Kind: render.KindSize},
			ownersExclusive:     {Key: "exclusive", Title: "EXCLUSIVE", Kind: render.KindSize},
			ownersShared:        {Key: "shared", Title: "SHARED", Kind: render.KindSize, Drop: 1},
			ownersVMState:       {Key: "vm-state", Title: "VM STATE", Kind: render.KindSize, Drop: 3},
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
	}
	c[ownersReferenced], c[ownersExclusive] = render.Size(o.Referenced), render.Size(o.Exclusive)
	c[ownersShared], c[ownersVMState] = render.Size(o.Shared), render.Size(o.VMState)
}

// listOwners pushes the active image and the snapshots.
func listOwners(rep *report, u *qcow2.Usage) {
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
}

// freeFacts are how the free clusters lie.
func freeFacts(u *qcow2.Usage) []fact {
	return []fact{
		{render.Column{Key: "free.clusters", Title: "Clusters", Kind: render.KindUint}, render.Uint(u.Free.Clusters)},
		{render.Column{Key: "free.bytes", Title: "Bytes", Kind: render.KindSize}, render.Size(u.Free.Bytes)},
		{render.Column{Key: "free.largest-run", Title: "Largest run", Kind: render.KindSize}, render.Size(u.Free.LargestRun)},
		{render.Column{Key: "free.histogram", Kind: render.KindRows}, render.Rows(histogramSection(), histogramRows(u.Free.Histogram))},
	}
}

// Columns of the histogram of free clusters.
const (
	histogramMin = iota
	histogramRuns
	histogramClusters

	histogramColumns // how many
)

// histogramSection declares the sizes of the gaps.
func histogramSection() *render.Section {
	return &render.Section{
		Title:  "Runs of free clusters",
		Layout: render.LayoutList,
		Columns: []render.Column{
			histogramMin:      {Key: "min", Title: "AT LEAST", Kind: render.KindUint},
			histogramRuns:     {Key: "runs", Title: "RUNS", Kind: render.KindUint},
			histogramClusters: {Key: "clusters", Title: "CLUSTERS", Kind: render.KindUint},
		},
	}
}

// histogramRows yields the rows of the histogram.
func histogramRows(runs []qcow2.FreeRuns) iter.Seq[[]render.Value] {
	return func(yield func([]render.Value) bool) {
		c := make([]render.Value, histogramColumns)
		for _, h := range runs {
			c[histogramMin], c[histogramRuns], c[histogramClusters] = render.Uint(h.Min), render.Uint(h.Runs), render.Uint(h.Clusters)
			if !yield(c) {
				return
			}
		}
	}
}

// tableIf returns the audience of a section that tables have only if ok.
func tableIf(ok bool) render.Audience {
	if ok {
		return 0 // everywhere
	}
	return render.InPlain | render.InJSON
}

func (a *app) newUsageCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "usage IMAGE...",
		Short: "Show where the bytes of an image went",
		Long: `Add up the bytes of the image file: by what clusters hold, and by owner. What an
owner has exclusively is what deleting it would free for reuse: the file itself
does not get smaller. Free clusters are listed by the size of the gaps that they
form.

Use it when a file is larger than it should be: whether the guest's data, the
snapshots, preallocation, or gaps that are free again make it so.

Exit status: 0 fine, 1 nothing could be shown, 2 a table or an entry is damaged:
what it should point to may be missing.`,
		Example: `  $ qinspect usage disk.qcow2
  $ qinspect usage -o json disk.qcow2 | jq -c '.owners[] | {name, exclusive}'`,
		Args: images,
		RunE: a.lasting(a.load(runUsage)),

		ValidArgsFunction: completeImages,
	}
}

func runUsage(rep *report) error {
	if _, err := rep.mappable(); err != nil {
		return err
	}
	u, err := rep.img.Usage(rep.ctx, qcow2.UsageOptions{Damage: rep.damaged, Progress: rep.progress.report})
	if err != nil {
		return err
	}
	rep.damagedClusters(u.DamagedClusters)
	remark := usageRemark(u)
	if rep.failures.code != exitOK {
		remark = render.Text("what could be reclaimed cannot be told: tables are damaged")
	}
	rep.facts(&render.Section{}, usageFacts(rep.file, u)...)
	listKinds(rep, u)
	listOwners(rep, u)
	rep.facts(&render.Section{Title: "Free clusters", Show: tableIf(u.Free.Clusters > 0)}, freeFacts(u)...)
	rep.facts(&render.Section{Show: tableIf(!remark.IsNull())},
		fact{render.Column{Key: "remark", Title: "Remark", Kind: render.KindText, Tones: caution()}, remark})
	return nil
}
