package cmd

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the diff section.
const (
	diffStart = iota
	diffLength
	diffChange
	diffZero
	diffData
	diffFromKind
	diffToKind
	diffFromHost
	diffToHost
	diffFromPresent
	diffToPresent

	diffColumns // how many
)

// diffSection declares what may differ between two mappings.
func diffSection(img *qcow2.Image, lines diffLines, o qcow2.DiffOptions) *render.Section {
	from := newAddressReach(img, lines.g, qcow2.GuestOptions{Snapshot: o.From})
	to := newAddressReach(img, lines.g, qcow2.GuestOptions{Snapshot: o.To})
	return &render.Section{
		Key:         "diff",
		Title:       "May differ",
		Layout:      render.LayoutStream,
		Empty:       "nothing differs",
		ClusterBits: lines.g.ClusterBits,
		Line:        lines.append,
		Columns: []render.Column{
			diffStart:       {Key: "start", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: max(from.guest, to.guest)},
			diffLength:      {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 2},
			diffChange:      {Key: "change", Title: "CHANGE", Kind: render.KindEnum, Names: qcow2.ChangeNames(), Tones: changeTones()},
			diffZero:        {Key: "zero", Kind: render.KindBool, Show: render.InJSON},
			diffData:        {Key: "data", Kind: render.KindBool, Show: render.InJSON},
			diffFromKind:    {Key: "from-kind", Title: "FROM", Kind: render.KindEnum, Names: qcow2.MappingKindNames(), Tones: mappingTones(), Drop: 1},
			diffToKind:      {Key: "to-kind", Title: "TO", Kind: render.KindEnum, Names: qcow2.MappingKindNames(), Tones: mappingTones()},
			diffFromHost:    {Key: "from-host-offset", Kind: render.KindAddr, Show: render.InJSON},
			diffToHost:      {Key: "to-host-offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: to.host, Drop: 3},
			diffFromPresent: {Key: "from-present", Kind: render.KindBool, Show: render.InJSON},
			diffToPresent:   {Key: "to-present", Kind: render.KindBool, Show: render.InJSON},
		},
	}
}

// changeTones returns the tones of changes.
func changeTones() []render.Tone {
	return []render.Tone{
		qcow2.ChangeSame:      render.ToneAbsent,
		qcow2.ChangeZeroed:    render.ToneZeros,
		qcow2.ChangeDiscarded: render.ToneAbsent,
		qcow2.ChangeUnknown:   render.ToneAlarm,
	}
}

// setDifference sets the cells of a row of the diff section. What TO reads from the
// backing file may be zeros.
func setDifference(c []render.Value, d *qcow2.Difference) {
	known := d.HasTo && d.Change != qcow2.ChangeUnknown
	c[diffStart] = render.Addr(d.Start)
	c[diffLength] = render.Size(d.Length)
	c[diffChange] = render.Enum(uint64(d.Change))
	c[diffZero] = valueIf(known && (d.Zero || d.To.Kind != qcow2.MappingUnallocated), render.Bool(d.Zero))
	c[diffData] = valueIf(known, render.Bool(d.Data))
	c[diffFromKind] = valueIf(d.HasFrom, render.Enum(uint64(d.From.Kind)))
	c[diffToKind] = valueIf(d.HasTo, render.Enum(uint64(d.To.Kind)))
	c[diffFromHost] = valueIf(d.From.HasHost, render.Addr(d.From.HostOffset))
	c[diffToHost] = valueIf(d.To.HasHost, render.Addr(d.To.HostOffset))
	c[diffFromPresent] = valueIf(d.HasFrom, render.Bool(d.From.Kind != qcow2.MappingUnallocated))
	c[diffToPresent] = valueIf(d.HasTo, render.Bool(d.To.Kind != qcow2.MappingUnallocated))
}

// diffOptions are the flags of the diff command.
type diffOptions struct {
	from, to mappingFlag
	all      bool
	window   window
}

func (o *diffOptions) addFlags(flags *pflag.FlagSet) {
	flags.Var(&o.from, "from", "the snapshot before: id, name, @position or 'active'")
	flags.Var(&o.to, "to", "the one after; by default the active image")
	flags.BoolVar(&o.all, "all", false, "what is the same too")
	flags.Var(&o.window.offset, "offset", "begin at this guest address")
	flags.Var(&o.window.length, "length", "end after this many bytes")
	selects(flags, "from", "to", "offset", "length")
}

func (a *app) newDiffCommand() *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff [--from X] [--to Y] IMAGE",
		Short: "Show what may differ between two snapshots, or one and now",
		Long: `Compare the mappings of two snapshots, or of one and the active image, and list
the guest addresses that may differ. Only metadata is read: it can prove that a
range is the same, not that it differs. A cluster that was written again with
what it held may differ.

Use it to learn what has changed since a snapshot, what an incremental backup
has to read, and why the file has grown between two snapshots.

CHANGE is what TO has: written (data), zeroed (reads as zeros), discarded (reads
the backing file); grown and cut are where only TO or only FROM has a disk;
unknown is what a damaged table or entry maps.

The totals say how many bytes of host clusters TO uses and FROM does not
(written), and the reverse (dropped); what only VM state uses is apart. Tables
that both share are not read, so damage in them is not seen; --all reads them,
and lists what is the same.

--from can be left out if there is one snapshot only.

Exit status: 0 compared, whether or not anything differs, 1 nothing could be
shown, 2 a table or an entry is damaged.`,
		Example: `  $ qinspect diff --from 1 disk.qcow2
  $ qinspect diff --from before-write --to after-write -o plain disk.qcow2
  $ qinspect diff --from 1 -o ndjson disk.qcow2 | jq 'select(.data) | {start, length}'
  $ qinspect diff --from 1 --to 2 -o json disk.qcow2 | jq .totals.written`,
		SuggestFor: []string{"compare", "delta"},
		Args:       oneImageToDiff,

		ValidArgsFunction: completeImage,
	}
	run := a.load(func(rep *report) error {
		if !forPrograms(a.output.value) {
			noteDataFile(rep, offsetsInDataFile)
		}
		return runDiff(rep, o)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.window.check(cmd); err != nil {
			return err
		}
		return a.lasting(run)(cmd, args)
	}
	o.addFlags(cmd.Flags())
	for _, name := range []string{"from", "to"} {
		a.completeFlag(cmd, name, a.completeMappings)
	}
	return cmd
}

// oneImageToDiff is oneImage for a command to which people give two files.
func oneImageToDiff(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return &hintError{errors.New("diff compares two states of one image, not two files"), "'qinspect guest' of an overlay lists what differs from its base"}
	}
	return oneImage(cmd, args)
}

func runDiff(rep *report, o diffOptions) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	opts, err := o.resolve(rep.img, g)
	if err != nil {
		return err
	}
	rep.facts(&render.Section{Show: render.InJSON}, dataFileFact(rep.img))
	rep.Section(diffSection(rep.img, diffLines{g}, opts))
	size := max(diskSize(rep.img, qcow2.GuestOptions{Snapshot: opts.From}), diskSize(rep.img, qcow2.GuestOptions{Snapshot: opts.To}))
	if opts.Offset >= size && o.window.offset.given() {
		rep.note(fmt.Errorf("the disk ends at %#x, before that address", size))
	}
	cells := make([]render.Value, diffColumns)
	differences, totals := rep.img.Diff(rep.ctx, opts)
	err = each(rep, differences, func(d *qcow2.Difference) error {
		rep.progress.report(d.Start, size)
		setDifference(cells, d)
		return rep.Row(cells)
	})
	if err != nil {
		return err
	}
	if totals.Unknown > 0 {
		rep.damaged(unknownBytes(totals.Unknown, rep.failures.list))
	} else if totals.Incomplete && rep.failures.code == exitOK {
		rep.damaged(&hintError{errors.New("what maps the VM state is damaged"), checkHint})
	}
	rep.facts(&render.Section{}, diffFacts(g, opts, totals)...)
	return nil
}

// unknownBytes returns the error about bytes of which a diff knows nothing. If an error
// before it is about a limit, check need not find anything wrong.
func unknownBytes(n uint64, before []error) error {
	words := counted(n, "byte is unknown: what maps it", "bytes are unknown: what maps them")
	if slices.ContainsFunc(before, func(err error) bool { return errors.Is(err, qcow2.ErrLimit) }) {
		return errors.New(words + " is above a limit, or damaged")
	}
	return &hintError{errors.New(words + " is damaged"), checkHint}
}

// checkHint says what lists the damage of which diff has only the amount.
const checkHint = "'qinspect check' lists what is damaged"

// resolve turns the flags into options of the library.
func (o *diffOptions) resolve(img *qcow2.Image, g qcow2.Geometry) (qcow2.DiffOptions, error) {
	opts := qcow2.DiffOptions{All: o.all}
	var err error
	if !o.from.given {
		opts.From, err = onlySnapshot(img)
	} else {
		opts.From, err = o.from.find(img)
	}
	if err != nil {
		return opts, err
	}
	if opts.To, err = o.to.find(img); err != nil {
		return opts, err
	}
	opts.Offset, opts.Length, err = o.window.bytes(g.ClusterBits)
	return opts, err
}

// onlySnapshot returns the snapshot of an image that has one.
func onlySnapshot(img *qcow2.Image) (*qcow2.Snapshot, error) {
	switch n := img.Header().NbSnapshots; n {
	case 0:
		return nil, errors.New("the image has no snapshots to compare")
	case 1:
		s, err := img.FindSnapshot("@0")
		return &s, err
	default:
		return nil, &hintError{fmt.Errorf("--from is missing: the image has %d snapshots", n), "'qinspect snapshots' lists them"}
	}
}
