package qcow2_test

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A foreignFile has a signature at an offset, and zeros elsewhere.
type foreignFile struct {
	offset, size int
	text         string
	format       qcow2.ForeignFormat
	words        string // after "this is"
}

func (f foreignFile) bytes() []byte {
	p := make([]byte, f.size)
	copy(p[f.offset:], f.text)
	return p
}

var foreignFiles = map[string]foreignFile{
	"qcow":            {0, 48, "QFI\xfb\x00\x00\x00\x01", "qcow", "a qcow image, version 1 of the format"},
	"vmdk sparse":     {0, 512, "KDMV\x01\x00\x00\x00", "vmdk", "a vmdk image"},
	"vmdk ESX":        {0, 512, "COWD\x01\x00\x00\x00", "vmdk", "a vmdk image"},
	"vmdk descriptor": {0, 64, "# Disk DescriptorFile\nversion=1\n", "vmdk", "a vmdk descriptor, which names the files of the image"},
	"vmdk version":    {0, 512, "#" + strings.Repeat("c", 300) + "\r\n  \nversion=2\r\n", "vmdk", "a vmdk descriptor, which names the files of the image"},
	"bochs":           {0, 512, "Bochs Virtual HD Image", "bochs", "a bochs image"},
	"cloop":           {0, 136, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n", "cloop", "a cloop image"},
	"vhdx":            {0, 1 << 16, "vhdxfileQ\x00E\x00", "vhdx", "a vhdx image"},
	"vpc dynamic":     {0, 1024, "conectix\x00\x00\x00\x02", "vpc", "a vpc (vhd) image"},
	"vpc fixed":       {4096, 4096 + 512, "conectix\x00\x00\x00\x02", "vpc", "a vpc (vhd) image of fixed size"},
	"vdi":             {0x40, 512, "\x7f\x10\xda\xbe\x01\x00\x01\x00", "vdi", "a vdi image"},
	"qed":             {0, 64, "QED\x00\x00\x00\x01\x00", "qed", "a qed image"},
	"luks":            {0, 592, "LUKS\xba\xbe\x00\x02", "luks", "a LUKS volume"},
	"gzip":            {0, 20, "\x1f\x8b\x08\x00", "gzip", "a gzip-compressed file"},
	"bzip2":           {0, 14, "BZh91AY&SY", "bzip2", "a bzip2-compressed file"},
	"xz":              {0, 32, "\xfd7zXZ\x00\x00\x04", "xz", "an xz-compressed file"},
	"zstd":            {0, 13, "\x28\xb5\x2f\xfd\x24\x00", "zstd", "a zstd-compressed file"},
	"tar":             {257, 10240, "ustar\x0000", "tar", "a tar archive"},
	"iso":             {32769, 1 << 16, "CD001\x01\x00", "iso", "an ISO 9660 image"},
	"raw GPT":         {512, 1 << 16, "EFI PART\x00\x00\x01\x00", "raw", "a raw disk image, with a GPT"},
	"raw GPT 4K":      {4096, 1 << 16, "EFI PART\x00\x00\x01\x00", "raw", "a raw disk image, with a GPT"},
	"raw MBR":         {510, 512, "\x55\xaa", "raw", "a raw disk image, with a boot sector"},
}

// openForeign opens a file that is no qcow2 image.
func openForeign(t *testing.T, p []byte) *qcow2.Error {
	t.Helper()
	b := qcow2test.Built{Bytes: p}
	img, err := qcow2.Open(b.Reader(), int64(len(p)))
	if img != nil {
		t.Fatal("it is opened as a qcow2 image")
	}
	e := asError(t, err)
	if !errors.Is(err, qcow2.ErrNotQcow2) || errors.Is(err, qcow2.ErrUnsupported) || e.Section != qcow2.SectionHeader || e.Offset != 0 {
		t.Errorf("error %v of kind %v", e, e.Kind)
	}
	return e
}

func TestForeignFormats(t *testing.T) {
	for name, f := range foreignFiles {
		t.Run(name, func(t *testing.T) {
			e := openForeign(t, f.bytes())
			if want := "not a qcow2 image: this is " + f.words; e.Detail != want {
				t.Errorf("detail %q, want %q", e.Detail, want)
			}
			if got, ok := errors.AsType[qcow2.ForeignFormat](e); got != f.format || !ok {
				t.Errorf("format %q, want %q", got, f.format)
			}
		})
	}
}

// TestForeignFormatsCut: a format is recognised if the file ends right after the
// signature, and not if it ends inside. The signature of a fixed vpc image is
// looked for from the end.
func TestForeignFormatsCut(t *testing.T) {
	for name, f := range foreignFiles {
		if name == "vpc fixed" {
			continue
		}
		for n := range 600 {
			p := f.bytes()[:min(n, f.size)]
			b := qcow2test.Built{Bytes: p}
			_, err := qcow2.Open(b.Reader(), int64(len(p)))
			format, ok := errors.AsType[qcow2.ForeignFormat](err)
			if ok && (format != f.format || n <= f.offset) {
				t.Errorf("%s, cut to %d bytes, is a %s file", name, n, format)
			}
			if whole := n >= f.offset+len(f.text); whole && !ok {
				t.Errorf("%s is not recognised by its first %d bytes", name, n)
			}
		}
	}
	for n := range 520 { // only the end of a footer
		p := append([]byte("conectix"), make([]byte, 512)...)[8:][:n]
		if format, ok := errors.AsType[qcow2.ForeignFormat](openForeign(t, p)); ok {
			t.Errorf("%d zeros are a %s file", n, format)
		}
	}
}

// TestForeignFormatOrder: of several signatures the more specific one decides, and
// a qcow2 image may contain any.
func TestForeignFormatOrder(t *testing.T) {
	put := func(p []byte, names ...string) []byte {
		for _, name := range names {
			copy(p[foreignFiles[name].offset:], foreignFiles[name].text)
		}
		return p
	}
	for name, test := range map[string]struct {
		p    []byte
		want qcow2.ForeignFormat
	}{
		"iso with an MBR and a GPT": {put(make([]byte, 1<<16), "iso", "raw MBR", "raw GPT"), "iso"},
		"GPT with an MBR":           {put(make([]byte, 1<<16), "raw MBR", "raw GPT"), "raw"},
		"fixed vpc with an MBR":     {put(make([]byte, 4096+512), "raw MBR", "vpc fixed"), "vpc"},
		"vdi with an MBR":           {put(make([]byte, 1<<16), "raw MBR", "vdi"), "vdi"},
	} {
		if e := openForeign(t, test.p); !errors.Is(e, test.want) {
			t.Errorf("%s is a %v", name, e.Kind)
		}
	}
	b := qcow2test.Image{Size: 1 << 20}.Build()
	put(b.Bytes, "tar", "raw MBR", "raw GPT", "raw GPT 4K")
	open(t, b)
	b.Set("version", 4)
	if _, err := qcow2.Open(b.Reader(), int64(len(b.Bytes))); !errors.Is(err, qcow2.ErrUnsupported) {
		t.Errorf("version 4: %v", err)
	}
}

// TestForeignFormatReads: a signature after the first 112 bytes costs a read of its
// own length, and one that cannot be read counts as absent.
func TestForeignFormatReads(t *testing.T) {
	b := qcow2test.Built{Bytes: make([]byte, 1<<20)}
	r := &countingReader{ReaderAt: b.Reader()}
	if _, err := qcow2.Open(r, 1<<20); !errors.Is(err, qcow2.ErrNotQcow2) {
		t.Errorf("Open = %v", err)
	}
	if r.calls > 8 || r.bytes > 112+64 {
		t.Errorf("%d bytes read in %d calls", r.bytes, r.calls)
	}
	_, err := qcow2.Open(failingReader{b.Reader(), 112, errors.New("broken disk")}, 1<<20)
	if want := "not a qcow2 image: it begins with 00000000, not 514649fb"; asError(t, err).Detail != want {
		t.Errorf("Open = %v, want %s", err, want)
	}
}

// TestForeignFormatsOfQEMU holds the names against those that qemu-img has for
// the images that it makes.
func TestForeignFormatsOfQEMU(t *testing.T) {
	needQEMU(t)
	for _, args := range []string{
		"-f vmdk", "-f vmdk -o subformat=twoGbMaxExtentSparse", "-f vmdk -o subformat=monolithicFlat", "-f vmdk -o subformat=streamOptimized",
		"-f vhdx", "-f vpc", "-f vdi", "-f qcow", "-f qed",
	} {
		t.Run(args, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image")
			create := append(append([]string{"create", "-q"}, strings.Fields(args)...), file, "1M")
			if out, err := exec.CommandContext(t.Context(), "qemu-img", create...).CombinedOutput(); err != nil {
				t.Skipf("this qemu-img cannot make one: %s", out)
			}
			out, err := exec.CommandContext(t.Context(), "qemu-img", "info", "--output=json", file).Output()
			var info struct{ Format string }
			if err := errors.Join(err, json.Unmarshal(out, &info)); err != nil {
				t.Fatal(err)
			}
			_, err = qcow2.OpenFile(file)
			format, _ := errors.AsType[qcow2.ForeignFormat](err)
			if diff := cmp.Diff(info.Format, string(format)); diff != "" {
				t.Errorf("format (-qemu-img +OpenFile):\n%s\n%v", diff, err)
			}
		})
	}
}
