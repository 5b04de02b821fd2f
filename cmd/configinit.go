package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
)

func (a *app) newConfigInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a config file with every key, commented out",
		Long: `Write a config file that has every key with its meaning, the values that it
takes and its default, all commented out: to set one, remove the '#' before it.
The file is the one that --config names, else config.yaml in qinspect's
directory, which is made. The name is printed. Use it once, to see what can be
set.

A file that exists is never overwritten, nor is a config.yaml put before a
config.toml or config.json that is in use.

Exit status: 0 written, 1 not.`,
		Example: `  $ qinspect config init
  $ qinspect config init --config qinspect.yaml`,
		Args: noArguments,
		RunE: a.runConfigInit,
	}
}

func (a *app) runConfigInit(cmd *cobra.Command, _ []string) error {
	name, err := newConfigFile(cmd)
	if err != nil {
		return err
	}
	if err := writeNew(name, configTemplate(allSettings(cmd.Root()))); err != nil {
		return fmt.Errorf("config file %s: %w", name, err)
	}
	if _, err := fmt.Fprintln(a.Stdout, printable(name)); err != nil {
		return &outputError{err}
	}
	return nil
}

// newConfigFile returns the name of the file to write.
func newConfigFile(cmd *cobra.Command) (string, error) {
	if name := namedConfigFile(cmd); name != "" {
		if !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(name)) {
			return "", fmt.Errorf("config file %s: what is written is YAML, so its name must end in .yaml", name)
		}
		return name, nil
	}
	if name := configFile(cmd); name != "" {
		return "", fmt.Errorf("config file %s: %w", name, fs.ErrExist)
	}
	dir, err := configFolder()
	if err != nil {
		return "", &hintError{err, "--config names the file to write"}
	}
	return filepath.Join(dir, "config.yaml"), nil
}

// writeNew writes a file that does not exist yet, and makes its directory.
func writeNew(name, content string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return parseError(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return parseError(err)
	}
	_, err = f.WriteString(content)
	if err = cmp.Or(err, f.Close()); err != nil {
		return errors.Join(parseError(err), os.Remove(name)) // it is incomplete
	}
	return nil
}
