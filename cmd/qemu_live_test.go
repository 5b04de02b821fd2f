package cmd

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestQEMUElsewhere holds an image open in qemu-io: who has it open is known, with
// no lock taken.
func TestQEMUElsewhere(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("locks can be asked for on Linux only")
	}
	dir := newQEMUFolder(t)
	file := dir.file("disk.qcow2")
	dir.run(t, "qemu-img", "create", "-q", "-f", "qcow2", file, "64M")
	for _, test := range []struct {
		flags []string
		want  string
	}{{nil, "writing"}, {[]string{"-r"}, "reading"}} {
		c := exec.Command("qemu-io", append(append([]string{"-f", "qcow2"}, test.flags...), file)...)
		stdin, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		got := "no"
		for range 200 { // it takes a while to open
			if got = elsewhere(t, file); got != "no" {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if got != test.want {
			t.Errorf("qemu-io %v: %q, want %q", test.flags, got, test.want)
		}
		// A lock that was taken would have kept qemu-img from writing.
		if _, err := io.WriteString(stdin, "quit\n"); err != nil {
			t.Error(err)
		}
		stdin.Close()
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
		if got := elsewhere(t, file); got != "no" {
			t.Errorf("after qemu-io %v: %q, want %q", test.flags, got, "no")
		}
	}
}

// elsewhere returns what check says of who has an image open.
func elsewhere(t *testing.T, file string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	Execute(t.Context(), Process{Args: []string{"check", "-o", "json", file}, Stdout: &stdout, Stderr: &stderr})
	var doc struct {
		OpenElsewhere *string `json:"open-elsewhere"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenElsewhere == nil {
		return "null"
	}
	if noted := strings.Contains(stderr.String(), "another program has the image open for writing"); noted != (*doc.OpenElsewhere == "writing") {
		t.Errorf("%s: standard error %q", *doc.OpenElsewhere, &stderr)
	}
	return *doc.OpenElsewhere
}
