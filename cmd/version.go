package cmd

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of qinspect",
		Long: `Print the version of qinspect, and the version of Go and the system that it was
built for: one line, whatever --output says. Include it in bug reports.

Exit status: 0 fine, 1 the output could not be written.`,
		Example: "  $ qinspect version",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(a.Stdout, "qinspect %s %s %s/%s\n", version(a.Version), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			if err != nil {
				return &outputError{err}
			}
			return nil
		},
	}
}

// version returns the version that the release was built with, else that of
// the module.
func version(released string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(released, info.Main.Version, "(devel)")
	}
	return cmp.Or(released, "(devel)")
}
