package cmd

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
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

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
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
	gpt := append([]byte("EFI PART"), make([]byte, 504)...) // and its backup, at the end of the disk
	if err := os.WriteFile(raw, slices.Concat(mbr(), gpt, bytes.Repeat([]byte("data"), 1<<16), make([]byte, 1<<20), gpt), 0o600); err != nil {
		t.Fatal(err)
	}
	convert := func(args ...string) string {
		file := dir.file("converted.qcow2")
		dir.run(t, "qemu-img", slices.Concat([]string{"convert", "-O", "qcow2"}, args, []string{raw, file})...)
		return file
	}
	hold := func(what string, file string) {
		if a := auditFile(t, file, "--policy", "strict", "--content"); a.fails() != "" || a.Verdict != "accept" {
			t.Errorf("%s: %s, %+v", what, a.Verdict, a.Findings)
		}
	}
	for options, size := range map[string]string{
		"cluster_size=64k": "1G", "cluster_size=512": "10M", "cluster_size=2M": "1T", "compat=0.10": "1G", "lazy_refcounts=on": "1G",
		"refcount_bits=1": "1G", "extended_l2=on": "1G", "preallocation=metadata": "64M", "preallocation=full": "4M",
	} {
		hold(options, dir.create(t, options, size))
	}
	for _, args := range [][]string{
		{"-o", "cluster_size=64k"}, {"-o", "cluster_size=512"}, {"-o", "extended_l2=on"}, {"-c", "-o", "cluster_size=32k"},
		{"-c", "-o", "compression_type=zstd"}, {"-W", "-c", "-o", "cluster_size=1k"},
	} {
		hold(fmt.Sprint("convert ", args), convert(args...))
	}
	file := dir.createEncrypted(t, "encrypt.format=luks,encrypt.iter-time=10")
	p, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, at := luksHeader(t, p)
	// What two seconds are on common machines, and on those half and twice as fast.
	for _, iterations := range []uint32{2_500_000, 5_000_000, 7_371_878, 14_743_756} {
		binary.BigEndian.PutUint32(p[at+208+4:], iterations)
		if err := os.WriteFile(file, p, 0o600); err != nil {
			t.Fatal(err)
		}
		if a := auditFile(t, file); a.fails() != "encrypted nested-format?" || a.Verdict != "accept" {
			t.Errorf("%d iterations: %s, %s", iterations, a.Verdict, a.fails())
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
	for _, method := range []string{"zlib", "zstd"} {
		dir.run(t, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type="+method, made, method)
		if a := auditFile(t, dir.file(method)); a.fails() != "nested-format" {
			t.Errorf("an image in a disk, compressed with %s: %s", method, a.fails())
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

// TestQEMUBombs: small files with disks of any size, of which qemu-img check says
// that they are consistent.
func TestQEMUBombs(t *testing.T) {
	dir := newQEMUFolder(t)
	compressed := qcow2test.Image{Size: 1 << 26, RefcountBits: 64, Compressed: map[uint64]qcow2test.Compressed{}}
	for i := range uint64(1024) {
		compressed.Compressed[i] = qcow2test.Compressed{Sectors: 1}
	}
	var deflated bytes.Buffer
	w, err := flate.NewWriter(&deflated, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte{0x61}, 1<<16)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := compressed.Build()
	copy(bomb.Bytes[1<<16:], deflated.Bytes())
	table := qcow2test.Image{Size: 1 << 40, RefcountBits: 64, L1Size: 2048, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data}}.Build()
	l2, first, second := table.Get("l1[0]")&^(1<<63), table.Get("l2[0][0]")&^(1<<63), table.Get("l2[0][1]")&^(1<<63)
	for i := range 2048 {
		table.Set(fmt.Sprintf("l1[%d]", i), l2)
	}
	table.Set("l2[0][0]", first).Set("l2[0][1]", second)
	for _, cluster := range []uint64{l2, first, second} {
		table.Set(fmt.Sprintf("refcount[%d]", cluster>>16), 2048)
	}
	for name, tt := range map[string]struct {
		built *qcow2test.Built
		want  string
	}{
		"one compressed cluster": {bomb, "ratio compressed-shared"},
		"one L2 table":           {table, "ratio cluster-shared"},
	} {
		file := dir.file(strings.ReplaceAll(name, " ", "-"))
		if err := os.WriteFile(file, tt.built.Bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		dir.run(t, "qemu-img", "check", "-f", "qcow2", file)
		if a := auditFile(t, file); a.fails() != tt.want || a.Verdict != "reject" {
			t.Errorf("%s: %s, %s, want %s", name, a.Verdict, a.fails(), tt.want)
		}
	}
}
