package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// formatMetrics is the format that scan has beside those of all commands.
const formatMetrics render.Format = "metrics"

// scanOptions are the flags of scan.
type scanOptions struct {
	output  *choice[render.Format]
	shard   shardFlag
	match   []string
	names   string // file with names
	timeout timeLimit
	sort    sortKey
	plugin  bool
}

func (o *scanOptions) addFlags(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.VarP(o.output, "output", "o", o.output.choices())
	flags.Var(&o.shard, "shard", "part K of N, such as 1/4")
	flags.StringArrayVar(&o.match, "match", nil, "`glob` by which files in directories are taken")
	flags.StringVar(&o.names, "files0-from", "", "`file` with names, a NUL after each; '-': stdin")
	flags.Var(&o.timeout, "timeout", "time that an image may take, such as 30s")
	flags.Var(&o.sort, "sort", "`key` of the rows; '-' before it: descending")
	flags.BoolVar(&o.plugin, "plugin", false, "write one line, and exit as a monitoring plugin")
	selects(flags, "output", "shard", "match", "files0-from", "sort", "plugin")
	must(cmd.MarkFlagFilename("files0-from"))
	a.completeFlag(cmd, "output", completeList(o.output.names()))
	a.completeFlag(cmd, "sort", completeList(scanKeys()))
	for _, name := range []string{"shard", "match", "timeout"} {
		a.completeFlag(cmd, name, cobra.NoFileCompletions)
	}
}

func (a *app) newScanCommand() *cobra.Command {
	o := &scanOptions{output: newChoice(append(render.AllFormats(), formatMetrics)...)}
	cmd := &cobra.Command{
		Use:   "scan [PATH...]",
		Short: "Check many images, and show where their bytes went",
		Long: `Look at images, block devices and directories, and show a row for each image:
whether it is consistent, as 'check' says, and where its bytes went, as 'usage'
says. One walk of the image serves both. An image that cannot be read has a row
that says so; one that another program writes to is 'live' where it seems
damaged, and has no verdict if it changed meanwhile.

Directories are walked: every regular file that begins as a qcow2 image does is
taken, whatever its name; with --match every file whose name fits. Symbolic
links are followed only if they are a PATH, and no file is opened that an image
names. A file is taken once, by the first of its names. --files0-from reads what
'find -print0' writes.

Rows come in the order of the names, whatever takes longest. --shard K/N takes
the images that fall to part K, always the same ones: by the FNV-1a hash, of 64
bits, of the path below PATH. N parts are the whole, on any number of machines.

'-o metrics' writes the text format of Prometheus, up to 1000 images one by one.
--plugin writes one line, and exits with 0, 1, 2 or 3 as monitoring plugins do:
critical for errors, unknown for what has no verdict, warning for leaks.

Exit status: that of the worst image, from best to worst: 0 consistent, 3 leaks
only, 2 errors, 1 no verdict.`,
		Example: `  $ qinspect scan .
  $ qinspect scan --sort -snapshots-only .
  $ qinspect scan -o ndjson . | jq -r '[.filename, .status] | @tsv'
  $ qinspect scan -o json --shard 1/2 . | jq .totals
  $ qinspect scan -o metrics .
  $ qinspect scan --plugin --timeout 30s .`,

		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
	}
	run := a.lasting(func(cmd *cobra.Command, paths []string) error { return a.runScan(cmd, o, paths) })
	cmd.RunE = func(cmd *cobra.Command, paths []string) error {
		err := run(cmd, paths)
		if o.plugin {
			return a.pluginFailed(err)
		}
		return err
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		plugin := func(arg string) bool { return arg == "--plugin" || arg == "--plugin=true" } // the flags are not set yet
		if err = flagError(cmd, err); slices.ContainsFunc(a.Args, plugin) {
			return a.pluginFailed(err)
		}
		return err
	})
	addJobs(cmd, 0)
	o.addFlags(a, cmd)
	return cmd
}

// check returns an error for flags and names that do not go together.
func (o *scanOptions) check(flags *pflag.FlagSet, paths []string) error {
	for _, glob := range o.match {
		if fleet.CheckMatch(glob) != nil {
			return fmt.Errorf("--match: %q is no glob", glob)
		}
	}
	named := flags.Changed("files0-from")
	switch {
	case o.plugin && flags.Changed("output"):
		return errors.New("--plugin goes without --output")
	case named && len(paths) > 0:
		return errors.New("--files0-from goes without names on the command line")
	case !named && len(paths) == 0:
		return errors.New("no image or directory given")
	case slices.Contains(paths, ""):
		return errors.New("the name of an image is empty")
	}
	return nil
}

func (a *app) runScan(cmd *cobra.Command, o *scanOptions, paths []string) error {
	if err := configure(cmd); err != nil {
		return err
	}
	if err := o.check(cmd.Flags(), paths); err != nil {
		return usageError(cmd, err)
	}
	names := &nameList{names: func(context.Context) iter.Seq[string] { return slices.Values(paths) }}
	if cmd.Flag("files0-from").Changed {
		var err error
		if names, err = a.namesFrom(cmd.Context(), o.names); err != nil {
			return err
		}
	}
	s := &scan{app: a, options: o, names: names, progress: newTally(a.Stderr)}
	return s.run(cmd)
}

// format returns the format that is asked for: that of the command line, else of the
// configuration.
func (o *scanOptions) format(cmd *cobra.Command, configured render.Format) render.Format {
	if cmd.Flags().Changed("output") {
		return o.output.value
	}
	return configured
}

// A scan is one run of the command.
type scan struct {
	*app
	options  *scanOptions
	names    *nameList
	progress *tally
	output   scanOutput
	rows     []*fleet.Row // held back to be sorted
	totals   fleet.Totals
	vanished atomic.Uint64
	err      error // of writing
}

func (s *scan) run(cmd *cobra.Command) error {
	out := &scanWriter{outputWriter{s.Stdout}, func() {}}
	if mayBeSeen(s.Stdout) {
		out.before = s.progress.hide
	}
	rep := &report{ctx: cmd.Context()}
	finish := s.newOutput(cmd, out, rep)
	s.look(rep, jobsOf(cmd))
	s.progress.hide()
	if err := s.end(rep); err != nil {
		return s.unwritten(rep, err)
	}
	if rep.ctx.Err() != nil {
		return &exitError{interruptedBy(rep.ctx)}
	}
	rep.failures.complain(s.app, "")
	if n := s.vanished.Load(); n > 0 {
		s.complain("", errors.New(counted(n, "file was gone before it was looked at", "files were gone before they were looked at")))
	}
	return finish(rep.failures.code)
}

// take takes a row.
func (s *scan) take(rep *report, r *fleet.Row) error {
	rep.failures.verdict(scanCode(r))
	s.totals.Add(r)
	if s.options.sort.text != "" {
		s.rows = append(s.rows, r)
		return nil
	}
	return s.output.row(r)
}

// end writes what comes after the rows, and those that were held back. The error is
// one of writing.
func (s *scan) end(rep *report) error {
	if rep.ctx.Err() != nil {
		rep.failures.add(interruptedBy(rep.ctx), errors.New("interrupted"))
	} else if s.names.err != nil {
		rep.failures.add(exitFailed, s.names.err)
	}
	s.options.sort.sort(s.rows)
	for _, r := range s.rows {
		if err := s.output.row(r); err != nil {
			return err
		}
	}
	return cmp.Or(s.err, s.output.end(&s.totals, s.vanished.Load()))
}

// scanCode returns the exit status for an image: that of check.
func scanCode(r *fleet.Row) exitCode {
	switch {
	case r.Status == fleet.StatusOK:
		return exitOK
	case r.Status == fleet.StatusLeaks, r.Status == fleet.StatusLive && r.Counts.Corruptions == 0:
		return exitLeaks
	case r.Status == fleet.StatusErrors, r.Status == fleet.StatusLive:
		return exitDamaged
	}
	return exitFailed
}

// newOutput begins the output. What it returns is called when all of it is written,
// with the exit status so far.
func (s *scan) newOutput(cmd *cobra.Command, out io.Writer, rep *report) func(exitCode) error {
	exit := func(code exitCode) error {
		if code != exitOK {
			return &exitError{code}
		}
		return nil
	}
	if s.options.plugin {
		p := &scanPlugin{w: out, failures: &rep.failures}
		s.output = p
		return func(exitCode) error { return exit(p.code) }
	}
	format := s.options.format(cmd, s.app.output.value)
	if format == formatMetrics {
		m := &scanMetrics{w: out, failures: &rep.failures, note: func(words string) { s.complain("", errors.New(words)) }}
		s.output = m
		return exit
	}
	r := render.New(format, out, s.renderOptions())
	rep.Sections, rep.document = r, r
	d := newScanDocument(rep, format == render.FormatTable)
	s.output = d
	return func(code exitCode) error {
		d.complain(s.app)
		return exit(code)
	}
}

// A scanWriter writes output, and first clears the way for it.
type scanWriter struct {
	outputWriter
	before func()
}

func (w *scanWriter) Write(p []byte) (int, error) {
	w.before()
	return w.outputWriter.Write(p)
}

// scanAhead is how many rows may wait for those before them, beside the images that
// are being read.
const scanAhead = 1024

// look looks at the images, and hands on their rows.
func (s *scan) look(rep *report, jobs int) {
	search := fleet.Search{Match: s.options.match, Shard: s.options.shard.Shard, Timeout: s.options.timeout.limit}
	scanner := fleet.Scanner{Open: s.openImage, Timeout: s.options.timeout.limit}
	ctx, stop := context.WithCancel(rep.ctx)
	defer stop()
	inOrder(side{jobs, jobs + scanAhead}, search.Find(ctx, s.names.names(ctx)), func(f fleet.Found, _ <-chan struct{}) *fleet.Row {
		row, err := scanner.Look(ctx, f)
		switch {
		case errors.Is(err, fleet.ErrVanished):
			s.vanished.Add(1)
		case err == nil:
			if row.File != nil {
				s.progress.add(row.File.Size)
			}
			return row
		}
		return nil
	}, func(r *fleet.Row) bool {
		if r != nil {
			if s.err = s.take(rep, r); s.err != nil {
				stop() // of a name that is waited for, of an image that takes long
			}
		}
		return s.err == nil && ctx.Err() == nil
	})
}

// openImage is open, for a fleet.Scanner.
func (s *scan) openImage(name string) (*qcow2.Image, fleet.File, error) {
	img, file, err := s.open(name)
	return img, file, err
}
