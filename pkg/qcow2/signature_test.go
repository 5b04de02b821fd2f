package qcow2_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// partitioned returns a boot sector with one partition, which begins with status.
func partitioned(status byte) []byte {
	p := make([]byte, 512)
	copy(p[446:], []byte{status, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8})
	copy(p[510:], "\x55\xaa")
	return p
}

// heads returns the formats and offsets of the signatures at the start of p.
func heads(p []byte) []string {
	var all []string
	for s := range qcow2.HeadSignatures(p) {
		all = append(all, fmt.Sprintf("%s@%x", s.Format, s.Offset))
	}
	return all
}

func TestHeadSignatures(t *testing.T) {
	at := func(offset int, text string) []byte {
		p := make([]byte, qcow2.SignatureBytes)
		copy(p[offset:], text)
		return p
	}
	tests := []struct {
		name string
		p    []byte
		want []string
	}{
		{"nothing", make([]byte, qcow2.SignatureBytes), nil},
		{"no bytes", nil, nil},
		{"qcow2", at(0, "QFI\xfb\x00\x00\x00\x03"), []string{"qcow2@0"}},
		{"qcow", at(0, "QFI\xfb\x00\x00\x00\x01"), []string{"qcow@0", "qcow2@0"}},
		{"vdi", at(64, "\x7f\x10\xda\xbe"), []string{"vdi@40"}},
		{"iso", at(32769, "CD001"), []string{"iso@8001"}},
		{"iso, second descriptor", at(34817, "CD001"), []string{"iso@8801"}},
		{"GPT", at(512, "EFI PART"), []string{"raw@200"}},
		{"boot sector without partitions", at(510, "\x55\xaa"), nil},
		{"partitions", partitioned(0x80), []string{"raw@1be"}},
		{"partitions, cut", partitioned(0x80)[:511], nil},
		{"a partition with a wrong status", partitioned(0x12), nil},
		{"vmdk descriptor", []byte("# Disk DescriptorFile\nversion=1\n"), []string{"vmdk@0", "vmdk@16"}},
		{"vmdk descriptor without its first line", []byte("version=3\r\n"), []string{"vmdk@0"}},
		{"vmdk descriptor after comments and a blank line", []byte("# x\n \nversion=2\n"), []string{"vmdk@6"}},
		{"no vmdk descriptor", []byte("\nversion=1\n"), nil},
		{"no vmdk version", []byte("# x\nversion=4\n"), nil},
		{"a comment without an end", []byte("# version=1"), nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, heads(tt.p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestVMDKProbe compares what is taken for a vmdk descriptor with what QEMU does.
func TestVMDKProbe(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip(err)
	}
	for _, text := range []string{
		"version=1\n", "version=4\n", "\nversion=1\n", " \nversion=1\n", "#\n#\nversion=2\r\n", "# x\n  \r\nversion=3\n",
		"version=1", "x\nversion=1\n", "version=1 \n", "#version=1\n", "version=12\n",
	} {
		name := filepath.Join(t.TempDir(), "disk")
		p := append([]byte(text), make([]byte, 1024)...)
		if err := os.WriteFile(name, p, 0o600); err != nil {
			t.Fatal(err)
		}
		out, _ := exec.Command("qemu-img", "info", name).CombinedOutput()
		want := !strings.Contains(string(out), "file format: raw")
		if got := slices.ContainsFunc(heads(p), func(s string) bool { return strings.HasPrefix(s, "vmdk") }); got != want {
			t.Errorf("%q: vmdk %v, want %v: %s", text, got, want, out)
		}
	}
}

func TestTailSignatures(t *testing.T) {
	footer := func(text string) []byte {
		p := make([]byte, 1024)
		copy(p[512:], text)
		return p
	}
	zip := func(comment string) []byte {
		p := append(make([]byte, 100), "PK\x05\x06"...)
		p = append(p, make([]byte, 16)...)
		return append(append(p, byte(len(comment)), 0), comment...)
	}
	tests := []struct {
		name string
		p    []byte
		want []qcow2.Signature
	}{
		{"nothing", make([]byte, 1024), nil},
		{"no bytes", nil, nil},
		{"vhd", footer("conectix"), []qcow2.Signature{{Format: "vpc", What: "a vpc (vhd) image", Offset: 512, Length: 8}}},
		{"dmg", footer("koly"), []qcow2.Signature{{Format: "dmg", What: "a dmg image", Offset: 512, Length: 4}}},
		{"a byte after vhd", append(footer("conectix"), 0), nil},
		{"zip", zip(""), []qcow2.Signature{{Format: "zip", What: "a zip archive", Offset: 100, Length: 22}}},
		{"zip with a comment", zip("hello"), []qcow2.Signature{{Format: "zip", What: "a zip archive", Offset: 100, Length: 22}}},
		{"zip with a byte more than its comment", append(zip("hello"), 0), nil},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, slices.Collect(qcow2.TailSignatures(tt.p))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
