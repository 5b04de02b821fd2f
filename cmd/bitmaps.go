package cmd

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of what is known of each bitmap.
const (
	contentIndex = iota
	contentName
	contentState
	contentReason
	contentGranularity
	contentDirty
	contentData
	contentZero
	contentUnallocated
	contentRanges
	contentStored
	contentType
	contentFlags
	contentOffset
	contentTableOffset
	contentTableEntries
	contentExpectedEntries

	contentColumns // how many
)

// contentsSection declares what is known of each bitmap.
func contentsSection(clusterBits uint) *render.Section {
	const programs = render.InPlain | render.InJSON
	return &render.Section{
		Key:         "bitmaps",
		Layout:      render.LayoutList,
		Empty:       "no bitmaps",
		ClusterBits: clusterBits,
		Columns: []render.Column{
			contentIndex:           {Key: "index", Kind: render.KindUint, Show: programs},
			contentName:            {Key: "name", Title: "NAME", Kind: render.KindImageText},
			contentState:           {Key: "state", Title: "STATE", Kind: render.KindEnum, Names: qcow2.BitmapStateNames(), Tones: stateTones()},
			contentReason:          {Key: "reason", Kind: render.KindText, Show: programs},
			contentGranularity:     {Key: "granularity", Title: "GRANULARITY", Kind: render.KindSize, Drop: 4},
			contentDirty:           {Key: "dirty", Title: "DIRTY", Kind: render.KindSize},
			contentData:            {Key: "dirty-data", Title: "DATA", Kind: render.KindSize, Drop: 1},
			contentZero:            {Key: "dirty-zero", Title: "ZEROS", Kind: render.KindSize, Drop: 2},
			contentUnallocated:     {Key: "dirty-unallocated", Title: "UNALLOCATED", Kind: render.KindSize, Drop: 3},
			contentRanges:          {Key: "ranges", Title: "RANGES", Kind: render.KindUint, Drop: 5},
			contentStored:          {Key: "stored", Kind: render.KindSize, Show: programs},
			contentType:            {Key: "type", Kind: render.KindText, Show: programs},
			contentFlags:           {Key: "flags", Kind: render.KindList, Show: programs},
			contentOffset:          {Key: "offset", Kind: render.KindOffset, Show: programs},
			contentTableOffset:     {Key: "table.offset", Title: "TABLE", Kind: render.KindAddr, Drop: 6},
			contentTableEntries:    {Key: "table.entries", Kind: render.KindUint, Show: programs},
			contentExpectedEntries: {Key: "table.expected-entries", Kind: render.KindUint, Show: programs},
		},
	}
}

// setContent sets the cells of a row.
func setContent(c []render.Value, b *qcow2.BitmapContent) {
	granularity, hasGranularity := b.Granularity()
	known := b.Unreadable == nil
	mapped := known && b.Unknown == 0
	c[contentIndex] = render.Uint(uint64(b.Index))
	c[contentName] = render.ImageText(b.Name)
	c[contentState] = render.Enum(uint64(b.State))
	c[contentReason] = render.Text(b.Reason())
	c[contentGranularity] = valueIf(hasGranularity, render.Size(granularity))
	c[contentDirty] = valueIf(known, render.Size(b.Dirty))
	c[contentData] = valueIf(mapped, render.Size(b.Data))
	c[contentZero] = valueIf(mapped, render.Size(b.Zero))
	c[contentUnallocated] = valueIf(mapped, render.Size(b.Unallocated))
	c[contentRanges] = valueIf(known, render.Uint(b.Ranges))
	c[contentStored] = valueIf(known, render.Size(b.Stored))
	c[contentType] = render.Text(b.Type.String())
	c[contentFlags] = render.List(b.Flags.Names())
	c[contentOffset] = render.Offset(b.Offset)
	c[contentTableOffset] = render.Addr(b.TableOffset)
	c[contentTableEntries] = render.Uint(uint64(b.TableSize))
	c[contentExpectedEntries] = valueIf(hasGranularity, render.Uint(b.ExpectedEntries))
}

func (a *app) newBitmapsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bitmaps IMAGE...",
		Short: "Show what each dirty bitmap says, and whether it can be trusted",
		Long: `Show the persistent dirty bitmaps: how much of the disk each says was written
to, how much of that is data, zeros or unallocated, and in which state it is:

  recording  QEMU records each write in it
  disabled   QEMU records nothing in it
  in-use     a running QEMU has it, or it was not stored when that ended: the
             numbers are those of the last time that it was closed
  stale      a program without bitmap support wrote: QEMU ignores all bitmaps
  damaged    it cannot be read; QEMU may refuse the whole image

Use it to learn how large the next incremental backup will be (DIRTY), how much
of that has to be read (DATA), and why a backup cannot use a bitmap. 'qinspect
dirty' lists the ranges.

Dirty is what was written, zeroed or discarded, in granules: not all of it
differs from what was there before.

Exit status: 0 fine, also where bitmaps are in use or stale, 1 nothing could be
shown, 2 a bitmap or a table that maps its ranges is damaged.`,
		Example: `  $ qinspect bitmaps backup.qcow2
  $ qinspect bitmaps -o json backup.qcow2 | jq '.bitmaps[] | {name, dirty}'`,
		Args: images,
		RunE: a.lasting(a.load(runBitmaps)),

		ValidArgsFunction: completeImages,
	}
	addJobs(cmd, 1)
	return cmd
}

func runBitmaps(rep *report) error {
	g, err := rep.img.Geometry()
	if err != nil {
		return err
	}
	rep.facts(&render.Section{Show: render.InJSON}, fact{render.Column{Key: "virtual-size", Kind: render.KindSize}, render.Size(g.VirtualSize)})
	rep.Section(contentsSection(g.ClusterBits))
	c := make([]render.Value, contentColumns)
	var notes bitmapNotes
	for b, err := range rep.img.BitmapContents(rep.ctx) {
		switch {
		case rep.ctx.Err() != nil:
			return nil
		case err != nil:
			rep.Incomplete()
			notes.unread(rep, err)
			continue
		}
		notes.add(rep, b)
		setContent(c, b)
		if err := rep.Row(c); err != nil {
			return err
		}
	}
	notes.finish(rep)
	return nil
}

// bitmapNotes are the remarks about bitmaps that no backup can use, a line for each
// cause.
type bitmapNotes struct {
	inUse uint64
	first string // name of the first that is in use
	stale bool
}

// add takes a bitmap. What is wrong with one that is stale is no damage: QEMU does not
// read it.
func (n *bitmapNotes) add(rep *report, b *qcow2.BitmapContent) {
	switch b.State {
	case qcow2.StateDamaged:
		for _, e := range b.Damage {
			rep.damaged(e)
		}
		rep.damaged(b.Unreadable)
	case qcow2.StateStale:
		n.stale = true
	case qcow2.StateInUse:
		if n.inUse++; n.inUse == 1 {
			n.first = b.Name
		}
	}
}

// unread takes what keeps a part of the answer from being known.
func (n *bitmapNotes) unread(rep *report, err error) {
	if errors.Is(err, qcow2.ErrUnsupported) { // what bitmaps say is known all the same, but not how the disk is mapped
		rep.note(err)
		return
	}
	if e, ok := asBitmapDirectory(err); ok && !rep.img.BitmapsConsistent() {
		n.stale = true
		rep.note(e)
		return
	}
	rep.damaged(err)
}

// finish makes the remarks.
func (n *bitmapNotes) finish(rep *report) {
	if n.stale {
		rep.note(fmt.Errorf("the bitmaps are %s", qcow2.StateStale.Reason()))
	}
	if n.inUse > 0 {
		rep.note(bitmapStateError(n.first, qcow2.StateInUse))
	}
	if n.inUse > 1 {
		rep.note(errors.New(counted(n.inUse-1, "more bitmap is in use", "more bitmaps are in use")))
	}
}

// bitmapStateError says of a bitmap that no backup can use it.
func bitmapStateError(name string, state qcow2.BitmapState) error {
	return fmt.Errorf("the bitmap %.64q is %s", name, state.Reason())
}
