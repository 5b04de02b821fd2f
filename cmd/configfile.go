package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/viper"
)

// configFile returns the file that --config or QINSPECT_CONFIG names, else the
// first in the user's directory, else "".
func configFile(cmd *cobra.Command) string {
	if name := namedConfigFile(cmd); name != "" {
		return name
	}
	dir, err := configFolder()
	if err != nil {
		return "" // a user without a home has no config file
	}
	for _, ext := range []string{"yaml", "toml", "json"} {
		name := filepath.Join(dir, "config."+ext)
		if _, err := os.Stat(name); !isAbsent(err) {
			return name // if something is wrong with it, reading it will tell
		}
	}
	return ""
}

// isAbsent reports whether an error says that nothing is there for this user: what
// should be the directory is a file, such as /dev/null, or must not be entered.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, fs.ErrPermission)
}

// namedConfigFile returns the file that --config or QINSPECT_CONFIG names.
func namedConfigFile(cmd *cobra.Command) string {
	if f := cmd.Flag("config"); f.Changed {
		return f.Value.String()
	}
	return os.Getenv(envName("config"))
}

// configFolder returns qinspect's directory in the user's config directory.
func configFolder() (string, error) {
	dir, err := os.UserConfigDir()
	return filepath.Join(dir, "qinspect"), err
}

// readConfigFile reads a config file and checks all of it against the known
// settings, even if flags or variables override them.
func readConfigFile(name string, known []setting) (map[string]any, error) {
	if !slices.Contains([]string{".yaml", ".yml", ".toml", ".json"}, filepath.Ext(name)) {
		return nil, errors.New("its name does not end in .yaml, .toml or .json")
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() {
		return nil, errors.New("not a regular file") // a pipe can wait for ever, a device can have no end
	}
	file := viper.New() // the file alone, without the variables
	file.SetConfigFile(name)
	if err := file.ReadInConfig(); err != nil {
		return nil, parseError(err)
	}
	for _, key := range keysIn(file) {
		i := slices.IndexFunc(known, func(s setting) bool { return s.key == key })
		if file.Get(key) == nil && slices.ContainsFunc(known, func(s setting) bool { return strings.HasPrefix(s.key, key+".") }) {
			continue // a command without settings
		}
		if i < 0 {
			return nil, unknownKey(key, known)
		}
		if err := checkValue(known[i].flag, file.Get(key)); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return file.AllSettings(), nil
}

// keysIn returns the keys of a config file, sorted, with those of empty maps,
// which viper leaves out.
func keysIn(file *viper.Viper) []string {
	keys := file.AllKeys()
	for name, value := range file.AllSettings() {
		if m, ok := value.(map[string]any); ok && len(m) == 0 {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	return keys
}

// parseError returns in one line what is wrong with a file, without the words
// that viper puts before it.
func parseError(err error) error {
	if e, ok := errors.AsType[viper.ConfigParseError](err); ok {
		return errors.New(strings.Join(strings.Fields(e.Unwrap().Error()), " "))
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
