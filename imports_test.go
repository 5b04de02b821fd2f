package main_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "github.com/qinspect/qinspect/"

// layers says what the packages of a directory may import beside the standard
// library and the packages of the same directory: the arrows of the architecture.
// The longest directory that a file lies in decides.
var layers = []struct {
	dir    string
	allow  []string // prefixes of import paths
	tests  []string // the same, for its tests in addition
	remedy string
}{
	{
		dir:    ".",
		allow:  []string{module + "cmd"},
		tests:  []string{module}, // they look at the whole
		remedy: "main only hands the process to cmd: put the code into cmd",
	},
	{
		dir:    "bench",
		allow:  []string{module + "pkg/qcow2/qcow2test"},
		remedy: "what bench runs is the command: it only makes images for it",
	},
	{
		dir: "cmd",
		allow: []string{
			module + "pkg/audit", module + "pkg/chain", module + "pkg/fleet", module + "pkg/picture", module + "pkg/qcow2", module + "pkg/render",
			"github.com/klauspost/compress",
			"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/spf13/viper",
			"golang.org/x/term", "github.com/vbauerster/mpb",
		},
		remedy: "give a new dependency its reason in docs/design.md, then its place in this table and in .golangci.yaml",
	},
	{
		dir:    "pkg/audit",
		allow:  []string{module + "pkg/qcow2"},
		remedy: "rules judge facts of pkg/qcow2 with the standard library only: let cmd hand the rest in",
	},
	{
		dir:    "pkg/chain",
		allow:  []string{module + "pkg/qcow2"},
		remedy: "a chain is images and files: let cmd show it",
	},
	{
		dir:    "pkg/fleet",
		allow:  []string{module + "pkg/qcow2"},
		remedy: "a row is facts of pkg/qcow2 and of the system: let cmd show it",
	},
	{
		dir:    "pkg/picture",
		allow:  []string{module + "pkg/qcow2"},
		remedy: "a picture is drawn of what pkg/qcow2 says: let cmd hand in how numbers and names are written",
	},
	{
		dir:    "pkg/qcow2",
		remedy: "the format needs the standard library only: let cmd hand the rest in, as an interface or a function",
	},
	{
		dir:    "pkg/render",
		allow:  []string{"github.com/olekukonko/tablewriter"},
		remedy: "render knows values and sections, not images: let cmd turn one into the other",
	},
}

// homes says where a library may be known at all: in a directory, or in one file.
var homes = []struct {
	library, home, remedy string
}{
	{"github.com/spf13/", "cmd", "flags and configuration end in cmd: pass on plain values"},
	{"github.com/spf13/cobra/doc", "cmd/pages_test.go", "pages are made by a test: the command starts faster without what makes them"},
	{"github.com/klauspost/compress", "cmd", "hand the function of cmd/zstd.go on"},
	{"github.com/vbauerster/mpb", "cmd/progress.go", "report progress to a progress, which draws it"},
	{"github.com/olekukonko/tablewriter", "pkg/render/table.go", "call the functions of pkg/render/table.go, or add one there"},
}

// testLibraries may be imported by any test, and by tests alone.
var testLibraries = []string{
	"github.com/google/go-cmp/",
	"github.com/rogpeppe/go-internal/",
	"github.com/santhosh-tekuri/jsonschema/",
}

func TestImports(t *testing.T) {
	imports, err := readImports(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		if !slices.ContainsFunc(imports, func(i importSpec) bool { return layerOf(i.file) == l.dir }) {
			t.Errorf("no Go file imports anything in %s: the table of layers is out of date", l.dir)
		}
	}
	for _, i := range imports {
		for _, violation := range violations(i) {
			t.Error(violation)
		}
	}
}

// TestImportsBite shows that a step off the arrows is seen, on any system and
// in tests too.
func TestImportsBite(t *testing.T) {
	source := func(imports ...string) *fstest.MapFile {
		s := "//go:build plan9\n\npackage p\n"
		for _, i := range imports {
			s += "import " + strconv.Quote(i) + "\n"
		}
		return &fstest.MapFile{Data: []byte(s)}
	}
	tests := []struct {
		file, imported string
		want           int // violations
	}{
		{"main.go", module + "cmd", 0},
		{"main.go", module + "pkg/qcow2", 1},
		{"main.go", "github.com/spf13/cobra", 2},
		{"main_test.go", "github.com/rogpeppe/go-internal/testscript", 0},
		{"main_test.go", module + "pkg/qcow2/qcow2test", 0},
		{"cmd/guest.go", module + "pkg/qcow2", 0},
		{"cmd/guest.go", "github.com/spf13/viper", 0},
		{"cmd/root.go", "github.com/spf13/cobra/doc", 1},
		{"cmd/guest.go", "github.com/olekukonko/tablewriter", 2},
		{"cmd/guest.go", "github.com/google/go-cmp/cmp", 1},
		{"cmd/guest_test.go", "github.com/google/go-cmp/cmp", 0},
		{"pkg/picture/fold.go", module + "pkg/qcow2", 0},
		{"pkg/picture/fold.go", module + "pkg/render", 1},
		{"pkg/qcow2/guest.go", "encoding/binary", 0},
		{"pkg/qcow2/guest.go", module + "pkg/qcow2/qcow2test", 0},
		{"pkg/qcow2/guest.go", module + "pkg/render", 1},
		{"pkg/qcow2/guest.go", "golang.org/x/sys/unix", 1},
		{"pkg/qcow2/guest_test.go", module + "pkg/render", 1},
		{"pkg/qcow2/qcow2test/image.go", module + "pkg/qcow2", 0},
		{"pkg/qcow2/qcow2test/image.go", module + "cmd", 1},
		{"pkg/audit/audit.go", module + "pkg/qcow2", 0},
		{"pkg/audit/audit.go", module + "pkg/render", 1},
		{"pkg/audit/guest.go", "github.com/klauspost/compress/zstd", 2},
		{"pkg/qcow2/image.go", module + "pkg/audit", 1},
		{"cmd/zstd.go", "github.com/klauspost/compress/zstd", 0},
		{"cmd/chain.go", module + "pkg/chain", 0},
		{"pkg/chain/map.go", module + "pkg/qcow2", 0},
		{"pkg/chain/map.go", module + "pkg/render", 1},
		{"pkg/chain/map.go", module + "cmd", 1},
		{"pkg/qcow2/guest.go", module + "pkg/chain", 1},
		{"pkg/render/table.go", "github.com/olekukonko/tablewriter/tw", 0},
		{"pkg/render/json.go", "github.com/olekukonko/tablewriter/tw", 1},
		{"pkg/render/json.go", module + "pkg/qcow2", 1},
		{"docs/generate.go", module + "pkg/qcow2", 1},
	}
	for _, tt := range tests {
		imports, err := readImports(fstest.MapFS{tt.file: source(tt.imported), "testdata/p.go": source("github.com/spf13/cobra")})
		if err != nil {
			t.Fatal(err)
		}
		want := []importSpec{{file: tt.file, path: tt.imported}}
		if diff := cmp.Diff(want, imports, cmp.AllowUnexported(importSpec{})); diff != "" {
			t.Fatalf("imports of %s (-want +got):\n%s", tt.file, diff)
		}
		if got := violations(imports[0]); len(got) != tt.want {
			t.Errorf("%s importing %s: got %d violations %q, want %d", tt.file, tt.imported, len(got), got, tt.want)
		}
	}
}

// An importSpec is one import of one file.
type importSpec struct {
	file string // from the root of the module
	path string
}

// readImports returns the imports of all Go files, those included that only
// another system would build.
func readImports(fsys fs.FS) ([]importSpec, error) {
	var imports []importSpec
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != "." && (base == "testdata" || strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		source, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, importSpec{file: name, path: imported})
		}
		return nil
	})
	return imports, err
}

// violations says what is wrong with an import, and what to do instead.
func violations(i importSpec) []string {
	isTest := strings.HasSuffix(i.file, "_test.go")
	if isStandard(i.path) || isTest && hasPrefix(i.path, testLibraries) {
		return nil
	}
	var found []string
	for _, l := range layers {
		inside := within(strings.TrimPrefix(i.path, module), l.dir) && l.dir != "."
		allowed := inside || hasPrefix(i.path, l.allow) || isTest && hasPrefix(i.path, l.tests)
		if l.dir == layerOf(i.file) && !allowed {
			found = append(found, i.file+" imports "+i.path+", which its layer may not: "+l.remedy)
		}
	}
	for _, h := range homes {
		if strings.HasPrefix(i.path, h.library) && !within(i.file, h.home) {
			found = append(found, i.file+" imports "+i.path+", which only "+h.home+" may: "+h.remedy)
		}
	}
	return found
}

// layerOf returns the directory in the table of layers that a file lies in.
func layerOf(file string) string {
	found := "."
	for _, l := range layers {
		if within(file, l.dir) && len(l.dir) > len(found) {
			found = l.dir
		}
	}
	return found
}

// within reports whether a slash-separated path is dir or lies below it.
func within(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// hasPrefix reports whether s begins with one of the prefixes.
func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// isStandard reports whether an import path is of the standard library: only
// there the first element has no dot.
func isStandard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
