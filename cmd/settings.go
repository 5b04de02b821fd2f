package cmd

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/spf13/viper"
)

// notConfigurable is the annotation of flags that select what to show. No config
// file can set them.
const notConfigurable = "qinspect_not_configurable"

// selects marks flags as not configurable.
func selects(flags *pflag.FlagSet, names ...string) {
	for _, name := range names {
		must(flags.SetAnnotation(name, notConfigurable, nil))
	}
}

// A setting is a flag that can be configured. Its key is its name; that of its
// command stands before it, unless all commands share the flag.
type setting struct {
	key  string // "output", "guest.all"
	flag *pflag.Flag
}

// settingsOf returns the settings that a command obeys.
func settingsOf(cmd *cobra.Command) []setting {
	return append(sharedSettings(cmd.Root()), ownSettings(cmd)...)
}

// allSettings returns all settings, first those that all commands share.
func allSettings(root *cobra.Command) []setting {
	all := sharedSettings(root)
	for _, cmd := range root.Commands() {
		all = append(all, ownSettings(cmd)...)
	}
	return all
}

func sharedSettings(root *cobra.Command) []setting { return settingsIn(root.PersistentFlags(), "") }

func ownSettings(cmd *cobra.Command) []setting {
	return settingsIn(cmd.LocalNonPersistentFlags(), cmd.Name()+".")
}

// settingsIn returns the flags that can be configured, in the order of their
// names.
func settingsIn(flags *pflag.FlagSet, prefix string) []setting {
	var all []setting
	flags.VisitAll(func(f *pflag.Flag) {
		_, excluded := f.Annotations[notConfigurable]
		if !excluded && !slices.Contains([]string{"config", "help", "version"}, f.Name) {
			all = append(all, setting{prefix + f.Name, f})
		}
	})
	return all
}

// settingKeys returns the keys of settings.
func settingKeys(all []setting) []string {
	keys := make([]string, len(all))
	for i, s := range all {
		keys[i] = s.key
	}
	return keys
}

// An origin is where the value of a setting came from.
type origin uint

const (
	fromDefault origin = iota
	fromFile
	fromVariable
	fromFlag
)

func originNames() []string { return []string{"default", "file", "variable", "flag"} }

// configured holds the QINSPECT_* variables and the config file.
type configured struct {
	file   string       // the config file; empty: there is none
	values *viper.Viper // nil: there are no variables either
}

// readConfigured reads the config file and the variables.
func readConfigured(cmd *cobra.Command) (*configured, error) {
	c := &configured{file: configFile(cmd)}
	if c.file == "" && !slices.ContainsFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, envPrefix+"_") }) {
		return c, nil // the usual case, and start-up counts
	}
	c.values = viper.New()
	c.values.SetEnvPrefix(envPrefix)
	c.values.SetEnvKeyReplacer(envNames)
	c.values.AutomaticEnv()
	if c.file == "" {
		return c, nil
	}
	content, err := readConfigFile(c.file, allSettings(cmd.Root()))
	if err != nil {
		return nil, fmt.Errorf("config file %s: %w", c.file, err)
	}
	return c, c.values.MergeConfigMap(content)
}

// configure sets the flags of cmd that are not on the command line from QINSPECT_*
// variables, else from the config file.
func configure(cmd *cobra.Command) error {
	c, err := readConfigured(cmd)
	if err != nil {
		return err
	}
	if err := checkVariables(cmd); err != nil {
		return err
	}
	for _, s := range settingsOf(cmd) {
		if _, err := c.set(s); err != nil {
			return err
		}
	}
	return nil
}

// set gives a flag its configured value, if it has one and is not on the command
// line, and returns where the value of the flag comes from. A flag with setBelow
// takes the value below what is on the command line.
func (c *configured) set(s setting) (origin, error) {
	v, joins := s.flag.Value.(interface{ setBelow(text string) error })
	from := fromDefault
	if s.flag.Changed {
		from = fromFlag
	}
	if from == fromFlag && !joins || c.values == nil || !c.values.IsSet(s.key) {
		return from, nil
	}
	configured, where := fromFile, fmt.Sprintf("config file %s: %s", c.file, s.key)
	if name := envName(s.key); os.Getenv(name) != "" {
		configured, where = fromVariable, name
	}
	set := s.flag.Value.Set
	if joins {
		set = v.setBelow
	}
	text := configText(c.values.Get(s.key))
	if set(text) != nil {
		return from, fmt.Errorf("%s: %w", where, notAllowed(s.flag, text))
	}
	return max(from, configured), nil
}

// configText returns the text of a value of a config file or a variable, as a flag
// takes it.
func configText(value any) string {
	switch v := value.(type) {
	case float64: // from JSON
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		words := make([]string, len(v))
		for i := range v {
			words[i] = fmt.Sprint(v[i])
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(value)
}

// checkValue returns an error if a flag does not take a value of a config file,
// and does not set it.
func checkValue(flag *pflag.Flag, value any) error {
	typed := false
	switch list := value.(type) {
	case bool:
		typed = flag.Value.Type() == "bool"
	case string:
		typed = slices.Contains([]string{"string", "size", "rules", "duration"}, flag.Value.Type())
	case int, int64, uint64, float64: // float64: from JSON
		typed = isNumber(flag) || flag.Value.Type() == "size"
	case []any:
		typed = flag.Value.Type() == "rules" && !slices.ContainsFunc(list, func(v any) bool { _, ok := v.(string); return !ok })
	}
	text := configText(value)
	if !typed {
		return notAllowed(flag, value)
	}
	if checkText(flag, text) != nil {
		return notAllowed(flag, text)
	}
	return nil
}

// checkText returns an error if the Set of a flag would.
func checkText(flag *pflag.Flag, text string) error {
	if v, ok := flag.Value.(interface{ check(value string) error }); ok {
		return v.check(text)
	}
	var err error
	if isNumber(flag) {
		_, err = strconv.ParseUint(text, 0, 64) // as pflag does
	}
	return err // the type of a bool was checked, and other flags take any text
}

// notAllowed is the error for a value that a flag does not take.
func notAllowed(flag *pflag.Flag, value any) error {
	return fmt.Errorf("%s is not valid: must be %s", quoted(value), allowed(flag))
}

// allowed returns which values a flag takes, in words that follow "must be".
func allowed(flag *pflag.Flag) string {
	if v, ok := flag.Value.(interface{ allowed() string }); ok {
		return v.allowed()
	}
	switch {
	case flag.Value.Type() == "bool":
		return "true or false"
	case isNumber(flag):
		return "a number, 0 or more"
	}
	return "a text"
}

// isNumber reports whether a flag takes a number.
func isNumber(flag *pflag.Flag) bool {
	kind := flag.Value.Type()
	return kind == "uint" || kind == "uint64"
}

// quoted returns a value as messages show it. It escapes nothing: complain does.
func quoted(value any) string {
	switch s := value.(type) {
	case nil:
		return "an empty value"
	case string:
		return `"` + s + `"`
	}
	return fmt.Sprint(value)
}

// unknownKey is the error for a key that is no setting.
func unknownKey(key string, all []setting) error {
	err := fmt.Errorf("unknown key %s", quoted(key))
	if near := nearest(key, settingKeys(all)); len(near) > 0 {
		return &hintError{err, didYouMean(near)}
	}
	return &hintError{err, "'qinspect config show' lists the keys"}
}

const envPrefix = "QINSPECT"

// envNames turns a config key into the name of its variable, less the prefix.
var envNames = strings.NewReplacer("-", "_", ".", "_")

// envName returns the variable of a config key: QINSPECT_CHECK_LIMIT.
func envName(key string) string { return envPrefix + "_" + strings.ToUpper(envNames.Replace(key)) }
