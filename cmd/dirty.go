package cmd

import (
	"cmp"
	"errors"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the dirty section.
const (
	dirtyStart = iota
	dirtyLength
	dirtyDirty
	dirtyPresent
	dirtyZero
	dirtyData
	dirtyKind
	dirtyOffset
	dirtyDepth

	dirtyColumns // how many
)

// unknownMapping is the kind of a range whose mapping cannot be read: the name after
// those of the library.
const unknownMapping = uint64(qcow2.MappingCompressed) + 1

func dirtyKindNames() []string { return append(qcow2.MappingKindNames(), "unknown") }

// dirtySection declares the list of dirty ranges, or of all.
func dirtySection(g qcow2.Geometry, reach addressReach, all bool) *render.Section {
	marks := render.InJSON
	if all {
		marks |= render.InTable
	}
	return &render.Section{
		Key:         "dirty",
		Layout:      render.LayoutStream,
		Empty:       "nothing is dirty",
		ClusterBits: g.ClusterBits,
		Line:        appendDirtyLine,
		Columns: []render.Column{
			dirtyStart:   {Key: "start", Title: "GUEST OFFSET", Kind: render.KindOffset, Max: reach.guest},
			dirtyLength:  {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 1},
			dirtyDirty:   {Key: "dirty", Title: "DIRTY", Kind: render.KindBool, Show: marks},
			dirtyPresent: {Key: "present", Kind: render.KindBool, Show: render.InJSON},
			dirtyZero:    {Key: "zero", Kind: render.KindBool, Show: render.InJSON},
			dirtyData:    {Key: "data", Kind: render.KindBool, Show: render.InJSON},
			dirtyKind:    {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: dirtyKindNames(), Tones: append(mappingTones(), render.ToneCaution)},
			dirtyOffset:  {Key: "offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: reach.host},
			dirtyDepth:   {Key: "depth", Kind: render.KindUint, Show: render.InJSON},
		},
	}
}

// setDirty sets the cells of a row. backing says that there is a backing file: what is
// unallocated may not be zeros.
func setDirty(c []render.Value, d *qcow2.DirtyMapping, backing bool) {
	present := d.Kind != qcow2.MappingUnallocated
	data := d.Kind == qcow2.MappingData || d.Kind == qcow2.MappingCompressed
	kind := uint64(d.Kind)
	if !d.Known {
		kind = unknownMapping
	}
	c[dirtyStart] = render.Offset(d.Start)
	c[dirtyLength] = render.Size(d.Length)
	c[dirtyDirty] = render.Bool(d.Dirty)
	c[dirtyPresent] = valueIf(d.Known, render.Bool(present))
	c[dirtyZero] = valueIf(d.Known && (present || !backing), render.Bool(!data))
	c[dirtyData] = valueIf(d.Known, render.Bool(data))
	c[dirtyKind] = render.Enum(kind)
	c[dirtyOffset] = valueIf(d.HasOffset, render.Addr(d.Offset))
	c[dirtyDepth] = render.Uint(0)
}

// appendDirtyLine makes plain lines of rows: "0x100000-0x10ffff: dirty data".
func appendDirtyLine(dst []byte, row []render.Value) []byte {
	start, length := row[dirtyStart].Num(), row[dirtyLength].Num()
	dst = append(render.AppendAddr(dst, start, 0), '-')
	dst = render.AppendAddr(dst, start+(length-1), 0)
	mark := ": clean "
	if row[dirtyDirty].Num() != 0 {
		mark = ": dirty "
	}
	return append(append(dst, mark...), dirtyKindNames()[row[dirtyKind].Num()]...)
}

// dirtyOptions are the flags of the dirty command.
type dirtyOptions struct {
	bitmaps bitmapsFlag
	all     bool
	chain   followFlags
}

func (a *app) newDirtyCommand() *cobra.Command {
	var o dirtyOptions
	cmd := &cobra.Command{
		Use:   "dirty --bitmap NAME IMAGE",
		Short: "List the ranges that a dirty bitmap has, and how they are mapped",
		Long: `List the ranges of the disk that are dirty in a bitmap: written, zeroed or
discarded since it was made or cleared. A range is split where its mapping
changes: what is data has to be read, the rest is zeros, or comes from the
backing file.

Use it to copy or count what the next incremental backup holds, offline. The
ranges, joined, are those that 'qemu-nbd -B NAME' exports.

With several --bitmap what is dirty in any of them is listed; with --follow what
is dirty in the bitmap of that name in any layer of the chain, as libvirt
keeps one in each: the image must have it, no layer between may lack it, and all
must be recording.

A bitmap that is in use or stale lacks writes: what it has is listed, and the
exit status says that nothing can be backed up with it.

Exit status: 0 fine, 1 nothing could be shown, or there is no such bitmap, 2 the
bitmap cannot be trusted, a table or an entry is damaged, or with --follow not
every layer could be read.`,
		Example: `  $ qinspect dirty --bitmap daily backup.qcow2
  $ qinspect dirty --bitmap daily --bitmap @1 --all backup.qcow2
  $ qinspect dirty --follow --bitmap daily backup.qcow2
  $ qinspect dirty --bitmap daily -o ndjson backup.qcow2 | jq -c 'select(.data)'`,
		Args: oneImage,

		ValidArgsFunction: completeImage,
	}
	run := a.loadLayers(func(rep *report) error {
		if o.chain.follow {
			return a.runDirtyFollow(rep, o)
		}
		err := runDirty(rep, o)
		if err == nil && !forPrograms(a.output.value) {
			noteDataFile(rep, offsetsInDataFile)
			noteBackingFile(rep)
		}
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(o.bitmaps) == 0 {
			return usageError(cmd, errors.New("--bitmap is missing"))
		}
		if err := cmp.Or(o.chain.check(cmd), o.checkFollow(cmd)); err != nil {
			return err
		}
		return a.lasting(run)(cmd, args)
	}
	flags := cmd.Flags()
	flags.Var(&o.bitmaps, "bitmap", bitmapsUsage)
	flags.BoolVar(&o.all, "all", false, "clean ranges too")
	selects(flags, "bitmap")
	o.chain.addFlags(flags)
	must(cmd.MarkFlagDirname("allow"))
	a.completeFlag(cmd, "bitmap", a.completeBitmaps)
	return cmd
}

func runDirty(rep *report, o dirtyOptions) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	bitmaps, err := o.bitmaps.find(rep.img)
	if _, ok := asBitmapDirectory(err); err != nil && !ok {
		return err
	}
	if err != nil { // it may be there
		rep.damaged(err)
	}
	rep.facts(&render.Section{Show: render.InJSON},
		fact{render.Column{Key: "virtual-size", Kind: render.KindSize}, render.Size(g.VirtualSize)},
		fact{render.Column{Key: "data-file", Kind: render.KindImageText}, imageText(rep.img.DataFile())},
		fact{render.Column{Key: "bitmaps", Kind: render.KindRows}, chosenBitmaps(ofImage(rep.img, bitmaps))},
	)
	for i := range bitmaps {
		judgeBitmap(rep, &bitmaps[i])
	}
	rep.Section(dirtySection(g, newAddressReach(rep.img, g, qcow2.GuestOptions{}), o.all))
	if err != nil {
		rep.Incomplete()
		return nil
	}
	return listDirty(rep, g, qcow2.DirtyOptions{Bitmaps: bitmaps, All: o.all})
}

// judgeBitmap reports what keeps a backup from using a bitmap, as far as its record
// shows.
func judgeBitmap(rep *report, b *qcow2.Bitmap) {
	switch state := rep.img.BitmapState(b); state {
	case qcow2.StateInUse, qcow2.StateStale:
		rep.damaged(bitmapStateError(b.Name, state))
	case qcow2.StateDamaged:
		for _, e := range b.Damage {
			rep.damaged(e)
		}
	}
}

// ofImage returns bitmaps of one image as those of a chain of one layer.
func ofImage(img *qcow2.Image, bitmaps []qcow2.Bitmap) []chain.LayerBitmap {
	all := make([]chain.LayerBitmap, len(bitmaps))
	for i, b := range bitmaps {
		all[i] = chain.LayerBitmap{Layer: &chain.Layer{Image: img}, Bitmap: b, State: img.BitmapState(&b)}
	}
	return all
}

// chosenBitmaps returns the bitmaps that a list is of.
func chosenBitmaps(bitmaps []chain.LayerBitmap) render.Value {
	s := &render.Section{
		Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "index", Kind: render.KindUint},
			{Key: "name", Kind: render.KindImageText},
			{Key: "state", Kind: render.KindEnum, Names: qcow2.BitmapStateNames()},
			{Key: "granularity", Kind: render.KindSize},
			{Key: "depth", Kind: render.KindUint},
		},
	}
	return render.Rows(s, func(yield func([]render.Value) bool) {
		for i := range bitmaps {
			b := &bitmaps[i].Bitmap
			granularity, ok := b.Granularity()
			if !yield([]render.Value{
				render.Uint(uint64(b.Index)), render.ImageText(b.Name), render.Enum(uint64(bitmaps[i].State)), valueIf(ok, render.Size(granularity)),
				render.Uint(uint64(bitmaps[i].Layer.Depth)),
			}) {
				return
			}
		}
	})
}

// listDirty pushes the rows.
func listDirty(rep *report, g qcow2.Geometry, opts qcow2.DirtyOptions) error {
	h := rep.img.Header()
	backing := h.BackingFileOffset != 0 && h.BackingFileSize != 0
	c := make([]render.Value, dirtyColumns)
	var damaged damagedPlaces
	err := each(rep, rep.img.Dirty(rep.ctx, opts), func(d *qcow2.DirtyMapping) error {
		rep.progress.report(d.Start, g.VirtualSize)
		if d.Problems != 0 {
			first := d.Start >> g.ClusterBits
			damaged.add(first, (d.Start+(d.Length-1))>>g.ClusterBits-first+1)
		}
		setDirty(c, d, backing)
		return rep.Row(c)
	})
	rep.damagedEntries(damaged.n)
	return err
}
