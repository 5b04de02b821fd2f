package cmd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// selects marks flags as not configurable.
func selects(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		must(flags.SetAnnotation(name, notConfigurable, nil))
	}
}

// configure sets the flags of cmd that the command line leaves alone from
// QINSPECT_* variables, else from the config file.
func configure(cmd *cobra.Command) error {
	file := configFile(cmd)
	if file == "" && !slices.ContainsFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, envPrefix+"_") }) {
		return nil // the usual case, and start-up counts
	}
	v := viper.New()
	v.SetEnvPrefix(envPrefix)
	v.SetEnvKeyReplacer(envNames)
	v.AutomaticEnv()
	if file != "" {
		v.SetConfigFile(file)
		if err := readConfig(v); err != nil {
			return fmt.Errorf("config file %s: %w", file, err)
		}
	}
	flags := configKeys(cmd)
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		flag := flags[key]
		if flag.Changed || !v.IsSet(key) {
			continue
		}
		if err := setFlag(flag, v.GetString(key)); err != nil {
			return fmt.Errorf("%s: %w", origin(key, file), err)
		}
	}
	return nil
}

// readConfig reads the config file and checks all of it, also what flags or
// variables override.
func readConfig(v *viper.Viper) error {
	file := viper.New() // the file alone, without the variables
	file.SetConfigFile(v.ConfigFileUsed())
	if ext := filepath.Ext(v.ConfigFileUsed()); !slices.Contains([]string{".yaml", ".yml", ".toml", ".json"}, ext) {
		return errors.New("its name does not end in .yaml, .toml or .json")
	}
	if err := file.ReadInConfig(); err != nil {
		return parseError(err)
	}
	known := map[string]*pflag.Flag{}
	for _, cmd := range (&app{}).newRootCommand().Commands() {
		maps.Copy(known, configKeys(cmd))
	}
	keys := file.AllKeys()
	for name, value := range file.AllSettings() { // AllKeys leaves out empty maps
		if m, ok := value.(map[string]any); ok && len(m) == 0 {
			keys = append(keys, name)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if known[key] == nil {
			return fmt.Errorf("unknown key \"%s\"", key)
		}
		if err := checkValue(known[key], file.Get(key)); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return v.MergeConfigMap(file.AllSettings())
}

// parseError returns what is wrong with a file in one line, without the words
// that viper begins with.
func parseError(err error) error {
	if e, ok := errors.AsType[viper.ConfigParseError](err); ok {
		return errors.New(strings.Join(strings.Fields(e.Unwrap().Error()), " "))
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
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
func configFile(cmd *cobra.Command) string {
	if f := cmd.Flag("config"); f.Changed {
		return f.Value.String()
	}
	if name := os.Getenv(envName("config")); name != "" {
		return name
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "" // a user without a home has no config file
	}
	for _, ext := range []string{"yaml", "toml", "json"} {
		name := filepath.Join(dir, "qinspect", "config."+ext)
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			return name // what is wrong with it comes out when it is read
		}
	}
	return ""
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

// checkValue returns why a flag does not take a value of a config file.
func checkValue(flag *pflag.Flag, value any) error {
	typed := false
	switch n := value.(type) {
	case bool:
		typed = flag.Value.Type() == "bool"
	case string:
		typed = flag.Value.Type() == "string"
	case int, int64, uint64: // of YAML and TOML
		typed = flag.Value.Type() == "uint"
	case float64: // of JSON
		typed = flag.Value.Type() == "uint" && n == math.Trunc(n)
		value = strconv.FormatFloat(n, 'f', -1, 64)
	}
	if !typed {
		return fmt.Errorf("%s is not a %s", quoted(value), typeName(flag))
	}
	return setFlag(flag, fmt.Sprint(value))
}

// typeName returns the type of a flag in words.
func typeName(flag *pflag.Flag) string {
	if t := flag.Value.Type(); t != "uint" {
		return t
	}
	return "number"
}

// setFlag gives a flag a value from a config file or a variable.
func setFlag(flag *pflag.Flag, value string) error {
	err := flag.Value.Set(value)
	if err != nil {
		switch flag.Value.Type() {
		case "bool":
			err = errors.New("must be true or false")
		case "uint":
			err = errors.New("must be a number, 0 or more")
		}
	}
	if err != nil {
		return fmt.Errorf("%s is not valid: %w", quoted(value), err)
	}
	return nil
}

// quoted returns a value as a message shows it. It escapes nothing: what
// prints the message does.
func quoted(value any) string {
	if s, ok := value.(string); ok {
		return `"` + s + `"`
	}
	return fmt.Sprint(value)
}
