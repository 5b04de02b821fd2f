package cmd

import (
	"cmp"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// dumpOptions are the flags of the dump command.
type dumpOptions struct {
	host, guest bool
	snapshot    snapshotFlag
	each        bool // every cluster by itself: plain lines
}

func (a *app) newDumpCommand() *cobra.Command {
	var o dumpOptions
	cmd := &cobra.Command{
		Use:   "dump IMAGE",
		Short: "Print the report of dump-qcow2.pl",
		Long: `Print the report of the script dump-qcow2.pl, in its order and with its lines:
a summary of the header, the header extensions, the snapshots, and where wanted
what each host cluster holds and where each guest cluster lies. It is for those
who have programs around the script; docs/dump.md lists where the two differ.

The output format is plain, whatever the configuration says; only -o on the
command line changes that.

Exit status: 0 fine, 1 nothing could be shown, 2 what is shown is damaged.`,
		Example: `  $ qinspect dump disk.qcow2
  $ qinspect dump --host --guest disk.qcow2
  $ qinspect dump --guest --snapshot 1 disk.qcow2`,
		Args: oneImage,

		ValidArgsFunction: completeImage,
	}
	run := a.load(func(rep *report) error {
		o.each = a.output.value == render.FormatPlain
		return runDump(rep, o)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !cmd.Flag("output").Changed {
			must(cmd.Flags().Set("output", string(render.FormatPlain)))
		}
		if o.snapshot.given && !o.host && !o.guest {
			return usageError(cmd, errors.New("--snapshot goes with --host or --guest"))
		}
		return a.lasting(run)(cmd, args)
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.host, "host", false, "what each host cluster holds")
	flags.BoolVar(&o.guest, "guest", false, "where each guest cluster lies")
	flags.Var(&o.snapshot, "snapshot", snapshotUsage)
	selects(flags, "host", "guest", "snapshot")
	must(cmd.RegisterFlagCompletionFunc("snapshot", a.completeSnapshots))
	return cmd
}

func runDump(rep *report, o dumpOptions) error {
	g, err := rep.img.Geometry()
	if err != nil {
		return err
	}
	selected, err := o.snapshot.find(rep.img)
	if err != nil {
		return err
	}
	for _, part := range []func() error{
		func() error { return dumpSummary(rep, g) },
		func() error { return dumpExtensions(rep, g) },
		func() error { return dumpSnapshots(rep, g) },
		func() error { return dumpUnsupported(rep) },
		func() error { return dumpHost(rep, g, o, selected) },
		func() error { return dumpGuest(rep, g, o, selected) },
	} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// notInPlain is where sections belong whose plain lines the summary has.
const notInPlain = render.InTable | render.InJSON

// dumpSummary prints the summary of the header in plain, else the header
// document as one member.
func dumpSummary(rep *report, g qcow2.Geometry) error {
	s, row := headerSection(rep)
	s.Columns = append(slices.Clone(s.Columns), render.Column{Key: "fields", Kind: render.KindRows})
	row = append(row, render.Rows(fieldsSection(), fieldRows(rep.img.Header())))
	d := dumpLines{img: rep.img, g: g}
	rep.Section(&render.Section{Show: render.InPlain, Line: d.summary})
	if err := rep.Row(nil); err != nil {
		return err
	}
	rep.Section(&render.Section{Show: notInPlain, Columns: []render.Column{{Key: "header", Kind: render.KindRows}}})
	return rep.Row([]render.Value{oneRow(s, row...)})
}

// dumpExtensions prints the header extensions.
func dumpExtensions(rep *report, g qcow2.Geometry) error {
	d := dumpLines{img: rep.img, g: g}
	var x qcow2.Extension
	i := -1
	rep.Section(&render.Section{Show: render.InPlain, Line: func(dst []byte, _ []render.Value) []byte { return d.extension(dst, i, x) }})
	for next, err := range rep.img.Extensions() {
		if err != nil {
			break // the list of them says it
		}
		x, i = next, i+1
		if err := rep.Row(nil); err != nil {
			return err
		}
	}
	s := extensionsSection()
	s.Title, s.Show = "Header extensions", notInPlain
	return listExtensions(rep, s)
}

// dumpSnapshots prints the snapshot table.
func dumpSnapshots(rep *report, g qcow2.Geometry) error {
	s := snapshotsSection(g.ClusterBits)
	s.Title = "Snapshots"
	d := dumpLines{img: rep.img, g: g}
	s.Line = d.snapshot
	return listSnapshots(rep, s)
}

// dumpUnsupported ends the dump of an image whose tables cannot be understood.
func dumpUnsupported(rep *report) error {
	err := rep.img.Supported()
	if err != nil {
		err = cmp.Or(dumpNothing(rep, "host"), dumpNothing(rep, "guest"), err)
	}
	return err
}

// dumpHost prints what the host clusters hold, if that is wanted.
func dumpHost(rep *report, g qcow2.Geometry, o dumpOptions, selected *qcow2.Snapshot) error {
	if !o.host {
		return dumpNothing(rep, "host")
	}
	if err := dumpHeading(rep, "Host clusters"); err != nil {
		return err
	}
	lines := hostLines{g: g, inDump: true}
	if selected != nil {
		lines.selected = uint64(selected.Index) + 1
	}
	s := hostSection(rep.img, lines)
	s.Title = "Host clusters"
	wanted := func(k qcow2.HostKind) bool { return !o.each || k.Referenced() }
	return listHost(rep, s, qcow2.HostOptions{Wanted: wanted, PerCluster: o.each, Snapshot: selected})
}

// dumpGuest prints where the guest clusters lie, if that is wanted.
func dumpGuest(rep *report, g qcow2.Geometry, o dumpOptions, selected *qcow2.Snapshot) error {
	if !o.guest {
		return dumpNothing(rep, "guest")
	}
	if err := dumpHeading(rep, "Guest address -> Host address"); err != nil {
		return err
	}
	opts := qcow2.GuestOptions{Snapshot: selected, PerCluster: o.each, Mapped: true}
	s := guestSection(g, newAddressReach(rep.img, g, opts), o.each)
	s.Title = "Guest addresses"
	return listGuest(rep, s, opts)
}

// dumpNothing says in JSON that a listing was not wanted.
func dumpNothing(rep *report, key string) error {
	rep.Section(&render.Section{Show: render.InJSON, Columns: []render.Column{{Key: key, Kind: render.KindRows}}})
	return rep.Row([]render.Value{render.Null})
}

// dumpHeading prints an empty line and a heading.
func dumpHeading(rep *report, words string) error {
	rep.Section(&render.Section{Show: render.InPlain, Line: func(dst []byte, _ []render.Value) []byte {
		return append(append(dst, '\n'), words...)
	}})
	return rep.Row(nil)
}
