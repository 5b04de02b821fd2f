package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/qinspect/qinspect/cmd"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata/script and in the README")

// fixtures is the directory of the images.
const fixtures = "testdata/images"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"qinspect": main,
		"qinspect-v1.2.3": func() { // as a release is linked
			version = "v1.2.3"
			main()
		},
		"fill-terminal": fillTerminal,
	})
}

// fillTerminal writes more to the terminal than that holds. Then what came before has
// been read: testscript closes a terminal without reading to the end.
func fillTerminal() {
	f, err := os.OpenFile("/dev/tty", os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(make([]byte, 1<<18))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// TestScripts runs the scripts in testdata/script: command lines, and what
// they must print. `go test -update .` rewrites what they must print.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		ContinueOnError:     true, // a script shows all that is wrong
		Setup:               setup,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":   status,
			"patch":    patch,
			"truncate": truncate,
			"portable": portable,
			"printf0":  printf0,
		},
	})
}

// setup gives each script its own copy of the images, in a directory images: file
// names in the output are relative, and a script can break what it likes. The
// environment of a script is a fresh one, with a home that has no config file.
func setup(env *testscript.Env) error {
	env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
	return os.CopyFS(filepath.Join(env.WorkDir, "images"), os.DirFS(fixtures))
}

// condition answers [bash-completion]: whether that package is installed.
func condition(name string) (bool, error) {
	if name != "bash-completion" {
		return false, fmt.Errorf("unknown condition %s", name)
	}
	_, err := os.Stat("/usr/share/bash-completion/bash_completion")
	return err == nil, nil
}

// status N COMMAND ARG...
//
// It runs the command, whose exit status must be N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [arg...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != number(ts, args[0]) {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// patch FILE OFFSET HEX
//
// It overwrites the bytes at the offset, which can be hexadecimal (0x…).
func patch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: patch file offset hex")
	}
	p, err := hex.DecodeString(args[2])
	ts.Check(err)
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt(p, int64(number(ts, args[1])))
	ts.Check(errors.Join(err, f.Close()))
}

// truncate FILE SIZE
//
// It cuts the file, or extends it with a hole.
func truncate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: truncate file size")
	}
	ts.Check(os.Truncate(ts.MkAbs(args[0]), int64(number(ts, args[1]))))
}

func number(ts *testscript.TestScript, s string) int {
	n, err := strconv.ParseInt(s, 0, 0)
	ts.Check(err)
	return int(n)
}

// printf0 FILE NAME...
//
// It writes names to a file, each with a NUL after it.
func printf0(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: printf0 file name...")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.Join(args[1:], "\x00")+"\x00"), 0o600))
}

// portable FROM TO
//
// It copies output (stdout, or a file) to a file without what depends on the
// file system: how much space an image takes on it, and how much of that was not
// written. TestActualSize and TestUsageHoles in cmd assert these numbers.
func portable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: portable from to")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(withoutActualSize(ts.ReadFile(args[0]))), 0o600))
}

// hidden stands for the actual size in golden output.
const hidden = "(SPACE ON DISK)"

var (
	actualSizeKey = regexp.MustCompile(`(?m)("actual-size": ?|^(?:chain\.\d+\.|totals\.)?actual-size: |"unwritten":|^holes\.unwritten: |\bon disk |^qinspect_\w+_actual_size_bytes(?:\{.*\})? )\d+`)
	wholeTable    = regexp.MustCompile(`┌[^└]*└.*\n`)
)

// withoutActualSize hides the actual size in output of any format.
func withoutActualSize(out string) string {
	out = actualSizeKey.ReplaceAllString(out, "${1}"+hidden)
	return wholeTable.ReplaceAllStringFunc(out, func(table string) string {
		if !strings.Contains(table, "│ Allocated on disk ") {
			return table
		}
		return tableWithoutActualSize(table)
	})
}

// tableWithoutActualSize hides the actual size in the table of header facts,
// whose second column may be as wide as that value: it is set anew. A table
// whose lines are not of one width comes back as it is.
func tableWithoutActualSize(table string) string {
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	names, values, width := make([]string, len(lines)), make([]string, len(lines)), 0
	for i, line := range lines {
		if utf8.RuneCountInString(line) != utf8.RuneCountInString(lines[0]) {
			return table
		}
		cells := strings.Split(line, "│")
		if len(cells) != 4 {
			continue // a line of the frame
		}
		names[i], values[i] = cells[1], strings.TrimSpace(cells[2])
		if name := strings.TrimSpace(names[i]); name == "Allocated on disk" || name == "Reserved, not written" {
			values[i] = hidden
		}
		width = max(width, utf8.RuneCountInString(values[i]))
	}
	for i := range lines {
		if names[i] != "" {
			lines[i] = fmt.Sprintf("│%s│ %-*s │", names[i], width, values[i])
			continue
		}
		r := []rune(lines[i])
		middle := strings.IndexAny(lines[i], "┬┴")
		left := lines[i][:middle+len("┬")]
		lines[i] = left + strings.Repeat("─", width+2) + string(r[len(r)-1:])
	}
	return strings.Join(lines, "\n") + "\n"
}

// execute runs the command in this process, with an environment that says
// nothing.
func execute(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	for _, env := range os.Environ() {
		if name, _, _ := strings.Cut(env, "="); strings.HasPrefix(name, "QINSPECT_") {
			t.Setenv(name, "")
		}
	}
	var out, errs bytes.Buffer
	code = cmd.Execute(t.Context(), cmd.Process{Args: args, Stdout: &out, Stderr: &errs})
	return out.String(), errs.String(), code
}

// TestActualSize holds what the scripts leave out against what the file system
// says: on a full file, and on one that is nearly all hole.
func TestActualSize(t *testing.T) {
	full, hole := filepath.Join(fixtures, "luks.qcow2"), filepath.Join(t.TempDir(), "hole.qcow2")
	if err := makeHole(filepath.Join(fixtures, "v3.qcow2"), hole); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{full, hole} {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		json, plain, cell := "null", "-", "-"
		if n, ok := allocated(info); ok {
			json = strconv.FormatInt(n, 10)
			plain, cell = json, fmt.Sprintf("(%d bytes)", n)
			if n < 1024 {
				cell = fmt.Sprintf("%d B", n)
			}
		}
		for format, want := range map[string]string{
			"json":   `"actual-size": ` + json + `,`,
			"ndjson": `"actual-size":` + json + `,`,
			"plain":  `(?m)^actual-size: ` + plain + `$`,
			"table":  `(?m)^│ Allocated on disk +│ .*` + regexp.QuoteMeta(cell) + ` *│$`,
		} {
			stdout, stderr, code := execute(t, "header", "-o", format, file)
			if code != 0 || stderr != "" || !regexp.MustCompile(want).MatchString(stdout) {
				t.Errorf("header -o %s %s: status %d, no match for %s in\n%s%s", format, filepath.Base(file), code, want, stdout, stderr)
			}
		}
	}
}

// makeHole copies a file and extends the copy to 1 GiB. It is on disk
// afterwards: a file system may allocate late.
func makeHole(from, to string) error {
	p, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	return errors.Join(err, f.Truncate(1<<30), f.Sync(), f.Close())
}

// allocated returns st_blocks * 512, by reflection: not every system has it.
func allocated(info fs.FileInfo) (bytes int64, ok bool) {
	stat := reflect.Indirect(reflect.ValueOf(info.Sys()))
	if _, ok := stat.Type().FieldByName("Blocks"); !ok {
		return 0, false
	}
	return stat.FieldByName("Blocks").Int() * 512, true
}

// TestNothingIsWritten runs every command in every format on every image: no
// file changes, appears or goes.
func TestNothingIsWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(fixtures)); err != nil {
		t.Fatal(err)
	}
	before := hashes(t, dir)
	if len(before) < 20 {
		t.Fatalf("only %d files in %s", len(before), fixtures)
	}
	for name := range before {
		for _, command := range []string{"header", "extensions", "snapshots", "guest"} {
			for _, format := range []string{"table", "plain", "json", "ndjson"} {
				execute(t, command, "-o", format, filepath.Join(dir, name))
				execute(t, command, "-o", format, "--no-limits", filepath.Join(dir, name))
			}
		}
	}
	if diff := cmp.Diff(before, hashes(t, dir)); diff != "" {
		t.Errorf("files that changed (-before +after):\n%s", diff)
	}
}

// hashes returns the hash of each file in the directory.
func hashes(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for _, e := range entries {
		sums[e.Name()] = fmt.Sprintf("%x", fileHash(t, filepath.Join(dir, e.Name())))
	}
	return sums
}
