package cmd

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

var update = flag.Bool("update", false, "rewrite the pages in docs/cli and docs/man")

// TestPages holds the pages of docs/cli and docs/man against the commands that
// they are made of. `go test ./cmd -update` makes them anew.
func TestPages(t *testing.T) {
	for dir, write := range map[string]func(*cobra.Command, string) error{
		"cli": doc.GenMarkdownTree,
		"man": writeManPages,
	} {
		fresh, kept := t.TempDir(), filepath.Join("..", "docs", dir)
		if err := write((&app{}).newRootCommand(), fresh); err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.RemoveAll(kept); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(kept, os.DirFS(fresh)); err != nil {
				t.Fatal(err)
			}
		}
		want := readPages(fresh)
		if len(want) < 10 { // the commands are not that few
			t.Errorf("only %d pages for docs/%s", len(want), dir)
		}
		if diff := cmp.Diff(want, readPages(kept)); diff != "" {
			t.Errorf("docs/%s (-commands +pages), see 'go test ./cmd -update':\n%s", dir, diff)
		}
	}
}

// writeManPages writes a man page for each command, as man pages look, and
// without a date: a page changes when its command does.
func writeManPages(root *cobra.Command, dir string) error {
	header := &doc.GenManHeader{Section: "1", Date: &time.Time{}, Source: "qinspect", Manual: "qinspect"}
	if err := doc.GenManTree(root, header, dir); err != nil {
		return err
	}
	for name, page := range readPages(dir) {
		page = strings.Replace(page, `"Jan 0001"`, `""`, 1)
		page = manOption.ReplaceAllString(page, ".TP\n$1\n")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(page), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// manOption matches a flag of a man page: its name, which a paragraph begins
// with, and in the next line what it is for.
var manOption = regexp.MustCompile(`(?m)^(?:\.PP\n)?(\\fB-.*?)(?:\[=false\])?\n\t`)

// readPages returns the files of a directory: their names and what they hold. A
// directory that cannot be read has none.
func readPages(dir string) map[string]string {
	pages := map[string]string{}
	names, _ := filepath.Glob(filepath.Join(dir, "*")) // the pattern is not malformed
	for _, name := range names {
		if page, err := os.ReadFile(name); err == nil {
			pages[filepath.Base(name)] = string(page)
		}
	}
	return pages
}
