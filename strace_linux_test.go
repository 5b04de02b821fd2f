package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// opened matches a system call of strace that opens a file, and the file.
var opened = regexp.MustCompile(`(?m)^.*\bopen(?:at2?)?\([^"]*"([^"]*)".*$`)

// TestNothingElseOpened asks the system which files are opened for an image that
// names others: none of those that must not be.
func TestNothingElseOpened(t *testing.T) {
	if err := exec.CommandContext(t.Context(), "strace", "-o", os.DevNull, "true").Run(); err != nil {
		t.Skipf("no strace: %v", err)
	}
	dir := shellFolder(t)
	images := filepath.Join(dir, "images")
	base := qcow2test.Image{Size: 1 << 16}.Build().Bytes
	for _, name := range []string{"images/base", "images/sub/forbidden", "forbidden"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, base, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"out-forbidden": "../forbidden", "up": "..", "absolute-forbidden": filepath.Join(dir, "forbidden")} {
		if err := os.Symlink(target, filepath.Join(images, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(images, "pipe-forbidden"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) (files []string) {
		image := qcow2test.Image{Size: 1 << 16, BackingFile: name}
		if err := os.WriteFile(filepath.Join(images, "top"), image.Build().Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		command := "strace -f -s 4096 -e trace=open,openat,openat2,socket,connect -o trace qinspect " + strings.Join(args, " ") + " images/top >/dev/null 2>&1"
		_, _ = shell(t, dir, command) // its exit status is 2, of most
		trace := readText(t, filepath.Join(dir, "trace"))
		if strings.Contains(trace, "socket(") || strings.Contains(trace, "connect(") {
			t.Errorf("%q: the network is used:\n%s", name, trace)
		}
		for _, m := range opened.FindAllStringSubmatch(trace, -1) {
			files = append(files, m[1])
		}
		if !strings.Contains(strings.Join(files, " "), "images/top") {
			t.Fatalf("%q: the image itself was not opened: %q", name, files)
		}
		return files
	}
	for _, name := range []string{
		`json:{"filename":"images/sub/forbidden"}`, "file:images/sub/forbidden", "nbd://localhost/forbidden", "nbd:localhost:10809:exportname=forbidden",
		"fat:" + images, "/dev/zero", "../forbidden", filepath.Join(dir, "forbidden"), "out-forbidden", "up/forbidden", "absolute-forbidden", "pipe-forbidden",
	} {
		for _, command := range []string{"chain", "guest"} {
			for _, file := range run(name, command, "--follow") {
				if strings.Contains(file, "forbidden") || file == "/dev/zero" || file == "zero" {
					t.Errorf("%s: %q: %s was opened", command, name, file)
				}
			}
		}
	}
	if files := run("base", "chain", "--follow"); !strings.Contains(strings.Join(files, " "), "base") {
		t.Errorf("a base inside the directory was not opened: %q", files)
	}
	for _, file := range run("base", "chain") {
		if file == "base" || strings.HasSuffix(file, "/base") {
			t.Errorf("%s was opened without --follow", file)
		}
	}
}
