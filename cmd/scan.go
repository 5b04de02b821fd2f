package cmd

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/fleet"
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
	flags.StringArrayVar(&o.match, "match", nil, "`glob` for files in directories, not their content")
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
taken, whatever its name; with --match every file whose name fits, and what is
no image then is a row, too. Symbolic links are followed only if they are a
PATH, and no file is opened that an image names. A file is taken once, by the
first of its names. --files0-from reads what 'find -print0' writes.

Rows come in the order of the names, whatever takes longest. --shard K/N takes
the images that fall to part K, always the same ones: by a hash of the path
below PATH, or of the base name of a PATH that is an image (docs/fleet.md). N
parts are the whole, on any number of machines.

'-o metrics' writes the text format of Prometheus, up to 1000 images one by one.
--plugin writes one line, and exits with 0, 1, 2 or 3 as monitoring plugins do:
critical for errors or the corrupt bit, unknown for what has no verdict, warning
for leaks, or the dirty bit where nothing is writing.

Exit status: that of the worst image, from best to worst: 0 consistent, 3 leaks
only, 2 errors, also in a header that cannot be used, 1 no verdict.`,
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
		switch {
		case fleet.CheckMatch(glob) != nil:
			return fmt.Errorf("--match: %q is malformed", glob)
		case glob == "", strings.ContainsFunc(glob, func(r rune) bool { return r == '/' || r == filepath.Separator }):
			return fmt.Errorf("--match: %q can match no file, as it is compared with the name without the directory", glob)
		}
	}
	named := flags.Changed("files0-from")
	switch {
	case o.plugin && flags.Changed("output"):
		return errors.New("--plugin goes without --output")
	case named && len(paths) > 0:
		return errors.New("--files0-from goes without names on the command line")
	case named && o.names == "":
		return errors.New("--files0-from: the name of the file is empty")
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
