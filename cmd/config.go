package cmd

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

const (
	envPrefix = "QINSPECT"

	// notConfigurable marks flags that select what to show, which no config
	// file may do: an annotation of the flag.
	notConfigurable = "qinspect_not_configurable"
)

// configure sets the flags of cmd that the command line leaves alone from
// QINSPECT_* variables, else from the config file.
func configure(cmd *cobra.Command) error {
	v := viper.New()
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(envNames)
	v.AutomaticEnv()
	file, err := configFile(cmd, v)
	if err != nil {
		return err
	}
	if file != "" {
		v.SetConfigFile(file)
		if err := v.ReadInConfig(); err != nil {
			return fmt.Errorf("config file %s: %w", file, err)
		}
		if err := checkKeys(cmd.Root(), v, file); err != nil {
			return err
		}
	}
	for key, flag := range configKeys(cmd) {
		if flag.Changed || !v.IsSet(key) {
			continue
		}
		if err := setFlag(flag, v.Get(key)); err != nil {
			return fmt.Errorf("%s: %w", origin(key, file), err)
		}
	}
	return nil
}

// envNames turns a config key into the name of its variable, less the prefix.
var envNames = strings.NewReplacer("-", "_", ".", "_")

// envName returns the variable of a config key: QINSPECT_CHECK_LIMIT.
func envName(key string) string { return envPrefix + "_" + strings.ToUpper(envNames.Replace(key)) }

// origin says where the value of a key came from.
func origin(key, file string) string {
	if name := envName(key); os.Getenv(name) != "" {
		return name
	}
	return fmt.Sprintf("config file %s: %s", file, key)
}

// configFile returns the file that --config or QINSPECT_CONFIG names, else the
// first in the user's folder, else "".
func configFile(cmd *cobra.Command, v *viper.Viper) (string, error) {
	if f := cmd.Flag("config"); f.Changed {
		return f.Value.String(), nil
	}
	if name := v.GetString("config"); name != "" {
		return name, nil
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", nil //nolint:nilerr // a user without a home has no config file
	}
	for _, ext := range []string{"yaml", "toml", "json"} {
		name := filepath.Join(dir, "qinspect", "config."+ext)
		if _, err := os.Stat(name); err == nil {
			return name, nil
		}
	}
	return "", nil
}

// configKeys returns the flags of cmd that can be configured by their keys: the
// flag's name, behind the command's own name unless all commands share it.
func configKeys(cmd *cobra.Command) map[string]*pflag.Flag {
	keys := map[string]*pflag.Flag{}
	add := func(prefix string, flags *pflag.FlagSet) {
		flags.VisitAll(func(f *pflag.Flag) {
			_, excluded := f.Annotations[notConfigurable]
			if !excluded && !slices.Contains([]string{"config", "help", "version"}, f.Name) {
				keys[prefix+f.Name] = f
			}
		})
	}
	add("", cmd.Root().PersistentFlags())
	if cmd.HasParent() {
		add(cmd.Name()+".", cmd.LocalNonPersistentFlags())
	}
	return keys
}

// checkKeys returns an error on a key of the file that no command has, or
// whose value its flag does not take.
func checkKeys(root *cobra.Command, v *viper.Viper, file string) error {
	known := map[string]*pflag.Flag{}
	for _, cmd := range root.Commands() {
		maps.Copy(known, configKeys(cmd))
	}
	keys := v.AllKeys()
	slices.Sort(keys)
	for _, key := range keys {
		if known[key] == nil {
			return fmt.Errorf("config file %s: unknown key %q", file, key)
		}
	}
	return nil
}

// setFlag gives a flag a value from a config file or a variable.
func setFlag(flag *pflag.Flag, value any) error {
	s, ok := scalar(value)
	if !ok {
		return fmt.Errorf("%v is not a %s", value, flag.Value.Type())
	}
	if err := flag.Value.Set(s); err != nil {
		return fmt.Errorf("%q is not valid: %w", s, err)
	}
	return nil
}

// scalar returns a value as it would be written on the command line.
func scalar(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), true
	}
	return "", false
}
