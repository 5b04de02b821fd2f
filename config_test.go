package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/qinspect/qinspect/cmd"
)

// A shownSetting is what `config show` says of a setting.
type shownSetting struct{ value, builtIn, origin, variable any }

// showConfig runs `config show` in both JSON formats, which must hold the same
// document, one that the schema allows and of which it allows no change.
func showConfig(t *testing.T, args ...string) map[string]shownSetting {
	t.Helper()
	schema := jsonschema.NewCompiler().MustCompile(schemaFile("config"))
	var docs []any
	for _, format := range []string{"json", "ndjson"} {
		var out bytes.Buffer
		args := append([]string{"config", "show", "-o", format}, args...)
		if code := cmd.Execute(t.Context(), cmd.Process{Args: args, Stdout: &out, Stderr: &out}); code != 0 {
			t.Fatalf("%v: exit status %d\n%s", args, code, &out)
		}
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(strings.ReplaceAll(out.String(), `"ndjson"`, `"json"`)))
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%v: %#v", args, err)
		}
		docs = append(docs, doc)
	}
	if diff := cmp.Diff(docs[0], docs[1]); diff != "" {
		t.Errorf("documents (-json +ndjson):\n%s", diff)
	}
	bites(t, schema, "config show", docs[0])
	all := map[string]shownSetting{}
	for _, s := range docs[0].(map[string]any)["settings"].([]any) {
		s := s.(map[string]any)
		all[s["key"].(string)] = shownSetting{s["value"], s["default"], s["origin"], s["variable"]}
	}
	return all
}

var commentedKey = regexp.MustCompile(`(?m)^( *)#([a-z])`)

// TestConfigTemplate sets every key of the file that `config init` writes to the
// default that stands there: `config show` finds them all, where they come from,
// and nothing changed. As it is written, the file sets nothing.
func TestConfigTemplate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "config.yaml")
	if stdout, stderr, code := execute(t, "config", "init", "--config", file); code != 0 || stdout != file+"\n" || stderr != "" {
		t.Fatalf("config init: status %d\n%s%s", code, stdout, stderr)
	}
	for key, s := range showConfig(t, "--config", file) {
		if s.origin != "default" && key != "output" {
			t.Errorf("%s comes from %v in a file of comments", key, s.origin)
		}
	}
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, commentedKey.ReplaceAll(p, []byte("$1$2")), 0o600); err != nil {
		t.Fatal(err)
	}
	all := showConfig(t, "--config", file)
	for key, s := range all {
		if s.value != s.builtIn && key != "output" || s.origin != map[bool]any{true: "flag", false: "file"}[key == "output"] {
			t.Errorf("%s: %+v", key, s)
		}
		if !bytes.Contains(p, []byte(s.variable.(string)+".\n")) {
			t.Errorf("%s is not in the file", s.variable)
		}
	}
	if len(all) < 8 {
		t.Errorf("only %d settings", len(all))
	}
}

// TestConfigOrigins: each source goes before the ones after it.
func TestConfigOrigins(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	file := filepath.Join(t.TempDir(), "config.toml")
	content := "no-limits = true\n[guest]\nall = true\n[host]\nlimit = 7\nkind = \"leaked,free\"\n"
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("QINSPECT_CONFIG", file)
	t.Setenv("QINSPECT_HOST_LIMIT", "9")
	all := showConfig(t, "--no-limits=false")
	for key, want := range map[string]string{
		"no-limits":   "false flag", // the command line
		"host.limit":  "9 variable",
		"host.kind":   "leaked,free file",
		"guest.all":   "true file",
		"check.limit": "100 default",
	} {
		s := all[key]
		if got := fmt.Sprint(s.value, " ", s.origin); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	if some := showConfig(t, "host.kind", "guest.all"); len(some) != 2 || some["host.kind"] != all["host.kind"] {
		t.Errorf("of two keys there is %v", some)
	}
}
