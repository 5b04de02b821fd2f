package cmd

import "github.com/spf13/cobra"

// newHelpCommand returns a help command like Cobra's, for which an unknown
// command is an error.
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
