package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// An audited is what audit says of a file.
type audited struct {
	Verdict  string
	Findings []struct{ Level, Rule, Message string }
	Rules    []struct{ Rule, Result string }
}

// auditFile runs audit on a file. The verdict is that of the exit status.
func auditFile(t *testing.T, file string, args ...string) audited {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	var stdout, stderr bytes.Buffer
	code := Execute(t.Context(), Process{Args: slices.Concat([]string{"audit", "-o", "json", file}, args), Stdout: &stdout, Stderr: &stderr})
	var a audited
	if err := json.Unmarshal(stdout.Bytes(), &a); err != nil {
		t.Fatalf("%s: %v\n%s%s", file, err, &stdout, &stderr)
	}
	if want := map[string]int{"accept": 0, "reject": 2}[a.Verdict]; code != want || a.Verdict == "" {
		t.Errorf("%s: %q, exit status %d\n%s", file, a.Verdict, code, &stderr)
	}
	return a
}

// fails returns the rules that fail, and those that were not checked with a question
// mark.
func (a audited) fails() string {
	var all []string
	for _, r := range a.Rules {
		switch r.Result {
		case "fail":
			all = append(all, r.Rule)
		case "not-checked":
			all = append(all, r.Rule+"?")
		}
	}
	return strings.Join(all, " ")
}

// TestQEMUAudit: nothing is wrong with what qemu-img makes, whatever its options;
// what is encrypted says so.
func TestQEMUAudit(t *testing.T) {
	dir := newQEMUFolder(t)
	raw := dir.file("raw")
	if err := os.WriteFile(raw, slices.Concat(mbr(), bytes.Repeat([]byte("data"), 1<<16), make([]byte, 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	convert := func(args ...string) string {
		file := dir.file(fmt.Sprint(len(args), args[len(args)-1], ".qcow2"))
		dir.run(t, "qemu-img", slices.Concat([]string{"convert", "-O", "qcow2"}, args, []string{raw, file})...)
		return file
	}
	strictly := []string{"--policy", "strict", "--content"}
	for _, file := range []string{
		dir.create(t, "cluster_size=64k", "1G"), dir.create(t, "cluster_size=512", "10M"), dir.create(t, "cluster_size=2M", "1T"),
		dir.create(t, "compat=0.10", "1G"), dir.create(t, "lazy_refcounts=on", "1G"), dir.create(t, "refcount_bits=1", "1G"),
		dir.create(t, "extended_l2=on", "1G"), dir.create(t, "preallocation=metadata", "64M"), dir.create(t, "preallocation=full", "4M"),
		convert("-o", "cluster_size=64k"), convert("-o", "cluster_size=512"), convert("-o", "extended_l2=on"),
		convert("-c", "-o", "cluster_size=32k"), convert("-c", "-o", "compression_type=zstd"), convert("-W", "-c", "-o", "cluster_size=1k"),
	} {
		if a := auditFile(t, file, strictly...); a.fails() != "" || a.Verdict != "accept" {
			t.Errorf("%s: %s, %+v", file, a.Verdict, a.Findings)
		}
	}
	for _, options := range []string{"encrypt.format=luks,encrypt.iter-time=10"} {
		file := dir.createEncrypted(t, options)
		p, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, at := luksHeader(t, p)
		for _, iterations := range []uint32{2_500_000, 5_000_000, 7_371_878, 14_743_756} { // two seconds' worth of machines, half and twice as fast
			for i := range 4 {
				p[at+212+i] = byte(iterations >> (24 - 8*i))
			}
			if err := os.WriteFile(file, p, 0o600); err != nil {
				t.Fatal(err)
			}
			if a := auditFile(t, file); a.fails() != "encrypted nested-format?" || a.Verdict != "accept" {
				t.Errorf("%s with %d iterations: %s, %s", options, iterations, a.Verdict, a.fails())
			}
		}
	}
}

// mbr returns a boot sector with one partition.
func mbr() []byte {
	p := make([]byte, 512)
	copy(p[446:], []byte{0x80, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8})
	copy(p[510:], "\x55\xaa")
	return p
}

// TestQEMUAuditCorpus: of the images that others made, those that qemu-img finds
// clean and that have nothing beside the disk are accepted, and nothing but notes is
// said of them.
func TestQEMUAuditCorpus(t *testing.T) {
	needQEMU(t)
	folder := os.Getenv("QINSPECT_CORPUS")
	if folder == "" {
		t.Skip("QINSPECT_CORPUS is not set")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		out, err := exec.Command("qemu-img", "check", "-f", "qcow2", file).CombinedOutput()
		if err != nil {
			if a := auditFile(t, file); a.Verdict != "reject" {
				t.Errorf("%s: %s, but qemu-img check says: %s", file, a.Verdict, out)
			}
			continue
		}
		info, err := qemuInfo(t, file)
		if err != nil || lookup(map[string]any(info), "snapshots") != nil || lookup(map[string]any(info), "backing-filename") != nil {
			continue
		}
		for _, f := range auditFile(t, file, "--content").Findings {
			// Slack: what old versions of QEMU left in the first cluster of a version 2 image.
			if f.Level != "note" || f.Rule != "hidden-slack" {
				t.Errorf("%s: %+v", file, f)
			}
		}
	}
}

// TestQEMUPolyglots: files that are qcow2 images and something else, too. What
// oslo.utils' format_inspector of 2026 and qemu-img say of them is in the comments.
func TestQEMUPolyglots(t *testing.T) {
	dir := newQEMUFolder(t)
	made := dir.create(t, "cluster_size=64k", "1M")
	dir.run(t, "qemu-io", "-c", "write -P 0x61 0 128k", made)
	base, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	put := func(at int, p string) []byte {
		b := slices.Clone(base)
		if need := at + len(p); need > len(b) {
			b = append(b, make([]byte, need-len(b))...)
		}
		copy(b[at:], p)
		return b
	}
	end := len(base)
	nested := slices.Clone(base)
	copy(nested[bytes.Index(nested, bytes.Repeat([]byte{0x61}, 512)):], base[:512])
	for _, tt := range []struct {
		name  string
		bytes []byte
		args  []string
		want  string // the rules that fail
		clean bool   // for qemu-img check
	}{
		{"partitions", put(446, string(mbr()[446:])), nil, "format-ambiguous", true},                     // oslo: multiple formats
		{"iso", put(32769, "CD001"), nil, "format-ambiguous", true},                                      // oslo: multiple formats
		{"vdi", put(64, "\x7f\x10\xda\xbe"), nil, "format-ambiguous", true},                              // oslo: multiple formats; qemu-img info: a VDI image
		{"vhd", put(end, "conectix"+strings.Repeat("\x00", 504)), nil, "format-tail hidden-tail", true},  // oslo: safe
		{"dmg", put(end, "koly"+strings.Repeat("\x00", 508)), nil, "format-tail hidden-tail", true},      // oslo: safe
		{"zip", put(end, "PK\x05\x06"+strings.Repeat("\x00", 18)), nil, "format-tail hidden-tail", true}, // oslo: safe
		{"tar", put(257, "ustar"), nil, "format-ambiguous", true},                                        // oslo: safe
		{"nested", nested, nil, "nested-format", true},                                                   // oslo: safe; qemu-img convert -O raw makes a qcow2 image
		{"raw disk", put(4<<20-1, "\x00"), []string{"--declared", "raw"}, "not-raw", true},               // oslo: safe
		{"raw disk, not declared", put(4<<20-1, "\x00"), nil, "hidden-tail", true},
	} {
		file := dir.file(strings.ReplaceAll(tt.name, " ", "-"))
		if err := os.WriteFile(file, tt.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if a := auditFile(t, file, tt.args...); a.fails() != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, a.fails(), tt.want)
		}
		if out, err := exec.Command("qemu-img", "check", "-f", "qcow2", file).CombinedOutput(); (err == nil) != tt.clean {
			t.Errorf("%s: qemu-img check: %v, %s", tt.name, err, out)
		}
	}
	out, err := exec.Command("qemu-img", "info", dir.file("vdi")).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "VDI") {
		t.Errorf("QEMU no longer takes the file for a VDI image: %s", out)
	}
}

// TestQEMUAuditOpen: an image that another program has open for writing is rejected.
func TestQEMUAuditOpen(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("locks can be asked for on Linux only")
	}
	dir := newQEMUFolder(t)
	file := dir.create(t, "cluster_size=64k", "1M")
	c := exec.Command("qemu-io", "-f", "qcow2", file)
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for range 200 { // it takes a while to open
		if elsewhere(t, file) != "no" {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if a := auditFile(t, file); a.fails() != "open-for-writing" || a.Verdict != "reject" {
		t.Errorf("held open: %s, %s", a.Verdict, a.fails())
	}
	if _, err := io.WriteString(stdin, "quit\n"); err != nil {
		t.Error(err)
	}
	stdin.Close()
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff("", auditFile(t, file).fails()); diff != "" {
		t.Errorf("closed (-want +got):\n%s", diff)
	}
}
