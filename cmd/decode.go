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

// Columns of the decode section.
const (
	decodeEntry = iota
	decodeBit
	decodeIndex
	decodeCount
	decodeField
	decodeSize
	decodeValue
	decodeStep
	decodeBitmap
	decodeKind
	decodeHost
	decodeFlags
	decodeRefcount
	decodeGuest
	decodeLength
	decodeSectors
	decodeDirty
	decodeReserved
	decodeHex
	decodeText
	decodeProblems

	decodeColumns // how many
)

// decodeSection declares the entries of a table.
func decodeSection(img *qcow2.Image, kind qcow2.HostKind, lines *decodeLines) *render.Section {
	g := lines.g
	show := func(kinds ...qcow2.HostKind) render.Audience { return tableIf(slices.Contains(kinds, kind)) }
	header, blocks, l1, l2 := qcow2.HostHeader, qcow2.HostRefcountBlock, qcow2.HostL1Table, qcow2.HostL2Table
	snapshots, directory := qcow2.HostSnapshotTable, qcow2.HostBitmapDirectory
	refcounts, bitmap, bits := qcow2.HostRefcountTable, qcow2.HostBitmapTable, qcow2.HostBitmapData
	host := uint64(1)<<56 - 1
	return &render.Section{
		Key:         "decode",
		Title:       "Entries",
		Layout:      render.LayoutStream,
		Empty:       "all entries are 0",
		ClusterBits: g.ClusterBits,
		Line:        lines.append,
		Columns: []render.Column{
			decodeEntry:    {Key: "entry", Title: "ENTRY", Kind: render.KindOffset, Max: uint64(img.Size())},
			decodeBit:      {Key: "bit", Title: "BIT", Kind: render.KindUint, Max: 7, Show: tableIf(kind == bits || kind == blocks && g.RefcountBits < 8)},
			decodeIndex:    {Key: "index", Title: "INDEX", Kind: render.KindUint, Drop: 10, Max: max(uint64(img.Header().L1Size), g.RefcountTableEntries, g.ClusterSize*8)},
			decodeCount:    {Key: "count", Title: "COUNT", Kind: render.KindUint, Drop: 7, Show: show(refcounts, blocks, l1, l2, bitmap, bits)},
			decodeField:    {Key: "field", Title: "FIELD", Kind: render.KindText, Show: show(header, snapshots, directory)},
			decodeSize:     {Key: "size", Title: "SIZE", Kind: render.KindUint, Drop: 5, Show: show(header, snapshots, directory)},
			decodeValue:    {Key: "value", Title: "VALUE", Kind: render.KindHex, Max: 1<<64 - 1, Show: show(header, snapshots, directory, refcounts, l1, l2, bitmap)},
			decodeStep:     {Key: "step", Kind: render.KindUint, Show: render.InJSON},
			decodeBitmap:   {Key: "bitmap", Title: "BITMAP", Kind: render.KindHex, Max: 1<<64 - 1, Show: tableIf(kind == l2 && g.L2EntrySize == 16)},
			decodeKind:     {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.EntryKindNames(), Tones: entryTones(), Show: show(refcounts, l1, l2, bitmap, bits)},
			decodeHost:     {Key: "host-offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: host, Show: show(refcounts, blocks, l1, l2, bitmap)},
			decodeFlags:    {Key: "flags", Title: "FLAGS", Kind: render.KindFlags, Names: qcow2.EntryFlagNames(), Drop: 2, Show: show(l1, l2)},
			decodeRefcount: {Key: "refcount", Title: "REFCOUNT", Kind: render.KindUint, Drop: 3, Show: show(refcounts, blocks, l1, l2, bitmap)},
			decodeGuest:    {Key: "guest-offset", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: g.VirtualSize, Show: show(l1, l2, bitmap, bits)},
			decodeLength:   {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 6, Show: show(blocks, l1, l2, bitmap, bits)},
			decodeSectors:  {Key: "sectors", Title: "SECTORS", Kind: render.KindUint, Drop: 4, Show: show(l2)},
			decodeDirty:    {Key: "dirty", Title: "DIRTY", Kind: render.KindSize, Show: show(bitmap)},
			decodeReserved: {Key: "reserved", Title: "RESERVED", Kind: render.KindHex, Drop: 8, Tones: alarm(), Show: show(refcounts, l1, l2, bitmap)},
			decodeHex:      {Key: "hex", Title: "HEX", Kind: render.KindText, Max: 2 * previewBytes, Drop: 9, Show: show(header, snapshots, directory)},
			decodeText:     {Key: "text", Title: "TEXT", Kind: render.KindImageText, Max: 16, Show: show(header, snapshots, directory)},
			decodeProblems: {Key: "problems", Title: "PROBLEMS", Kind: render.KindFlags, Names: qcow2.ProblemNames(), Drop: 1, Tones: alarm(), Show: show(refcounts, l1, l2, bitmap)},
		},
	}
}

// setEntry sets the cells of a row of the decode section.
func setEntry(c []render.Value, e *qcow2.TableEntry, table qcow2.HostKind) {
	isField := e.Field != ""
	isBit := table == qcow2.HostRefcountBlock || table == qcow2.HostBitmapData
	c[decodeEntry] = render.Offset(e.Offset)
	c[decodeBit] = valueIf(isBit, render.Uint(e.Bit))
	c[decodeIndex] = render.Uint(e.Index)
	c[decodeCount] = render.Uint(e.Count)
	c[decodeField] = valueIf(isField, render.Text(e.Field))
	c[decodeSize] = valueIf(isField, render.Uint(e.Size))
	c[decodeValue] = valueIf(e.Size <= 8, render.Hex(e.Value))
	c[decodeStep] = render.Uint(e.Step)
	c[decodeBitmap] = valueIf(e.HasBitmap, render.Hex(e.Bitmap))
	c[decodeKind] = valueIf(e.Kind != qcow2.EntryNone, render.Enum(uint64(e.Kind)))
	c[decodeHost] = valueIf(e.HasHost, render.Addr(e.HostOffset))
	c[decodeFlags] = render.Flags(uint64(e.Flags))
	c[decodeRefcount] = valueIf(e.HasRefcount, render.Uint(e.Refcount))
	c[decodeGuest] = valueIf(e.HasGuest, render.Addr(e.GuestOffset))
	c[decodeLength] = valueIf(e.HasLength, render.Size(e.Length))
	c[decodeSectors] = valueIf(e.Sectors > 0, render.Uint(e.Sectors))
	c[decodeDirty] = valueIf(e.HasDirty, render.Size(e.Dirty))
	c[decodeReserved] = render.Hex(e.Reserved)
	c[decodeHex], c[decodeText] = render.Null, render.Null
	if isField {
		c[decodeHex], c[decodeText] = render.Text(preview(e.Bytes)), imageText(e.Text, e.Text != "")
	}
	c[decodeProblems] = render.Flags(uint64(e.Problems))
}

// decodeOptions are the flags of the decode command.
type decodeOptions struct {
	at        address
	kind      *choice[string]
	index     uint64
	snapshot  snapshotFlag
	bitmap    bitmapFlag
	each, all bool
}

func (o *decodeOptions) addFlags(flags *pflag.FlagSet) {
	flags.Var(&o.at, "at", "the cluster of this host address")
	flags.Var(o.kind, "kind", "the table of this kind; with --at: decode as it")
	flags.Uint64Var(&o.index, "index", 0, "which refcount block, L2 table or bitmap data")
	flags.Var(&o.snapshot, "snapshot", "the table of a snapshot, by id, name or @position")
	flags.Var(&o.bitmap, "bitmap", "the table of a bitmap, by name or @position")
	flags.BoolVar(&o.each, "per-entry", false, "a row for each entry instead of runs")
	flags.BoolVar(&o.all, "all", false, "entries that are 0, too")
	selects(flags, "at", "kind", "index", "snapshot", "bitmap")
}

// check returns an error if the flags that were given do not go together.
func (o *decodeOptions) check(cmd *cobra.Command) error {
	is := func(kinds ...qcow2.HostKind) bool { return slices.Contains(kinds, o.hostKind()) }
	misplaced := func(flag string, ok bool) bool { return cmd.Flag(flag).Changed && (o.at.given() || !ok) }
	switch {
	case !o.at.given() && o.kind.value == "":
		return usageError(cmd, errors.New("--at or --kind must say which table"))
	case misplaced("index", is(qcow2.HostRefcountBlock, qcow2.HostL2Table, qcow2.HostBitmapData)):
		return usageError(cmd, errors.New("--index goes with --kind refcount-block, l2-table or bitmap-data, without --at"))
	case misplaced("snapshot", is(qcow2.HostL1Table, qcow2.HostL2Table)):
		return usageError(cmd, errors.New("--snapshot goes with --kind l1-table or l2-table, without --at"))
	case misplaced("bitmap", is(qcow2.HostBitmapTable, qcow2.HostBitmapData)):
		return usageError(cmd, errors.New("--bitmap goes with --kind bitmap-table or bitmap-data, without --at"))
	}
	return nil
}

// hostKind returns the kind that is asked for; HostUnknown: none is.
func (o *decodeOptions) hostKind() qcow2.HostKind {
	for _, kind := range qcow2.TableKinds() {
		if kind.String() == o.kind.value {
			return kind
		}
	}
	return qcow2.HostUnknown
}

// tableKindNames returns the names of the kinds of tables.
func tableKindNames() []string {
	var names []string
	for _, kind := range qcow2.TableKinds() {
		names = append(names, kind.String())
	}
	return names
}

func (a *app) newDecodeCommand() *cobra.Command {
	o := decodeOptions{kind: &choice[string]{all: tableKindNames()}}
	cmd := &cobra.Command{
		Use:   "decode IMAGE",
		Short: "Decode a table word by word, with the place of each",
		Long: `Decode one table, directory or block of metadata as it is in the file: each
entry with its file offset, index, raw word, flags, reserved bits, and the guest
address that it is for; the header, snapshots and bitmaps field by field. Beside
the COPIED flag stands the refcount that it speaks of. Neighbours are joined
where they are equal or point to one cluster after the other.

--at finds out what the cluster of an address is, names all that refers to it,
and decodes it. --kind goes straight to a table and reads nothing else, so it
works where the rest of the image is damaged. Both together decode any cluster
as that kind, also one of guest data, which is not read otherwise: is this
leaked cluster an old L2 table?

Use it to look at the entry that 'check' or 'host' names, with its neighbours,
and to see what a repair has changed.

Kinds are ` + kindsInLines(tableKindNames()) + `.

Exit status: 0 fine, 1 there is no such table, 2 a table or an entry is damaged.`,
		Example: `  $ qinspect decode --at '#3' disk.qcow2
  $ qinspect decode --kind l1-table --snapshot 2 disk.qcow2
  $ qinspect decode --kind refcount-block --per-entry -o plain disk.qcow2
  $ qinspect decode --kind bitmap-table --bitmap daily backup.qcow2`,
		Args: oneImage,

		ValidArgsFunction: completeImage,
	}
	run := a.load(func(rep *report) error { return runDecode(rep, &o) })
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.check(cmd); err != nil {
			return err
		}
		return a.lasting(run)(cmd, args)
	}
	o.addFlags(cmd.Flags())
	a.completeFlag(cmd, "kind", cobra.FixedCompletions(tableKindNames(), cobra.ShellCompDirectiveNoFileComp))
	a.completeFlag(cmd, "snapshot", a.completeSnapshots)
	a.completeFlag(cmd, "bitmap", a.completeBitmaps)
	return cmd
}

func runDecode(rep *report, o *decodeOptions) error {
	g, err := rep.img.Geometry()
	if err != nil {
		return err
	}
	d := decodeTarget{rep: rep, options: o, kind: o.hostKind()}
	if o.at.given() {
		err = d.lookAt(g)
	} else {
		err = d.find()
	}
	if e, ok := errors.AsType[*qcow2.Error](err); ok && d.kind != qcow2.HostUnknown {
		rep.damaged(e) // what leads to the table
	} else if err != nil {
		return err
	}
	rep.facts(&render.Section{ClusterBits: g.ClusterBits}, d.facts()...)
	return d.list(g)
}

// list pushes the rows of the decode section.
func (d *decodeTarget) list(g qcow2.Geometry) error {
	rep := d.rep
	active := d.table != nil && d.table.HasReference && d.table.Reference.Owner == qcow2.OwnerActive
	rep.Section(decodeSection(rep.img, d.kind, &decodeLines{g: g, kind: d.kind, active: active}))
	if d.table == nil {
		rep.Incomplete()
		return nil
	}
	row := make([]render.Value, decodeColumns)
	var entries, damaged uint64
	opts := qcow2.DecodeOptions{PerEntry: d.options.each, Zeros: d.options.all}
	err := each(rep, rep.img.Decode(rep.ctx, d.table, opts), func(e *qcow2.TableEntry) error {
		entries += e.Count
		if e.Problems != 0 {
			damaged += e.Count
		}
		setEntry(row, e, d.kind)
		return rep.Row(row)
	})
	rep.damagedEntries(damaged)
	if d.asked != "" {
		rep.note(fmt.Errorf("decoded as asked: %s; entries: %d, with problems: %d", d.asked, entries, damaged))
	}
	return err
}

// kindsInLines joins words to lines of a help text.
func kindsInLines(names []string) string {
	const first = 5 // names of the first line
	last := len(names) - 1
	return strings.Join(names[:first], ", ") + ",\n" + strings.Join(names[first:last], ", ") + " and " + names[last]
}
