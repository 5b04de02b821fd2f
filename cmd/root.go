// Package cmd is the qinspect command: one file per subcommand, over one loader.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/render"
)

// Process is what the command needs of the process that it runs in.
type Process struct {
	Args    []string // without the program's name
	Stdout  io.Writer
	Stderr  io.Writer
	Version string // empty: that of the module
	// Interruptible returns a context that an interrupt cancels, for commands
	// that last. It costs a tenth of the start-up, so the others do without:
	// an interrupt ends them at once. Nil: no context is ever cancelled so.
	Interruptible func(context.Context) (context.Context, context.CancelFunc)
}

// app is one run of the command: the process, and the flags that all
// subcommands share.
type app struct {
	Process
	output   *choice[render.Format]
	color    *choice[colorMode]
	noLimits bool
	hinted   string       // the last hint given
	texts    stickyWriter // takes what Cobra writes to standard output
}

// Execute runs the command and returns its exit status.
func Execute(ctx context.Context, p Process) int {
	a := &app{Process: p, texts: stickyWriter{w: p.Stdout}}
	root := a.newRootCommand()
	root.SetArgs(p.Args)
	root.SetErr(p.Stderr)
	err := root.ExecuteContext(ctx)
	if a.texts.err != nil { // help and completion scripts
		err = &outputError{a.texts.err}
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return int(e.code)
	}
	if err != nil {
		a.complain("", err)
		return int(exitFailed)
	}
	return int(exitOK)
}

// newRootCommand returns the command tree, and ties its flags to a.
func (a *app) newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "qinspect COMMAND [flags] IMAGE",
		Short: "Look inside qcow2 disk images",
		Long: `qinspect looks inside qcow2 disk images: header, extensions, snapshots,
where every guest address lies, what every host cluster holds, whether all of it
is consistent, and where the bytes went.

It reads metadata only, never writes to an image, takes no lock, needs no QEMU,
and opens no file that an image names.

Begin with 'header' to see what an image is, with 'check' when something is
wrong with it, with 'usage' when it is larger than it should be.

Exit status:

      0  fine
      1  not answered: wrong usage, not readable, not a qcow2 image
      2  damaged: something that the command reads is invalid
      3  leaks, and nothing else (check)
    130  interrupted

With several images the exit status is the worst of them; from best to worst:
0, 3, 2, 1, 130.`,
		Example: `  $ qinspect header disk.qcow2
  $ qinspect check *.qcow2
  $ qinspect usage -o json disk.qcow2 | jq .kinds`,
		Version:           version(a.Version),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,

		SuggestionsMinimumDistance: 2,
		Args:                       unknownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(&a.texts) // before the completion command, which keeps it
	root.SetVersionTemplate("qinspect {{.Version}}\n")
	root.SetFlagErrorFunc(flagError)

	a.output = newChoice(render.AllFormats()...)
	flags := root.PersistentFlags()
	flags.VarP(a.output, "output", "o", "format: "+a.output.choices())
	a.color = newChoice(colorAuto, colorAlways, colorNever)
	flags.Var(a.color, "color", "colours in tables: "+a.color.choices())
	flags.BoolVar(&a.noLimits, "no-limits", false, "read beyond QEMU's limits, as far as the file reaches")
	flags.String("config", "", "config file, instead of the user's own")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	must(root.MarkPersistentFlagFilename("config", "yaml", "yml", "toml", "json"))
	must(root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(a.output.names(), cobra.ShellCompDirectiveNoFileComp)))
	must(root.RegisterFlagCompletionFunc("color", cobra.FixedCompletions(a.color.names(), cobra.ShellCompDirectiveNoFileComp)))

	root.AddCommand(
		a.newHeaderCommand(),
		a.newExtensionsCommand(),
		a.newSnapshotsCommand(),
		a.newGuestCommand(),
		a.newHostCommand(),
		a.newDumpCommand(),
		a.newCheckCommand(),
		a.newUsageCommand(),
		a.newConfigCommand(),
		a.newVersionCommand(),
	)
	root.SetHelpCommand(newHelpCommand())
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	must(err)
	describeCompletion(completion)
	return root
}

// newHelpCommand returns cobra's help command, but for an unknown command,
// which is an error.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		Long: `Show the help of a command, as --help after the command does.

Exit status: 0 fine, 1 no such command.`,
		Example: `  $ qinspect help guest
  $ qinspect help config show`,
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(about, rest)
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
		ValidArgsFunction: completeCommands,
	}
}

// noArguments checks the arguments of a command that takes none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, fmt.Errorf("unexpected argument %q", args[0]))
	}
	return nil
}

// oneImage checks the arguments of a command that takes one image.
func oneImage(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError(cmd, errors.New("this command takes one image"))
	}
	return images(cmd, args)
}

// images checks the arguments of a command that takes one image or several.
func images(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usageError(cmd, errors.New("no image given"))
	}
	return nil
}

// must panics on an error that only a mistake in this program can cause.
func must(err error) {
	if err != nil {
		panic("cmd: " + err.Error())
	}
}
