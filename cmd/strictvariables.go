package cmd

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// strictVariables is the annotation of a command of which every QINSPECT_* variable
// with its name must be one of its settings: a misspelt one must not go unnoticed.
const strictVariables = "qinspect_strict_variables"

// checkVariables returns an error if the environment has a variable that looks like
// a setting of a command with strictVariables, and is none.
func checkVariables(cmd *cobra.Command) error {
	if _, ok := cmd.Annotations[strictVariables]; !ok {
		return nil
	}
	var known []string
	for _, s := range ownSettings(cmd) {
		known = append(known, envName(s.key))
	}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		if value == "" || !strings.HasPrefix(name, envName(cmd.Name())+"_") || slices.Contains(known, name) {
			continue
		}
		return suggest(cmd, fmt.Errorf("unknown variable %s", quoted(name)), nearest(name, known))
	}
	return nil
}
