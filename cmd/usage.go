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
		{render.Column{Key: "mapped.preallocated", Title: "of it zeros that keep their clusters", Kind: render.KindSize}, render.Size(u.Mapped.Preallocated)},
		{render.Column{Key: "mapped.zero", Title: "of it zeros without clusters", Kind: render.KindSize}, render.Size(u.Mapped.Zero)},
	}
}

// holeFacts are how much of the file lies in holes, null if that is not known.
func holeFacts(f File, u *qcow2.Usage) []fact {
	holes := u.Holes()
	unwritten, ok := unwrittenBytes(f, u)
	return []fact{
		{render.Column{Key: "holes.mapped", Title: "Holes in data", Kind: render.KindSize}, valueIf(u.HasOnDisk, render.Size(holes.Mapped))},
		{render.Column{Key: "holes.metadata", Title: "Holes in metadata", Kind: render.KindSize}, valueIf(u.HasOnDisk, render.Size(holes.Metadata))},
		{render.Column{Key: "holes.free", Title: "Holes in free space", Kind: render.KindSize}, valueIf(u.HasOnDisk, render.Size(holes.Free))},
		{render.Column{Key: "holes.unwritten", Title: "Reserved, not written", Kind: render.KindSize}, valueIf(ok, render.Size(unwritten))},
	}
}

// unwrittenBytes returns how much more space a file takes than was written to it:
// what was reserved, as fallocate does. ok is false where that is not known.
func unwrittenBytes(f File, u *qcow2.Usage) (n uint64, ok bool) {
	actual, ok := f.AllocatedBytes()
	if !ok || !u.HasOnDisk {
		return 0, false
	}
	return uint64(actual) - min(uint64(actual), u.OnDisk()), true
}

// compactFact is how large a copy is at most, null if that is not known.
func compactFact(u *qcow2.Usage, trusted bool) fact {
	c := render.Column{Key: "compact-at-most", Title: "A compact copy, at most", Kind: render.KindSize}
	return fact{c, valueIf(trusted && u.HasCompact, render.Size(u.CompactAtMost))}
}

// Columns of the section of kinds.
const (
	kindsKind = iota
	kindsClusters
	kindsBytes
	kindsOnDisk
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
			kindsOnDisk:   {Key: "on-disk", Title: "ON DISK", Kind: render.KindSize, Drop: 2},
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
		c[kindsOnDisk] = valueIf(u.HasOnDisk, render.Size(k.OnDisk))
		c[kindsShare] = render.Text(fmt.Sprintf("%7s", percent(k.Bytes, u.FileSize)))
		rep.row(c...)
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

// usageOptions are the flags of usage.
type usageOptions struct {
	without snapshotFlags
	people  bool // a table is wanted, which has sums and words that programs do not need
}

func (a *app) newUsageCommand() *cobra.Command {
	var o usageOptions
	cmd := &cobra.Command{
		Use:   "usage IMAGE...",
		Short: "Show where the bytes of an image went",
		Long: `Add up the bytes of the image file: by what clusters hold, and by owner; what of
that is on disk, and no hole of the file; how large the gaps are. Then what can
be given back, and how.

What an owner has exclusively is what deleting it would free for reuse: the file
itself does not get smaller. Snapshots that follow each other share most of what
they hold, so each has next to nothing for itself: FREED WITH OLDER is what
comes back when those before it in the table are deleted too. With --without,
several times if need be, it can be any others.

Use it when a file is larger than it should be: whether the guest's data, the
snapshots, preallocation, or gaps that are free again make it so. Preallocation
shows in the holes of data, or in what is reserved and not written; zeros that
keep their clusters are another thing.

Exit status: 0 fine, 1 nothing could be shown, 2 a table or an entry is damaged:
what it should point to may be missing.`,
		Example: `  $ qinspect usage disk.qcow2
  $ qinspect usage --without 1 --without 2 disk.qcow2
  $ qinspect usage -o json disk.qcow2 | jq -c '.owners[] | {name, exclusive}'`,
		Args: images,

		ValidArgsFunction: completeImages,
	}
	cmd.RunE = a.lasting(a.load(func(rep *report) error {
		o := usageOptions{without: o.without, people: a.output.value == render.FormatTable}
		if !forPrograms(a.output.value) {
			noteDataFile(rep, dataInDataFile)
		}
		return runUsage(rep, o)
	}))
	cmd.Flags().Var(&o.without, "without", "a snapshot to be deleted, by id, name or @position")
	selects(cmd.Flags(), "without")
	a.completeFlag(cmd, "without", a.completeSnapshots)
	addJobs(cmd, 1)
	return cmd
}

func runUsage(rep *report, o usageOptions) error {
	if _, err := rep.mappable(); err != nil {
		return err
	}
	without, err := o.without.find(rep.img)
	if err != nil {
		return err
	}
	u, err := rep.img.Usage(rep.ctx, qcow2.UsageOptions{Without: without, Damage: rep.damaged, Progress: rep.progress.report})
	if err != nil {
		return err
	}
	rep.damagedClusters(u.DamagedClusters)
	trusted := rep.failures.code == exitOK
	if u.TakenForFree > 0 {
		rep.damaged(errors.New(counted(u.TakenForFree, "cluster is in use, but has a refcount of 0", "clusters are in use, but have a refcount of 0")))
	}
	if u.TooLow > 0 {
		rep.damaged(errors.New(counted(u.TooLow, "cluster has a refcount lower than the number of its owners", "clusters have a refcount lower than the number of their owners")))
	}
	showUsage(rep, u, o, without, trusted)
	return nil
}

// showUsage pushes the sections. If tables are damaged, what they hide must not be
// taken for free: what could be reclaimed cannot be trusted.
func showUsage(rep *report, u *qcow2.Usage, o usageOptions, without []qcow2.Snapshot, trusted bool) {
	facts := append(usageFacts(rep.file, u), holeFacts(rep.file, u)...)
	rep.facts(&render.Section{}, append(facts, compactFact(u, trusted))...)
	listKinds(rep, u)
	listOwners(rep, u, o)
	rep.facts(&render.Section{Show: render.InPlain | render.InJSON},
		fact{render.Column{Key: "snapshots-only", Kind: render.KindSize}, valueIf(u.Owners != nil && trusted, render.Size(u.SnapshotsOnly))})
	showWhatIf(rep, u, o, without, trusted)
	rep.facts(&render.Section{Title: "Free clusters", Show: tableIf(u.Free.Clusters > 0)}, freeFacts(u)...)
	remark := render.Text("what could be reclaimed cannot be told: tables are damaged")
	if trusted {
		listReclaim(rep, u, o)
		remark = newUsageRemark(rep, u).text()
	} else {
		rep.none("reclaim")
	}
	rep.facts(&render.Section{Show: tableIf(!remark.IsNull())},
		fact{render.Column{Key: "remark", Title: "Remark", Kind: render.KindText, Tones: caution()}, remark})
}
