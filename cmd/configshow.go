package cmd

import (
	"cmp"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/render"
)

// configFileSection declares the config file. In JSON its name is the filename of
// the document.
func configFileSection() *render.Section {
	return &render.Section{Columns: []render.Column{
		{Key: "config-file", Title: "Config file", Kind: render.KindText, Show: render.InTable | render.InPlain},
		{Key: "exists", Title: "Exists", Kind: render.KindBool},
	}}
}

// settingsSection declares the list of settings.
func settingsSection() *render.Section {
	return &render.Section{
		Key:    "settings",
		Layout: render.LayoutList,
		Label:  "key",
		Columns: []render.Column{
			{Key: "key", Title: "KEY", Kind: render.KindText},
			{Key: "value", Title: "VALUE", Kind: render.KindText},
			{Key: "default", Title: "DEFAULT", Kind: render.KindText, Drop: 2},
			{Key: "origin", Title: "FROM", Kind: render.KindEnum, Names: originNames()},
			{Key: "variable", Title: "VARIABLE", Kind: render.KindText, Drop: 1},
		},
	}
}

func (a *app) newConfigShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show [KEY...]",
		Short: "Show what is configured, and where each value comes from",
		Long: `Show the value that every setting has, and where it comes from: a flag of this
command line, a QINSPECT_* variable, the config file, or the built-in default.
The name of the config file stands above.

Use it when a command behaves unexpectedly, and to find the name of a key or of
its variable.

Exit status: 0 fine, 1 the config file or a variable is wrong.`,
		Example: `  $ qinspect config show
  $ qinspect config show guest.all host.limit
  $ qinspect config show -o json | jq '.settings[] | select(.origin != "default")'`,
		RunE: a.runConfigShow,

		ValidArgsFunction: completeKeys,
	}
}

func (a *app) runConfigShow(cmd *cobra.Command, keys []string) error {
	c, err := readConfigured(cmd)
	if err != nil {
		return err
	}
	for _, command := range cmd.Root().Commands() {
		if err := checkVariables(command); err != nil {
			return err
		}
	}
	all := allSettings(cmd.Root())
	for _, key := range keys {
		if !slices.Contains(settingKeys(all), key) {
			return unknownKey(key, all)
		}
	}
	rows, err := settingRows(c, all, keys) // first: the output format is a setting
	if err != nil {
		return err
	}
	name := cmp.Or(c.file, usualConfigFile())
	r := render.New(a.output.value, &outputWriter{a.Stdout}, a.renderOptions())
	rep := &report{Sections: r, document: r}
	r.Begin(render.Document{Schema: "qinspect/config/1", Filename: name})
	rep.single(configFileSection(), render.Text(printable(name)), render.Bool(c.file != ""))
	rep.Section(settingsSection())
	for _, row := range rows {
		rep.row(row...)
	}
	return rep.failures.render(r)
}

// usualConfigFile returns the file that 'config init' writes, "" if the user has
// no config directory.
func usualConfigFile() string {
	dir, err := configFolder()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "config.yaml")
}

// settingRows gives all settings their values, and returns the rows of those
// with the given keys, or of all.
func settingRows(c *configured, all []setting, keys []string) ([][]render.Value, error) {
	var rows [][]render.Value
	for _, s := range all {
		from, err := c.set(s)
		if err != nil {
			return nil, err
		}
		if len(keys) == 0 || slices.Contains(keys, s.key) {
			rows = append(rows, settingRow(s, from))
		}
	}
	return rows, nil
}

func settingRow(s setting, from origin) []render.Value {
	return []render.Value{
		render.Text(s.key),
		settingValue(s.flag, s.flag.Value.String()),
		settingValue(s.flag, s.flag.DefValue),
		render.Enum(uint64(from)),
		render.Text(envName(s.key)),
	}
}

// settingValue returns the value that a text is for a flag.
func settingValue(flag *pflag.Flag, text string) render.Value {
	switch flag.Value.Type() {
	case "bool":
		return render.Bool(text == "true")
	case "uint":
		n, err := strconv.ParseUint(text, 10, 64)
		must(err) // it is the flag's own text
		return render.Uint(n)
	}
	if text == "" {
		return render.Null
	}
	return render.Text(text)
}
