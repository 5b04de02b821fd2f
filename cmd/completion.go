package cmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// describeCompletion gives Cobra's completion command a help text, and makes it
// and its subcommands fail as other commands do. The help of the subcommands is
// Cobra's: it says how each shell loads its script.
func describeCompletion(cmd *cobra.Command) {
	cmd.Use = "completion SHELL"
	cmd.Short = "Print the completion script of a shell"
	cmd.Long = `Print the script with which a shell completes commands, flags and their values:
formats, kinds of clusters, config keys, and the snapshots or bitmaps of an
image that comes before --snapshot or --bitmap. The help of each command below
says how its shell loads the script.

Exit status: 0 fine, 1 no such shell.`
	cmd.Example = "  $ qinspect completion bash"
	cmd.Args = unknownCommand
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	for _, shell := range cmd.Commands() {
		shell.Args = noArguments
	}
}

// completeImages lets the shell complete the names of all files, as an image can
// have any name.
func completeImages(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// completeImage is completeImages for a command that takes one image.
func completeImage(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveDefault
}

// completeCommands completes the commands that have a help text.
func completeCommands(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var words []cobra.Completion
	if about, rest, err := cmd.Root().Find(args); err == nil && len(rest) == 0 {
		for _, c := range about.Commands() {
			if c.IsAvailableCommand() {
				words = append(words, cobra.CompletionWithDesc(c.Name(), c.Short))
			}
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeKeys completes the keys of settings.
func completeKeys(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var words []cobra.Completion
	for _, s := range allSettings(cmd.Root()) {
		words = append(words, cobra.CompletionWithDesc(s.key, meaning(s.flag)))
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completeList returns a function that completes a list of words, separated by
// commas, with the words that are not in it yet.
func completeList(all []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, list string) ([]cobra.Completion, cobra.ShellCompDirective) {
		given := list[:strings.LastIndexByte(list, ',')+1]
		var words []cobra.Completion
		for _, word := range all {
			if !slices.Contains(strings.Split(given, ","), word) {
				words = append(words, given+word)
			}
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
}

// completeSnapshots completes the snapshots of the image on the command line.
func (a *app) completeSnapshots(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFrom(args, snapshotWords)
}

// completeFlag sets what completes the value of a flag, if a shell asks. Cobra keeps
// that for good, and with it the command tree of this run: a process that runs the
// command more than once must not.
func (a *app) completeFlag(cmd *cobra.Command, name string, complete cobra.CompletionFunc) {
	if len(a.Args) > 0 && strings.HasPrefix(a.Args[0], cobra.ShellCompRequestCmd) {
		must(cmd.RegisterFlagCompletionFunc(name, complete))
	}
}

// completeFrom completes what the image on the command line has. If it cannot be read
// there is nothing, and no message, which would disturb the line that is being typed.
func (a *app) completeFrom(args []string, words func(*qcow2.Image) []cobra.Completion) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	if len(args) == 0 {
		return nil, directive
	}
	img, file, err := a.open(args[0])
	if err != nil {
		return nil, directive
	}
	defer file.Close()
	return words(img), directive
}

// completeMappings completes the snapshots of the image on the command line, and the
// active image. A snapshot that is called so is left out: its id selects it.
func (a *app) completeMappings(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	words, directive := a.completeSnapshots(cmd, args, word)
	words = slices.DeleteFunc(words, func(c cobra.Completion) bool { return strings.HasPrefix(c, activeImage+"\t") })
	return append(words, cobra.CompletionWithDesc(activeImage, "the disk as it is now")), directive
}

// completedNames is how many snapshots or bitmaps of an image are offered.
const completedNames = 1000

// snapshotWords returns the ids and names of the first snapshots, each with a
// description of the snapshot.
func snapshotWords(img *qcow2.Image) []cobra.Completion {
	var c snapshotCompletion
	c.ids, c.names = map[string]int{}, map[string]int{}
	for s, err := range img.Snapshots() {
		if err != nil || len(c.all) == completedNames {
			break
		}
		c.all = append(c.all, s)
		c.ids[s.ID]++
		c.names[s.Name]++
	}
	var words []cobra.Completion
	for i := range c.all {
		words = append(words, c.words(&c.all[i])...)
	}
	return words
}

// A snapshotCompletion knows which words select a snapshot.
type snapshotCompletion struct {
	all        []qcow2.Snapshot
	ids, names map[string]int // how many snapshots have one
}

// words returns the id and the name of a snapshot. If neither can be typed as it
// is and selects this snapshot alone, its position stands for both.
func (c *snapshotCompletion) words(s *qcow2.Snapshot) []cobra.Completion {
	var words []cobra.Completion
	id, name := shortened(render.Escape(s.ID)), shortened(render.Escape(s.Name))
	date := time.Unix(int64(s.Seconds), 0).UTC().Format(time.RFC3339)
	byID := c.ids[s.ID] == 1 && isPlainWord(s.ID)
	if byID {
		words = append(words, cobra.CompletionWithDesc(s.ID, name+", "+date))
	}
	if c.names[s.Name] == 1 && c.ids[s.Name] == 0 && isPlainWord(s.Name) {
		words = append(words, cobra.CompletionWithDesc(s.Name, "id "+id+", "+date))
	} else if at := fmt.Sprintf("@%d", s.Index); !byID && c.ids[at]+c.names[at] == 0 {
		words = append(words, cobra.CompletionWithDesc(at, "id "+id+", "+name+", "+date))
	}
	return words
}

// shortened cuts a text to a length that suits a list of completions.
func shortened(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// plain are the characters that no shell acts on.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:+/"

// isPlainWord reports whether s can be typed as it is: it needs no quotes in any
// shell, does not look like a flag, and is not too long.
func isPlainWord(s string) bool {
	return s != "" && len(s) <= 255 && s[0] != '-' && strings.Trim(s, plain) == ""
}
