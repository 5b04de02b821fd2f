package qcow2_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A floor is a group of files of the package, and its level. Two groups can have
// one level.
type floor struct {
	level int
	name  string
	files []string // patterns, without ".go"
}

// TestFloors holds the floors of the package: a file knows what its own group
// declares, and what lies lower. The table of them is the one that people read.
func TestFloors(t *testing.T) {
	floors, err := readFloors("../../docs/design.md")
	if err != nil {
		t.Fatal(err)
	}
	uses, err := fileUses(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range checkFloors(floors, uses) {
		t.Error(wrong)
	}
}

// TestFloorsBite shows that the test fails for a step upward, a step to the side,
// and a file or a pattern that stands for nothing.
func TestFloorsBite(t *testing.T) {
	floors := []floor{{0, "low", []string{"a", "a_*"}}, {1, "left", []string{"b"}}, {1, "right", []string{"c"}}}
	tests := []struct {
		from, to string
		want     string
	}{
		{"b.go", "a.go", ""},
		{"b.go", "b.go", ""},
		{"c.go", "a_linux.go", ""},
		{"a.go", "b.go", "a.go (low) names f of b.go (left)"},
		{"b.go", "c.go", "b.go (left) names f of c.go (right)"},
		{"d.go", "a.go", "d.go stands on no floor"},
	}
	for _, tt := range tests {
		uses := map[string]map[string]string{"a.go": {}, "a_linux.go": {}, "b.go": {}, "c.go": {}}
		uses[tt.from] = map[string]string{tt.to: "f"}
		got := strings.Join(checkFloors(floors, uses), "\n")
		if tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s naming %s: %q, want %q", tt.from, tt.to, got, tt.want)
		}
	}
	if got := checkFloors(floors, map[string]map[string]string{"a.go": {}, "a_x.go": {}, "b.go": {}}); len(got) != 1 {
		t.Errorf("a floor without a file: %q, want one complaint", got)
	}
}

// readFloors reads the table of floors in a Markdown file: its rows begin with a
// number, and their last cell has the files.
func readFloors(name string) ([]floor, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	_, text2, found := strings.Cut(string(text), "| floor |")
	if !found {
		return nil, fmt.Errorf("%s has no table of floors", name)
	}
	var floors []floor
	for line := range strings.Lines(text2) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			if len(floors) > 0 {
				break
			}
			continue
		}
		f := floor{name: strings.TrimSpace(cells[2]), files: strings.Fields(cells[3])}
		if _, err := fmt.Sscan(cells[1], &f.level); err == nil {
			floors = append(floors, f)
		}
	}
	return floors, nil
}

// checkFloors returns what is wrong with the uses between files, and what to do
// about it.
func checkFloors(floors []floor, uses map[string]map[string]string) []string {
	var wrong []string
	used := map[string]bool{}
	of := func(file string) *floor {
		for i := range floors {
			for _, pattern := range floors[i].files {
				if ok, _ := filepath.Match(pattern+".go", file); ok {
					used[pattern] = true
					return &floors[i]
				}
			}
		}
		return nil
	}
	for _, from := range slices.Sorted(maps.Keys(uses)) {
		f := of(from)
		if f == nil {
			wrong = append(wrong, from+" stands on no floor: name it in the table in docs/design.md")
			continue
		}
		for _, to := range slices.Sorted(maps.Keys(uses[from])) {
			if g := of(to); g != nil && g != f && g.level >= f.level {
				wrong = append(wrong, fmt.Sprintf("%s (%s) names %s of %s (%s): a floor knows only lower ones, so move what both need down, or hand it in as a function",
					from, f.name, uses[from][to], to, g.name))
			}
		}
	}
	for _, f := range floors {
		for _, pattern := range f.files {
			if !used[pattern] {
				wrong = append(wrong, fmt.Sprintf("no file is called %s.go: take it out of the table in docs/design.md", pattern))
			}
		}
	}
	return wrong
}

// fileUses type-checks the package in a directory, as this system builds it. It
// returns, for each file, the files that declare what it names, and one such name.
func fileUses(dir string) (map[string]map[string]string, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	fset, files := token.NewFileSet(), []*ast.File{}
	uses := map[string]map[string]string{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		uses[filepath.Base(name)] = map[string]string{}
		if ok, err := build.Default.MatchFile(dir, filepath.Base(name)); err != nil || !ok {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "source", nil)}
	pkg, err := conf.Check("qcow2", fset, files, &info)
	if err != nil {
		return nil, err
	}
	for id, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		from, to := filepath.Base(fset.Position(id.Pos()).Filename), filepath.Base(fset.Position(object.Pos()).Filename)
		if from != to {
			uses[from][to] = cmp.Or(min(uses[from][to], id.Name), id.Name)
		}
	}
	return uses, nil
}
