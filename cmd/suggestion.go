package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// suggest adds a hint to an error about an unknown word: the known words near it,
// or the help to read if there are none.
func suggest(cmd *cobra.Command, err error, near []string) error {
	if len(near) == 0 {
		return usageError(cmd, err)
	}
	return &hintError{err, didYouMean(near)}
}

// didYouMean returns a hint that names the words near a misspelt one.
func didYouMean(near []string) string { return "did you mean " + strings.Join(near, " or ") + "?" }

// unknownCommand is the Args of a command that only has subcommands.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return suggest(cmd, fmt.Errorf("unknown command %q", args[0]), cmd.SuggestionsFor(args[0]))
}

// flagError returns an error of pflag about the flags of a command in the words
// of this command, with a hint.
func flagError(cmd *cobra.Command, err error) error {
	if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		f := wrong.GetFlag()
		return usageError(cmd, fmt.Errorf("--%s: %w", f.Name, notAllowed(f, wrong.GetValue())))
	}
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok || unknown.GetSpecifiedShortnames() != "" {
		return usageError(cmd, err)
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	near := nearest(unknown.GetSpecifiedName(), names)
	for i, name := range near {
		near[i] = "--" + name
	}
	return suggest(cmd, err, near)
}

// nearest returns the words near a misspelt one, as Cobra measures it for
// commands.
func nearest(misspelt string, words []string) []string {
	dictionary := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, word := range words {
		dictionary.AddCommand(&cobra.Command{Use: word, Run: func(*cobra.Command, []string) {}})
	}
	return dictionary.SuggestionsFor(misspelt)
}
