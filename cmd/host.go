package cmd

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the host section.
const (
	hostOffset = iota
	hostLength
	hostKind
	hostOwner
	hostSnapshot
	hostSnapshotIndex
	hostGuest
	hostIndex
	hostL1Index
	hostBitmap
	hostBitmapIndex
	hostEntry
	hostRefcount
	hostReferences
	hostProblems

	hostColumns // how many
)

// hostSection declares what host clusters hold. If lines name owners, a row is a
// reference.
func hostSection(title string, img *qcow2.Image, lines hostLines) *render.Section {
	g := lines.g
	reference := render.InJSON
	if lines.owners {
		reference |= render.InTable
	}
	host := g.HostClusters << g.ClusterBits
	guest := max(g.VirtualSize, uint64(img.Header().L1Size)*g.L2Entries*g.ClusterSize)
	return &render.Section{
		Key:         "host",
		Title:       title,
		Layout:      render.LayoutStream,
		Empty:       "no such clusters",
		ClusterBits: g.ClusterBits,
		Write:       lines.write,
		Columns: []render.Column{
			hostOffset:        {Key: "offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: host},
			hostLength:        {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 4},
			hostKind:          {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Tones: hostTones()},
			hostOwner:         {Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: ownerNames(), Drop: 2},
			hostSnapshot:      {Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText, Max: 8, Drop: 3},
			hostSnapshotIndex: {Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			hostGuest:         {Key: "guest-offset", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: guest},
			hostIndex:         {Key: "index", Title: "INDEX", Kind: render.KindUint, Max: max(g.RefcountTableEntries, g.L2Entries), Drop: 6},
			hostL1Index:       {Key: "l1-index", Title: "L1 INDEX", Kind: render.KindUint, Max: uint64(img.Header().L1Size), Drop: 7, Show: reference},
			hostBitmap:        {Key: "bitmap", Title: "BITMAP", Kind: render.KindImageText, Max: 8, Drop: 8, Show: reference},
			hostBitmapIndex:   {Key: "bitmap-index", Kind: render.KindUint, Show: render.InJSON},
			hostEntry:         {Key: "entry", Title: "ENTRY", Kind: render.KindOffset, Max: host, Show: reference},
			hostRefcount:      {Key: "refcount", Title: "REFCOUNT", Kind: render.KindUint, Drop: 5},
			hostReferences:    {Key: "references", Title: "REFERENCES", Kind: render.KindUint, Drop: 5},
			hostProblems:      {Key: "problems", Title: "PROBLEMS", Kind: render.KindFlags, Names: qcow2.ProblemNames(), Drop: 1, Tones: alarm()},
		},
	}
}

// hostRows pushes rows of host ranges.
type hostRows struct {
	rowBatch
	offsets, lengths, refcounts, references []uint64
	guests, indexes, l1Indexes, entries     []uint64

	cluster, entry uint64   // bytes of a cluster, and of an L2 entry
	ids            []string // of the snapshots
	bitmaps        []string // their names

	last qcow2.HostRange // what the cells show; before the first, nothing
}

func newHostRows(rep *report, g qcow2.Geometry) *hostRows {
	r := &hostRows{
		rowBatch: newRowBatch(rep, hostColumns),
		cluster:  g.ClusterSize, entry: g.L2EntrySize,
		ids: snapshotIDs(rep.img), bitmaps: bitmapNames(rep.img),
	}
	r.offsets, r.lengths = r.column(hostOffset), r.column(hostLength)
	r.refcounts, r.references = r.column(hostRefcount), r.column(hostReferences)
	r.guests, r.indexes = r.column(hostGuest), r.column(hostIndex)
	r.l1Indexes, r.entries = r.column(hostL1Index), r.column(hostEntry)
	return r
}

// add adds the rows of a range. Most differ from the one before in numbers alone.
func (r *hostRows) add(h *qcow2.HostRange) error {
	if !r.continues(h) {
		if err := r.flush(); err != nil {
			return err
		}
		r.last = *h
		r.fill(h)
	}
	offset, guest, index, entry := h.Offset, h.Reference.GuestOffset, h.Reference.Index, h.Reference.Entry
	for range h.More + 1 {
		i := r.n
		r.offsets[i], r.lengths[i], r.refcounts[i], r.references[i] = offset, h.Length, h.Refcount, h.References
		r.guests[i], r.indexes[i], r.l1Indexes[i], r.entries[i] = guest, index, h.Reference.L1Index, entry
		offset, guest, index, entry = offset+r.cluster, guest+r.cluster, index+1, entry+r.entry
		if err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

// continues reports whether a range differs from the one before in numbers alone.
func (r *hostRows) continues(h *qcow2.HostRange) bool {
	l := &r.last
	return r.n > 0 && h.Kind == l.Kind && h.HasReference == l.HasReference && h.Reference.Owner == l.Reference.Owner &&
		h.Reference.Bitmap == l.Reference.Bitmap && h.HasRefcount == l.HasRefcount && h.Problems == l.Problems
}

// fill sets all cells of the row.
func (r *hostRows) fill(h *qcow2.HostRange) {
	var ref referenceCells
	if h.HasReference {
		ref = newReferenceCells(h.Kind, &h.Reference, r.ids)
	}
	c := r.batch.Row
	c[hostOffset] = render.Addr(h.Offset)
	c[hostLength] = render.Size(h.Length)
	c[hostKind] = render.Enum(uint64(h.Kind))
	c[hostOwner] = ref.owner
	c[hostSnapshot] = ref.snapshot
	c[hostSnapshotIndex] = ref.snapshotIndex
	c[hostGuest] = ref.guest
	c[hostIndex] = ref.index
	c[hostL1Index] = ref.l1Index
	c[hostBitmap], c[hostBitmapIndex] = r.bitmap(h)
	c[hostEntry] = ref.entry
	c[hostRefcount] = valueIf(h.HasRefcount, render.Uint(h.Refcount))
	c[hostReferences] = render.Uint(h.References)
	c[hostProblems] = render.Flags(uint64(h.Problems))
}

// bitmap returns the name and the position of the bitmap to which bitmap data, or a
// bitmap table, belong.
func (r *hostRows) bitmap(h *qcow2.HostRange) (name, index render.Value) {
	if h.Kind != qcow2.HostBitmapTable && h.Kind != qcow2.HostBitmapData {
		return render.Null, render.Null
	}
	if i := h.Reference.Bitmap; i < len(r.bitmaps) { // else the directory could be read to here only now
		name = render.ImageText(r.bitmaps[i])
	}
	return name, render.Uint(uint64(h.Reference.Bitmap))
}

// hostOptions are the flags of the host command.
type hostOptions struct {
	kinds        hostKinds
	each, owners bool
	limit        uint
	window       window
}

func (o *hostOptions) addFlags(flags *pflag.FlagSet) {
	flags.Var(&o.kinds, "kind", "only these kinds, separated by commas")
	flags.BoolVar(&o.each, "per-cluster", false, "a row for each cluster instead of runs")
	flags.BoolVar(&o.owners, "owners", false, "a row for each reference to a cluster")
	flags.UintVar(&o.limit, "limit", 100, "with --owners: rows per cluster (0: all)")
	flags.Var(&o.window.offset, "offset", "begin at this host address")
	flags.Var(&o.window.length, "length", "end after this many bytes")
	flags.Var(&o.window.at, "at", "every reference to the cluster of this host address")
	selects(flags, "offset", "length", "at")
}

func (a *app) newHostCommand() *cobra.Command {
	var o hostOptions
	cmd := &cobra.Command{
		Use:   "host IMAGE",
		Short: "Show what every host cluster holds, and who refers to it",
		Long: `Show what each cluster of the image file holds: header, tables, guest data,
bitmaps, VM state, what is leaked and what is free, with its owner (the active
image or a snapshot), guest address, refcount and number of references.
Neighbours are joined into runs. The lengths add up to the size of the file.

With --at or --owners each row is one reference: who refers to the cluster, for
which guest address or which bitmap, and the file offset of the entry that
refers to it.

Use it to learn what lies at an offset of the file, and what stands behind a
line of 'check': where 'qemu-img check' says 'refcount=1 reference=2' of cluster
4711, --at '#4711' names the two. --kind leaked,free shows what could be
reclaimed.

Addresses are bytes (0x30000, 196608, 64K, 3G), sectors of 512 bytes (123456s)
or clusters ('#3').

Kinds are header, refcount-table, refcount-block, l1-table, l2-table,
snapshot-table, bitmap-directory, bitmap-table, bitmap-data, encryption-header,
data, zero-allocated, compressed, vm-state, leaked, free, and unknown where the
refcount of an unused cluster cannot be read.

A cluster with several owners is shown as that of the active image, else of the
first snapshot. References that point past the end of the file are errors.

Exit status: 0 fine, 1 nothing could be shown, 2 a table or an entry is damaged.`,
		Example: `  $ qinspect host disk.qcow2
  $ qinspect host --at '#7' disk.qcow2
  $ qinspect host --kind leaked,free disk.qcow2
  $ qinspect host --owners --offset 0xe00 --length 1K -o plain disk.qcow2`,
		Args: oneImage,

		ValidArgsFunction: completeImage,
	}
	run := a.load(func(rep *report) error {
		if !forPrograms(a.output.value) {
			noteDataFile(rep, dataInDataFile)
		}
		return runHost(rep, o)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.window.check(cmd); err != nil {
			return err
		}
		if cmd.Flag("limit").Changed && !o.owners {
			return usageError(cmd, errors.New("--limit goes with --owners"))
		}
		return a.lasting(run)(cmd, args)
	}
	o.addFlags(cmd.Flags())
	a.completeFlag(cmd, "kind", completeList(qcow2.HostKindNames()))
	return cmd
}

func runHost(rep *report, o hostOptions) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	opts := qcow2.HostOptions{Wanted: o.kinds.wants, PerCluster: o.each, Owners: o.owners || o.window.at.given()}
	if o.owners && !o.window.at.given() {
		opts.Limit = int(o.limit)
	}
	if opts.Offset, opts.Length, err = o.window.bytes(g.ClusterBits); err != nil {
		return err
	}
	size := uint64(rep.img.Size())
	rep.facts(&render.Section{Show: render.InJSON}, fact{render.Column{Key: "file-size", Kind: render.KindSize}, render.Size(size)})
	if o.window.at.given() && opts.Offset >= size {
		rep.note(fmt.Errorf("the file ends at %#x, before that address", size))
	}
	return listHost(rep, "", hostLines{g: g, owners: opts.Owners}, opts)
}

// listHost pushes the rows of the host section.
func listHost(rep *report, title string, lines hostLines, opts qcow2.HostOptions) error {
	opts.Progress = rep.progress.report
	rep.Section(hostSection(title, rep.img, lines))
	opts.Batches = true
	rows := newHostRows(rep, lines.g)
	var most uint64 // the most references to a cluster
	var damaged damagedPlaces
	var table bool // the cluster of --at holds one
	err := each(rep, rep.img.Host(rep.ctx, opts), func(r *qcow2.HostRange) error {
		if r.Problems != 0 {
			damaged.add(r.Offset>>lines.g.ClusterBits, lines.g.ClustersIn(r.Length))
		}
		most = max(most, r.References)
		table = table || opts.Length == 1 && isTable(r.Kind)
		return rows.add(r)
	})
	err = cmp.Or(err, rows.flush())
	rep.damagedClusters(damaged.n)
	if table {
		rep.note(decodeHint(rep, fmt.Errorf("%#x lies in a table", opts.Offset), opts.Offset))
	}
	if opts.Limit > 0 && most > uint64(opts.Limit) {
		rep.note(&hintError{fmt.Errorf("more references to a cluster than %d are left out", opts.Limit), "--limit 0 lists all"})
	}
	return err
}
