package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the host section that its plain lines are made of.
const (
	hostOffset        = 0
	hostLength        = 1
	hostKind          = 2
	hostOwner         = 3
	hostSnapshot      = 4
	hostSnapshotIndex = 5
	hostGuest         = 6
	hostIndex         = 7
	hostL1Index       = 8
	hostEntry         = 9
	hostRefcount      = 10
	hostReferences    = 11
	hostProblems      = 12
)

// hostOwnerNames are the owners other than the image itself.
func hostOwnerNames() []string { return []string{"active", "snapshot"} }

// hostSection declares what host clusters hold. Where lines name owners, a row
// is a reference.
func hostSection(img *qcow2.File, lines hostLines) *render.Section {
	g := lines.g
	reference := render.InJSON
	if lines.owners {
		reference |= render.InTable
	}
	host := g.HostClusters << g.ClusterBits
	guest := max(g.VirtualSize, uint64(img.Header().L1Size)*g.L2Entries*g.ClusterSize)
	return &render.Section{
		Key:         "host",
		Layout:      render.LayoutStream,
		Empty:       "no such clusters",
		ClusterBits: g.ClusterBits,
		Line:        lines.append,
		Columns: []render.Column{
			hostOffset:        {Key: "offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: host},
			hostLength:        {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 4},
			hostKind:          {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Tones: hostTones()},
			hostOwner:         {Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: hostOwnerNames(), Drop: 2},
			hostSnapshot:      {Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText, Max: 8, Drop: 3},
			hostSnapshotIndex: {Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			hostGuest:         {Key: "guest-offset", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: guest},
			hostIndex:         {Key: "index", Title: "INDEX", Kind: render.KindUint, Max: max(g.RefcountTableEntries, g.L2Entries), Drop: 6},
			hostL1Index:       {Key: "l1-index", Title: "L1 INDEX", Kind: render.KindUint, Max: uint64(img.Header().L1Size), Drop: 7, Show: reference},
			hostEntry:         {Key: "entry", Title: "ENTRY", Kind: render.KindOffset, Max: host, Show: reference},
			hostRefcount:      {Key: "refcount", Title: "REFCOUNT", Kind: render.KindUint, Drop: 5},
			hostReferences:    {Key: "references", Title: "REFERENCES", Kind: render.KindUint, Drop: 5},
			hostProblems:      {Key: "problems", Title: "PROBLEMS", Kind: render.KindFlags, Names: qcow2.ProblemNames(), Drop: 1, Tones: alarm()},
		},
	}
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
	flags.UintVar(&o.limit, "limit", 100, "with --owners: references each (0: all)")
	flags.Var(&o.window.offset, "offset", "begin at this host address")
	flags.Var(&o.window.length, "length", "end after so many bytes")
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
which guest address, and at which file offset the entry lies that does.

Use it to learn what lies at an offset of the file, and what stands behind a
line of 'check': where 'qemu-img check' says 'refcount=1 reference=2' of cluster
4711, --at '#4711' names the two. --kind leaked,free shows what could be
reclaimed.

Addresses are bytes (0x30000, 196608, 64K, 3G) or clusters ('#3').

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
	run := a.load(func(rep *report) error { return runHost(rep, o) })
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
	must(cmd.RegisterFlagCompletionFunc("kind", completeList(qcow2.HostKindNames())))
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
	if err := rep.single(hostHead(), render.Size(uint64(rep.img.Size()))); err != nil {
		return err
	}
	if size := uint64(rep.img.Size()); o.window.at.given() && opts.Offset >= size {
		rep.note(fmt.Errorf("the file ends at %#x, before that address", size))
	}
	return listHost(rep, hostSection(rep.img, hostLines{g: g, owners: opts.Owners}), opts)
}

// listHost pushes the rows of the host section.
func listHost(rep *report, s *render.Section, opts qcow2.HostOptions) error {
	opts.Progress = rep.progress.report
	rep.Section(s)
	row := hostRow{cells: make([]render.Value, len(s.Columns)), ids: snapshotIDs(rep.img)}
	limited := false
	damaged := damagedClusters()
	for r, err := range rep.img.Host(rep.ctx, opts) {
		if err != nil && rep.ctx.Err() == nil {
			rep.damaged(err)
			rep.Incomplete()
			continue
		}
		if err != nil || rep.interrupted() != nil {
			break
		}
		damaged.add(r.Offset>>s.ClusterBits, clustersOf(r.Length, s.ClusterBits), r.Problems)
		limited = limited || opts.Limit > 0 && r.References > uint64(opts.Limit)
		if err := rep.Row(row.of(r)); err != nil {
			return err
		}
	}
	damaged.report(rep)
	if limited {
		rep.note(&hintError{fmt.Errorf("more references to a cluster than %d are left out", opts.Limit), "--limit 0 lists all"})
	}
	return nil
}

// clustersOf returns how many clusters a length in bytes touches that begins one.
func clustersOf(length uint64, clusterBits uint) uint64 {
	return (length-1)>>clusterBits + 1
}

// hostHead declares what stands before the clusters in JSON.
func hostHead() *render.Section {
	return &render.Section{Show: render.InJSON, Columns: []render.Column{{Key: "file-size", Kind: render.KindSize}}}
}

// snapshotIDs returns the ids of the snapshots in their order, as far as the
// table can be read.
func snapshotIDs(img *qcow2.File) []string {
	var ids []string
	for s, err := range img.Snapshots() {
		if err != nil {
			break // Host has said it
		}
		ids = append(ids, s.ID)
	}
	return ids
}

// A hostRow makes rows of host ranges.
type hostRow struct {
	cells []render.Value
	ids   []string // of the snapshots

	last qcow2.HostRange // what the cells show; before the first, nothing
}

// of returns the row of a range. Most differ from the one before in their
// offsets and indexes alone.
func (r *hostRow) of(h *qcow2.HostRange) []render.Value {
	l := &r.last
	if h.Kind == qcow2.HostData && l.Kind == h.Kind && l.Reference.Owner == h.Reference.Owner && l.References == h.References &&
		l.Refcount == h.Refcount && l.HasRefcount == h.HasRefcount && l.Problems|h.Problems == 0 {
		r.cells[hostOffset].SetNum(h.Offset)
		r.cells[hostLength].SetNum(h.Length)
		r.cells[hostGuest].SetNum(h.Reference.GuestOffset)
		r.cells[hostIndex].SetNum(h.Reference.Index)
		r.cells[hostL1Index].SetNum(h.Reference.L1Index)
		r.cells[hostEntry].SetNum(h.Reference.Entry)
		return r.cells
	}
	*l = *h
	return r.fill(h)
}

// fill sets all cells of the row.
func (r *hostRow) fill(h *qcow2.HostRange) []render.Value {
	var ref referenceCells
	refcount := render.Null
	if h.HasReference {
		ref = newReferenceCells(h.Kind, &h.Reference, r.ids)
	}
	if h.HasRefcount {
		refcount = render.Uint(h.Refcount)
	}
	return append(r.cells[:0],
		render.Addr(h.Offset),
		render.Size(h.Length),
		render.Enum(uint64(h.Kind)),
		ref.owner,
		ref.snapshot,
		ref.snapshotIndex,
		ref.guest,
		ref.index,
		ref.l1Index,
		ref.entry,
		refcount,
		render.Uint(h.References),
		render.Flags(uint64(h.Problems)),
	)
}

// hostKinds is a flag that takes kinds of host clusters. It implements
// pflag.Value.
type hostKinds []qcow2.HostKind

func (k *hostKinds) Type() string { return "string" }

func (k *hostKinds) String() string {
	names := make([]string, len(*k))
	for i, kind := range *k {
		names[i] = kind.String()
	}
	return strings.Join(names, ",")
}

// Set parses names separated by commas.
func (k *hostKinds) Set(s string) error {
	*k = nil
	if s == "" {
		return nil // as built in
	}
	for name := range strings.SplitSeq(s, ",") {
		i := slices.Index(qcow2.HostKindNames(), strings.TrimSpace(name))
		if i < 0 {
			return errors.New("must be " + k.allowed())
		}
		*k = append(*k, qcow2.HostKind(i))
	}
	return nil
}

// allowed says which values there are.
func (*hostKinds) allowed() string {
	return "some of " + strings.Join(qcow2.HostKindNames(), ", ")
}

// wants reports whether a kind is one of them; without any, all are.
func (k *hostKinds) wants(kind qcow2.HostKind) bool { return len(*k) == 0 || slices.Contains(*k, kind) }
