package cmd

import (
	"runtime"

	"github.com/spf13/cobra"
)

// maxJobs is how many images are read side by side at most, however many are asked
// for: each takes memory, and a file that is open.
const maxJobs = 256

// addJobs adds --jobs to a command that reads several images.
func addJobs(cmd *cobra.Command, usually uint) {
	cmd.Flags().Uint("jobs", usually, "images side by side, 0: one per CPU")
}

// jobsOf returns how many images a command reads side by side.
func jobsOf(cmd *cobra.Command) int {
	n, err := cmd.Flags().GetUint("jobs")
	switch {
	case err != nil: // it has no such flag
		return 1
	case n == 0:
		return runtime.GOMAXPROCS(0)
	}
	return int(min(n, maxJobs))
}
