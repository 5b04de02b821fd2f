package cmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// dumpOptions are the flags of the dump command.
type dumpOptions struct {
	host, guest bool
	snapshot    snapshotFlag
}

func (a *app) newDumpCommand() *cobra.Command {
	var o dumpOptions
	cmd := &cobra.Command{
		Use:   "dump IMAGE",
		Short: "Print the report of dump-qcow2.pl",
		Long: `Print the report of the script dump-qcow2.pl, in its order and with its lines:
a summary of the header, the header extensions, the snapshots and, if asked for,
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
	run := a.load(func(rep *report) error { return runDump(rep, o, a.output.value == render.FormatPlain) })
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
	a.completeFlag(cmd, "snapshot", a.completeSnapshots)
	return cmd
}

func runDump(rep *report, o dumpOptions, plain bool) error {
	g, err := rep.img.Geometry()
	if err != nil {
		return err
	}
	d := dump{dumpOptions: o, g: g}
	if d.selected, err = o.snapshot.find(rep.img); err != nil {
		return err
	}
	parts := d.documents()
	if plain {
		script := dumpScript{d}
		parts = script.parts()
	}
	for _, part := range parts {
		if err := part(rep); err != nil {
			return err
		}
	}
	return nil
}

// A dump is what dump shows of an image.
type dump struct {
	dumpOptions
	g        qcow2.Geometry
	selected *qcow2.Snapshot // whose mapping is shown; nil: that of the active image
}

// documents returns the parts of the report: those of other commands.
func (d *dump) documents() []func(*report) error {
	return []func(*report) error{
		func(rep *report) error { return rep.nest("header", runHeader) },
		func(rep *report) error { return listExtensions(rep, "Header extensions") },
		func(rep *report) error { return listSnapshots(rep, "Snapshots") },
		d.refuse,
		d.showHost,
		d.showGuest,
	}
}

// refuse ends the report of an image whose tables cannot be understood.
func (d *dump) refuse(rep *report) error {
	err := rep.img.Supported()
	if err != nil {
		rep.none("host")
		rep.none("guest")
	}
	return err
}

// showHost shows what the host clusters hold, if that is wanted.
func (d *dump) showHost(rep *report) error {
	if !d.host {
		rep.none("host")
		return nil
	}
	return listHost(rep, "Host clusters", hostLines{g: d.g}, qcow2.HostOptions{Snapshot: d.selected})
}

// showGuest shows where the guest clusters lie, if that is wanted.
func (d *dump) showGuest(rep *report) error {
	if !d.guest {
		rep.none("guest")
		return nil
	}
	return listGuest(rep, "Guest addresses", guestLines{g: d.g, inDump: true}, qcow2.GuestOptions{Snapshot: d.selected, Mapped: true})
}
