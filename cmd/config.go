package cmd

import "github.com/spf13/cobra"

func (a *app) newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config COMMAND",
		Short: "Write a config file, or show what is configured",
		Long: `Defaults of flags come from QINSPECT_* variables, else from a config file: the
one that --config names, else config.yaml, config.toml or config.json in
the directory qinspect of the user's configuration directory. Its keys are the
names of the flags, a command's own under its name.

Flags that select what to show, such as --snapshot or --at, cannot be
configured, and nothing is read from the current directory.

Exit status: 0 fine, 1 it could not be done, or the configuration is wrong.`,
		Example: `  $ qinspect config init
  $ qinspect config show`,
		SuggestionsMinimumDistance: 2,

		Args: unknownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.newConfigInitCommand(), a.newConfigShowCommand())
	return cmd
}
