package cmd

import (
	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/render"
)

// newRootCommand returns the command tree, and ties its flags to a.
func (a *app) newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "qinspect COMMAND [flags] IMAGE",
		Short: "Look inside qcow2 disk images",
		Long: `qinspect looks inside qcow2 disk images: header, extensions, snapshots,
where every guest address lies, what every host cluster holds, whether all of it
is consistent, and where the bytes went.

It reads metadata, and of guest data no more than the help of 'audit', 'chain'
and 'decode' says. It never writes to an image, takes no lock, needs no QEMU,
and opens no file that an image names unless --follow asks for it.

Begin with 'header' to see what an image is, with 'check' when something is
wrong with it, with 'usage' when it is larger than it should be.

Exit status:

      0  fine
      1  not answered: wrong usage, not readable, not a qcow2 image
      2  damaged: something that the command reads is invalid; rejected (audit)
      3  leaks, and nothing else (check, scan)
    129, 130, 143  interrupted by SIGHUP, SIGINT, SIGTERM

With several images the exit status is the worst of them; from best to worst:
0, 3, 2, 1, interrupted.`,
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

	a.addFlags(root)
	addGroup(root, "Look at metadata:", a.newHeaderCommand(), a.newExtensionsCommand(), a.newSnapshotsCommand(), a.newBitmapsCommand(), a.newDecodeCommand())
	addGroup(root, "Map addresses:", a.newGuestCommand(), a.newHostCommand(), a.newDirtyCommand(), a.newDiffCommand(), a.newChainCommand())
	addGroup(root, "Judge images:", a.newCheckCommand(), a.newScanCommand(), a.newAuditCommand())
	addGroup(root, "Account for space:", a.newUsageCommand(), a.newPlotCommand())
	const other = "Other commands:"
	addGroup(root, other, a.newDumpCommand(), a.newConfigCommand(), a.newVersionCommand())
	root.SetHelpCommand(newHelpCommand())
	root.SetHelpCommandGroupID(other)
	root.SetCompletionCommandGroupID(other)
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	must(err)
	describeCompletion(completion)
	return root
}

// addGroup adds commands that stand under one title in the help.
func addGroup(root *cobra.Command, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
	}
	root.AddCommand(commands...)
}

// addFlags adds the flags that all commands share.
func (a *app) addFlags(root *cobra.Command) {
	a.output = newChoice(render.AllFormats()...)
	flags := root.PersistentFlags()
	flags.VarP(a.output, "output", "o", "format: "+a.output.choices())
	a.color = newChoice(colorAuto, colorAlways, colorNever)
	flags.Var(a.color, "color", "colours in tables: "+a.color.choices())
	flags.BoolVar(&a.noLimits, "no-limits", false, "read beyond the limits, as far as the file reaches")
	flags.String("config", "", "config file, instead of the user's own")
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	must(root.MarkPersistentFlagFilename("config", "yaml", "yml", "toml", "json"))
	a.completeFlag(root, "output", cobra.FixedCompletions(a.output.names(), cobra.ShellCompDirectiveNoFileComp))
	a.completeFlag(root, "color", cobra.FixedCompletions(a.color.names(), cobra.ShellCompDirectiveNoFileComp))
}
