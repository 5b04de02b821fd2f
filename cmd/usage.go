package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// usageTotals declares the sizes of the file and of the disk.
func usageTotals() *render.Section {
	return &render.Section{
		Columns: []render.Column{
			{Key: "file-size", Title: "File size", Kind: render.KindSize},
			{Key: "actual-size", Title: "Allocated on disk", Kind: render.KindSize},
			{Key: "image-end-offset", Title: "Image end offset", Kind: render.KindSize},
			{Key: "tail", Title: "Unused tail", Kind: render.KindSize, Tones: caution()},
			{Key: "mapped.bytes", Title: "Mapped by the guest", Kind: render.KindSize},
			{Key: "mapped.preallocated", Title: "of it preallocated zeros", Kind: render.KindSize},
			{Key: "mapped.zero", Title: "of it plain zeros", Kind: render.KindSize},
		},
	}
}

// usageKinds declares how much each kind of host clusters takes.
func usageKinds() *render.Section {
	return &render.Section{
		Key:    "kinds",
		Title:  "By kind",
		Layout: render.LayoutList,
		Label:  "kind",
		Empty:  "the file is empty",
		Columns: []render.Column{
			{Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Tones: hostTones()},
			{Key: "clusters", Title: "CLUSTERS", Kind: render.KindUint},
			{Key: "bytes", Title: "BYTES", Kind: render.KindSize},
			{Key: "share", Title: "SHARE", Kind: render.KindText, Show: render.InTable, Drop: 1},
		},
	}
}

// usageOwners declares how much the active image and each snapshot takes.
func usageOwners() *render.Section {
	return &render.Section{
		Key:    "owners",
		Title:  "By owner",
		Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: hostOwnerNames(), Show: render.InTable | render.InPlain},
			{Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText},
			{Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			{Key: "name", Title: "NAME", Kind: render.KindImageText, Drop: 2},
			{Key: "referenced", Title: "REFERENCED", Kind: render.KindSize},
			{Key: "exclusive", Title: "EXCLUSIVE", Kind: render.KindSize},
			{Key: "shared", Title: "SHARED", Kind: render.KindSize, Drop: 1},
			{Key: "vm-state", Title: "VM STATE", Kind: render.KindSize, Drop: 3},
		},
	}
}

// usageFree declares how the free clusters lie: a table where there are some.
func usageFree(u *qcow2.Usage) *render.Section {
	return &render.Section{
		Title: "Free clusters",
		Show:  unlessNothing(u.Free.Clusters == 0),
		Columns: []render.Column{
			{Key: "free.clusters", Title: "Clusters", Kind: render.KindUint},
			{Key: "free.bytes", Title: "Bytes", Kind: render.KindSize},
			{Key: "free.largest-run", Title: "Largest run", Kind: render.KindSize},
			{Key: "free.histogram", Kind: render.KindRows},
		},
	}
}

// usageNotable declares what stands out: a table where something does.
func usageNotable(remark render.Value) *render.Section {
	return &render.Section{
		Show:    unlessNothing(remark.IsNull()),
		Columns: []render.Column{{Key: "remark", Title: "Remark", Kind: render.KindText, Tones: caution()}},
	}
}

// unlessNothing returns where a section is shown that tables do without when it
// says nothing.
func unlessNothing(nothing bool) render.Audience {
	if nothing {
		return render.InPlain | render.InJSON
	}
	return 0 // everywhere
}

// usageHistogram declares the sizes of the gaps.
func usageHistogram() *render.Section {
	return &render.Section{
		Title:  "Runs of free clusters",
		Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "min", Title: "AT LEAST", Kind: render.KindUint},
			{Key: "runs", Title: "RUNS", Kind: render.KindUint},
			{Key: "clusters", Title: "CLUSTERS", Kind: render.KindUint},
		},
	}
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
	damaged := damagedClusters()
	damaged.n = u.DamagedClusters
	damaged.report(rep)
	remark := usageRemark(u)
	if rep.failures.code != exitOK {
		remark = render.Text("what could be reclaimed cannot be told: tables are damaged")
	}
	actual := render.Null
	if n, ok := rep.img.AllocatedBytes(); ok {
		actual = render.Size(uint64(n))
	}
	for _, part := range []func() error{
		func() error {
			return rep.single(usageTotals(), render.Size(u.FileSize), actual, render.Size(u.ImageEndOffset), render.Size(u.Tail),
				render.Size(u.Mapped.Bytes), render.Size(u.Mapped.Preallocated), render.Size(u.Mapped.Zero))
		},
		func() error { return listKinds(rep, u) },
		func() error { return listOwners(rep, u) },
		func() error {
			return rep.single(usageFree(u), render.Uint(u.Free.Clusters), render.Size(u.Free.Bytes), render.Size(u.Free.LargestRun),
				render.Rows(usageHistogram(), histogramRows(u.Free.Histogram)))
		},
		func() error { return rep.single(usageNotable(remark), remark) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// listKinds pushes the kinds that there are.
func listKinds(rep *report, u *qcow2.Usage) error {
	rep.Section(usageKinds())
	for _, k := range u.Kinds {
		if k.Clusters == 0 {
			continue
		}
		if err := rep.Row([]render.Value{
			render.Enum(uint64(k.Kind)), render.Uint(k.Clusters), render.Size(k.Bytes), render.Text(fmt.Sprintf("%7s", percent(k.Bytes, u.FileSize))),
		}); err != nil {
			return err
		}
	}
	return nil
}

// listOwners pushes the active image and the snapshots.
func listOwners(rep *report, u *qcow2.Usage) error {
	if u.Owners == nil {
		rep.damaged(errors.New("clusters are shared in too many ways to tell what each owner has"))
		return rep.single(&render.Section{Show: render.InJSON, Columns: []render.Column{{Key: "owners", Kind: render.KindRows}}}, render.Null)
	}
	rep.Section(usageOwners())
	owners := u.Owners
	row := func(o qcow2.OwnerUsage, owner, id, index, name render.Value) error {
		return rep.Row([]render.Value{owner, id, index, name,
			render.Size(o.Referenced), render.Size(o.Exclusive), render.Size(o.Shared), render.Size(o.VMState)})
	}
	if len(owners) > 0 && owners[0].Owner == qcow2.OwnerActive {
		if err := row(owners[0], render.Enum(0), render.Null, render.Null, render.Null); err != nil {
			return err
		}
		owners = owners[1:]
	}
	for s, err := range rep.img.Snapshots() {
		if err != nil || len(owners) == 0 {
			break // Usage has said it
		}
		if owners[0].Owner != qcow2.Owner(s.Index) {
			continue // its L1 table cannot be read
		}
		if err := row(owners[0], render.Enum(1), render.ImageText(s.ID), render.Uint(uint64(s.Index)), render.ImageText(s.Name)); err != nil {
			return err
		}
		owners = owners[1:]
	}
	return nil
}

func histogramRows(runs []qcow2.FreeRuns) iter.Seq[[]render.Value] {
	return func(yield func([]render.Value) bool) {
		for _, h := range runs {
			if !yield([]render.Value{render.Uint(h.Min), render.Uint(h.Runs), render.Uint(h.Clusters)}) {
				return
			}
		}
	}
}

// notable is the share of the file from which on something stands out, in
// percent.
const notable = 20

// usageRemark says in a line what stands out, if anything does: the largest
// share of the file that could be reclaimed.
func usageRemark(u *qcow2.Usage) render.Value {
	var snapshots uint64
	for _, o := range u.Owners {
		if o.Owner >= 0 {
			snapshots += o.Exclusive
		}
	}
	most := slices.MaxFunc([]remark{
		{u.Kinds[qcow2.HostLeaked].Bytes, "leaked"},
		{u.Tail, "an unused tail"},
		{u.Free.Bytes - min(u.Tail, u.Free.Bytes), "free gaps" + largestGap(u)},
		{snapshots, "exclusive to single snapshots"},
		{min(u.Mapped.Preallocated, u.Kinds[qcow2.HostZeroAllocated].Bytes), "preallocated and reads as zeros"},
	}, func(a, b remark) int { return cmp.Compare(a.bytes, b.bytes) })
	if float64(most.bytes)*100 < notable*float64(u.FileSize) || most.bytes == 0 {
		return render.Null
	}
	return render.Text(fmt.Sprintf("%s of the file is %s", percent(most.bytes, u.FileSize), most.words))
}

// A remark is something that could be reclaimed, and how much of the file it is.
type remark struct {
	bytes uint64
	words string
}

// largestGap says how large the largest gap is.
func largestGap(u *qcow2.Usage) string {
	if len(u.Free.Histogram) == 0 {
		return ""
	}
	clusters := u.Free.LargestRun * u.Free.Clusters / max(u.Free.Bytes, 1)
	return ", none larger than " + counted(max(clusters, 1), "cluster", "clusters")
}

// percent returns a share in percent.
func percent(part, whole uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(whole, 1)))
}
