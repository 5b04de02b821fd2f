package chain_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

const (
	cluster       = 1 << 16
	backingFormat = 0xe2792aca // the type of the extension
	dataFileName  = 0x44415441
)

// overlay returns an image over another, whose format is declared unless it is "".
func overlay(base, format string) qcow2test.Image {
	im := qcow2test.Image{Size: 4 * cluster, BackingFile: base}
	if format != "" {
		im.Extensions = []qcow2test.Extension{{Type: backingFormat, Data: []byte(format)}}
	}
	return im
}

// write writes a file of a directory, and the directories that it lies in.
func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	name = filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link in the working directory.
func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// A recorder is an Opener that counts the files that another opens.
type recorder struct {
	chain.Opener
	opened []string
}

func (r *recorder) Open(name string) (chain.File, error) {
	f, err := r.Opener.Open(name)
	if err == nil {
		r.opened = append(r.opened, name)
	}
	return f, err
}

// follow reads the chain of a file. It returns the chain and the names that were
// opened below it.
func follow(t *testing.T, name string, maxDepth int, allowed ...string) (*chain.Chain, []string) {
	t.Helper()
	f, err := qcow2.OpenFile(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	folders, err := chain.NewFolders(name, allowed...)
	if err != nil {
		t.Fatal(err)
	}
	defer folders.Close()
	r := &recorder{Opener: folders}
	c := chain.Read(name, f.Image, f, chain.Options{Opener: r, MaxDepth: maxDepth})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, r.opened
}

// statuses returns the statuses of the layers.
func statuses(c *chain.Chain) string {
	var all []string
	for _, l := range c.Layers {
		all = append(all, l.Status.String())
	}
	return strings.Join(all, " ")
}

// holdSums holds what is always true of a chain: the shares add up to the disk, and
// the merged mapping has no gap.
func holdSums(t *testing.T, c *chain.Chain) *chain.Shares {
	t.Helper()
	s, err := c.Shares(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	sum := s.Unallocated + s.Unknown
	for _, l := range s.Layers {
		sum += l.Visible + l.VisibleZero
	}
	if size := c.Layers[0].VirtualSize; sum != size {
		t.Errorf("the shares add up to %d of %d bytes: %+v", sum, size, s)
	}
	at := uint64(0)
	for e, err := range c.Map(t.Context(), chain.MapOptions{}) {
		if err != nil {
			continue
		}
		if e.Start != at || e.Length == 0 {
			t.Fatalf("an extent at %#x, %d bytes; the one before ends at %#x", e.Start, e.Length, at)
		}
		at += e.Length
	}
	if at != c.Layers[0].VirtualSize {
		t.Errorf("the mapping ends at %#x, the disk at %#x", at, c.Layers[0].VirtualSize)
	}
	return s
}

// TestRefused: what a name can say to have another file opened, each by itself.
// Nothing is opened but what lies below the directory.
func TestRefused(t *testing.T) {
	const outside = "out of the allowed director"
	tests := []struct {
		name   string // of the backing file; DIR is the directory of the image
		status chain.Status
		reason string
	}{
		{"base", chain.Opened, ""},
		{"./sub/../base", chain.Opened, ""},
		{"DIR/base", chain.Opened, ""},
		{"inside", chain.Opened, ""},
		{"into/base", chain.Opened, ""},
		{"./a:b", chain.Opened, ""},
		{"gone", chain.Missing, "there is no such file"},
		{"base\x00qcow2", chain.NotAllowed, "NUL"},
		{`json:{"file.filename":"base"}`, chain.NotAllowed, "JSON"},
		{"file:base", chain.NotAllowed, `"file"`},
		{"file:///etc/passwd", chain.NotAllowed, `"file"`},
		{"nbd://localhost/x", chain.NotAllowed, `"nbd"`},
		{"nbd:localhost:10809", chain.NotAllowed, `"nbd"`},
		{"fat:DIR", chain.NotAllowed, `"fat"`},
		{"a:b", chain.NotAllowed, `"a"`},
		{"\x1b[31m:x", chain.NotAllowed, `"\x1b[31m"`},
		{"sub", chain.NotAFile, "a directory"},
		{".", chain.NotAFile, "a directory"},
		{"/etc/passwd", chain.NotAllowed, "outside"},
		{"/dev/zero", chain.NotAllowed, "outside"},
		{"../secret", chain.NotAllowed, outside},
		{"sub/../../secret", chain.NotAllowed, outside},
		{"DIR/../secret", chain.NotAllowed, outside},
		{"DIRx", chain.NotAllowed, "outside"},
		{"out", chain.NotAllowed, outside},
		{"outdir/secret", chain.NotAllowed, outside},
		{"absolute", chain.NotAllowed, outside},
		{"home", chain.NotAllowed, outside},
	}
	parent := t.TempDir()
	dir := filepath.Join(parent, "images")
	base := qcow2test.Image{Size: 4 * cluster}.Build().Bytes
	for _, name := range []string{"base", "a:b", "sub/base", "../secret", "../imagesx"} {
		write(t, dir, name, base)
	}
	t.Chdir(dir)
	link(t, "base", "inside")
	link(t, "sub", "into")
	link(t, "../secret", "out")
	link(t, "..", "outdir")
	link(t, filepath.Join(parent, "secret"), "absolute")
	link(t, filepath.Join(dir, "base"), "home") // back inside, and refused all the same
	for _, tt := range tests {
		write(t, dir, "top", overlay(strings.ReplaceAll(tt.name, "DIR", dir), "qcow2").Build().Bytes)
		for _, image := range []string{"top", filepath.Join(dir, "top"), "../images/top"} {
			c, opened := follow(t, image, 0)
			l := c.Layers[1]
			if l.Status != tt.status || !strings.Contains(l.Reason, tt.reason) {
				t.Errorf("%s: %q: %v (%s), want %v (%s)", image, tt.name, l.Status, l.Reason, tt.status, tt.reason)
			}
			if (len(opened) > 0) != (tt.status == chain.Opened) {
				t.Errorf("%s: %q: opened %q", image, tt.name, opened)
			}
			if (len(c.Damage) == 0) != (tt.status == chain.Opened) || c.Complete() != (tt.status == chain.Opened) {
				t.Errorf("%s: %q: damage %v, complete %v", image, tt.name, c.Damage, c.Complete())
			}
			holdSums(t, c)
		}
	}
}

// TestUnreadableName: a name that is longer than QEMU's limit, or lies past the end
// of the file, hides a layer.
func TestUnreadableName(t *testing.T) {
	for _, name := range []string{strings.Repeat("n", 1024), "past the end"} {
		im := overlay(name, "qcow2")
		if len(name) < 1000 {
			im.Patches = map[string]uint64{"backing_file_offset": 1 << 30}
		}
		t.Chdir(t.TempDir())
		write(t, ".", "top", im.Build().Bytes)
		c, _ := follow(t, "top", 0)
		if l := c.Layers[len(c.Layers)-1]; len(c.Layers) != 2 || l.Status != chain.Unreadable || l.HasName || len(c.Damage) == 0 {
			t.Errorf("%.9s: %+v, damage %v", name, l, c.Damage)
		}
		if s := holdSums(t, c); s.Unknown != 4*cluster {
			t.Errorf("%.9s: %+v, want all unknown", name, s)
		}
	}
}

// TestAllow: directories that are allowed, by any of their names.
func TestAllow(t *testing.T) {
	tests := []struct {
		image, name, allow string
		want               chain.Status
	}{
		{"top", "../bases/base", "", chain.NotAllowed},
		{"top", "../bases/base", "../bases", chain.Opened},
		{"top", "../bases/base", "DIR/bases", chain.Opened},
		{"top", "../bases/base", "..", chain.Opened},
		{"top", "../bases/base", "/", chain.Opened},
		{"top", "DIR/bases/base", "../bases", chain.Opened},
		{"top", "DIR/bases/base", "../alias", chain.Opened}, // a symbolic link to it
		{"top", "DIR/alias/base", "../alias", chain.Opened},
		{"top", "DIR/alias/base", "../bases", chain.NotAllowed}, // not the name that is allowed
		{"DIR/images/top", "../bases/base", "DIR/bases", chain.Opened},
		{"../images/top", "../bases/base", "../bases", chain.Opened},
		{"../images/top", "../bases/base", "DIR/bases", chain.Opened},
		{"../linked/top", "../bases/base", "../bases", chain.NotAllowed}, // ".." of the link's target is elsewhere
		{"../linked/top", "../bases/base", "..", chain.Missing},
		{"top", "farm", "..", chain.NotAllowed}, // a symbolic link out of one directory, into another
		{"top", "farm", "/", chain.Opened},
		{"top", "/dev/zero", "/dev", chain.NotAFile},
		{"top", "/dev/zero", "/", chain.NotAFile},
	}
	dir := t.TempDir()
	base := qcow2test.Image{Size: 4 * cluster}.Build().Bytes
	write(t, dir, "bases/base", base)
	write(t, dir, "deep/er/x", nil)
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "images"))
	link(t, "bases", "../alias")
	link(t, "deep/er", "../linked")
	link(t, filepath.Join(dir, "bases", "base"), "farm")
	for _, tt := range tests {
		place := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
		write(t, "", place(tt.image), overlay(place(tt.name), "qcow2").Build().Bytes)
		var allowed []string
		if tt.allow != "" {
			allowed = []string{place(tt.allow)}
		}
		c, _ := follow(t, place(tt.image), 0, allowed...)
		if l := c.Layers[1]; l.Status != tt.want {
			t.Errorf("%s over %s, allowed %q: %v (%s), want %v", tt.image, tt.name, tt.allow, l.Status, l.Reason, tt.want)
		}
	}
}

// TestLoops: files that name each other, by whatever names, are opened once more at
// most.
func TestLoops(t *testing.T) {
	tests := []struct {
		files map[string]string // name → backing file
		want  string
		opens int
	}{
		{map[string]string{"top": "top"}, "opened loop", 0},
		{map[string]string{"top": "./top"}, "opened loop", 0},
		{map[string]string{"top": ".//./top"}, "opened loop", 0},
		{map[string]string{"top": "sub/../top"}, "opened loop", 1},
		{map[string]string{"top": "other", "other": "top"}, "opened opened loop", 1},
		{map[string]string{"top": "DIR/other", "other": "DIR/top"}, "opened opened loop", 2},
		{map[string]string{"top": "hard"}, "opened loop", 1},
		{map[string]string{"top": "other", "other": "hard"}, "opened opened loop", 2},
		{map[string]string{"top": "soft"}, "opened loop", 1},
		{map[string]string{"top": "other", "other": "other"}, "opened opened loop", 1},
	}
	for _, tt := range tests {
		dir := t.TempDir()
		t.Chdir(dir)
		write(t, dir, "sub/x", nil)
		for name, base := range tt.files {
			write(t, dir, name, overlay(strings.ReplaceAll(base, "DIR", dir), "qcow2").Build().Bytes)
		}
		link(t, "top", "soft")
		if err := os.Link("top", "hard"); err != nil {
			t.Fatal(err)
		}
		c, opened := follow(t, "top", 0)
		if got := statuses(c); got != tt.want || len(opened) != tt.opens {
			t.Errorf("%v: %s, opened %q; want %s, %d opened", tt.files, got, opened, tt.want, tt.opens)
		}
		if s := holdSums(t, c); s.Unknown != 4*cluster {
			t.Errorf("%v: %+v, want all unknown", tt.files, s)
		}
	}
}

// TestDepth: 65 layers are one more than are opened, and 400 can be.
func TestDepth(t *testing.T) {
	t.Chdir(t.TempDir())
	for i := range 400 {
		im := overlay(fmt.Sprintf("%d", i+1), "qcow2")
		if i == 399 {
			im = qcow2test.Image{Size: 4 * cluster, Clusters: map[uint64]qcow2test.Kind{1: qcow2test.Data}}
		}
		write(t, ".", fmt.Sprint(i), im.Build().Bytes)
	}
	c, opened := follow(t, "0", 0)
	if l := c.Layers[64]; len(c.Layers) != 65 || l.Status != chain.TooDeep || len(opened) != 63 {
		t.Errorf("%d layers, the last %v, %d opened", len(c.Layers), c.Layers[len(c.Layers)-1].Status, len(opened))
	}
	c, _ = follow(t, "0", 400)
	if s := holdSums(t, c); len(c.Layers) != 400 || !c.Complete() || s.Layers[399].Visible != cluster {
		t.Errorf("%d layers, complete %v, visible of the base %d", len(c.Layers), c.Complete(), s.Layers[399].Visible)
	}
}

// TestSymbolicLink: the backing file of an image that was opened through a link is
// beside the link, as QEMU has it.
func TestSymbolicLink(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "real", "top", overlay("base", "qcow2").Build().Bytes)
	write(t, "real", "base", qcow2test.Image{Size: 4 * cluster}.Build().Bytes)
	write(t, "links", "x", nil)
	link(t, "../real/top", "links/top")
	c, _ := follow(t, "links/top", 0)
	if l := c.Layers[1]; l.Status != chain.Missing || l.Filename != "links/base" {
		t.Errorf("%v, %s", l.Status, l.Filename)
	}
	write(t, "links", "base", qcow2test.Image{Size: 2 * cluster}.Build().Bytes)
	c, _ = follow(t, "links/top", 0)
	if l := c.Layers[1]; l.Status != chain.Opened || l.VirtualSize != 2*cluster {
		t.Errorf("%v, %d bytes: not the file beside the link", l.Status, l.VirtualSize)
	}
}

// TestParentOfLink: ".." after a symbolic link in the name of the image or of an
// allowed directory is the parent of the link's target, and no absolute name leads
// there that only looks as if it did.
func TestParentOfLink(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "", "base", qcow2test.Image{Size: 4 * cluster}.Build().Bytes)
	write(t, "", "real/base", qcow2test.Image{Size: 2 * cluster}.Build().Bytes)
	write(t, "", "real/deep/x", nil)
	link(t, "real/deep", "sub")
	for _, tt := range []struct {
		image, name string // DIR is the working directory
		allowed     []string
		want        chain.Status
	}{
		{"sub/../top", "DIR/base", nil, chain.NotAllowed},
		{"sub/../top", "DIR/real/base", nil, chain.Opened},
		{"real/deep/top", "DIR/base", []string{"sub/.."}, chain.NotAllowed},
		{"real/deep/top", "DIR/real/base", []string{"sub/.."}, chain.Opened},
		{"real/deep/top", "DIR/real/base", []string{"DIR/sub/.."}, chain.Opened},
	} {
		place := func(s string) string { return strings.ReplaceAll(s, "DIR", dir) }
		write(t, "real", "top", overlay(place(tt.name), "qcow2").Build().Bytes)
		write(t, "real/deep", "top", overlay(place(tt.name), "qcow2").Build().Bytes)
		for i := range tt.allowed {
			tt.allowed[i] = place(tt.allowed[i])
		}
		c, _ := follow(t, tt.image, 0, tt.allowed...)
		l := c.Layers[1]
		if l.Status != tt.want || l.Status == chain.Opened && l.VirtualSize != 2*cluster {
			t.Errorf("%s over %s, allowed %q: %v (%s), %d bytes; want %v", tt.image, tt.name, tt.allowed, l.Status, l.Reason, l.VirtualSize, tt.want)
		}
	}
}

// TestFormats: a format that is declared wins over what the file looks like.
func TestFormats(t *testing.T) {
	qcow := qcow2test.Image{Size: 4 * cluster}.Build().Bytes
	vmdk := append([]byte("KDMV"), make([]byte, 1020)...)
	fixed := append(make([]byte, 1024), append([]byte("conectix"), make([]byte, 504)...)...)
	luks := append([]byte("LUKS\xba\xbe\x00\x01"), make([]byte, 1016)...)
	tests := []struct {
		content  []byte
		declared string
		status   chain.Status
		format   string
		probed   bool
		reason   string
		remarks  []chain.RemarkKind
	}{
		{qcow, "qcow2", chain.Opened, "qcow2", false, "", nil},
		{qcow, "", chain.Opened, "qcow2", true, "", []chain.RemarkKind{chain.FormatUndeclared}},
		{qcow, "raw", chain.Opened, "raw", false, "", []chain.RemarkKind{chain.FormatContradicted}},
		{make([]byte, 1000), "raw", chain.Opened, "raw", false, "", []chain.RemarkKind{chain.SizesDiffer}},
		{nil, "raw", chain.Opened, "raw", false, "", []chain.RemarkKind{chain.SizesDiffer}},
		{make([]byte, 1000), "", chain.Opened, "raw", true, "", []chain.RemarkKind{chain.FormatUndeclared, chain.SizesDiffer}},
		{fixed, "", chain.Opened, "raw", true, "", []chain.RemarkKind{chain.FormatUndeclared, chain.SizesDiffer}},
		{make([]byte, 1000), "qcow2", chain.Unreadable, "raw", false, "looks like raw", nil},
		{vmdk, "qcow2", chain.Unreadable, "vmdk", false, "looks like vmdk", nil},
		{qcow[:50], "qcow2", chain.Unreadable, "qcow2", false, "72", nil},
		{vmdk, "vmdk", chain.Opaque, "vmdk", false, `"vmdk"`, nil},
		{vmdk, "", chain.Opaque, "vmdk", true, "looks like vmdk", []chain.RemarkKind{chain.FormatUndeclared}},
		{luks, "", chain.Opaque, "luks", true, "looks like luks", []chain.RemarkKind{chain.FormatUndeclared}},
		{[]byte("#x\nversion=1\n"), "", chain.Opaque, "vmdk", true, "looks like vmdk", []chain.RemarkKind{chain.FormatUndeclared}},
		{[]byte("Bochs Virtual HD Image"), "", chain.Opaque, "bochs", true, "looks like bochs", []chain.RemarkKind{chain.FormatUndeclared}},
		{[]byte("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"), "", chain.Opaque, "cloop", true, "looks like cloop", []chain.RemarkKind{chain.FormatUndeclared}},
		{qcow, "nbd", chain.Opaque, "qcow2", false, `"nbd", and looks like qcow2`, nil},
		{qcow, "fo\x1bo", chain.Opaque, "qcow2", false, `"fo\x1bo"`, nil},
	}
	for _, tt := range tests {
		t.Chdir(t.TempDir())
		write(t, ".", "base", tt.content)
		write(t, ".", "top", overlay("base", tt.declared).Build().Bytes)
		c, _ := follow(t, "top", 0)
		l := c.Layers[1]
		if l.Status != tt.status || l.Format != tt.format || l.Probed != tt.probed || !strings.Contains(l.Reason, tt.reason) {
			t.Errorf("%.4q declared %q: %v, format %q, probed %v, reason %q", tt.content, tt.declared, l.Status, l.Format, l.Probed, l.Reason)
		}
		var kinds []chain.RemarkKind
		for _, r := range c.Remarks {
			kinds = append(kinds, r.Kind)
		}
		if !slices.Equal(kinds, tt.remarks) {
			t.Errorf("%.4q declared %q: remarks %v, want %v", tt.content, tt.declared, kinds, tt.remarks)
		}
		holdSums(t, c)
	}
}

// TestDMG: QEMU takes a file of this name for an image of that format.
func TestDMG(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, ".", "base.dmg", make([]byte, 1024))
	for declared, want := range map[string]chain.Status{"": chain.Opaque, "raw": chain.Opened} {
		write(t, ".", "top", overlay("base.dmg", declared).Build().Bytes)
		c, _ := follow(t, "top", 0)
		if l := c.Layers[1]; l.Status != want {
			t.Errorf("declared %q: %v, format %q", declared, l.Status, l.Format)
		}
	}
}

// TestBrokenMiddle: what is wrong with a layer in the middle hides nothing above it,
// and nothing of what it hides is known.
func TestBrokenMiddle(t *testing.T) {
	data := map[uint64]qcow2test.Kind{1: qcow2test.Data}
	tests := []struct {
		what     string
		mid      func(*qcow2test.Image) bool // false: there is none
		statuses string
		unknown  uint64
		errors   int
	}{
		{"healthy", func(*qcow2test.Image) bool { return true }, "opened opened opened", 0, 0},
		{"missing", func(*qcow2test.Image) bool { return false }, "opened missing", 3 * cluster, 1},
		{"unknown bit", func(im *qcow2test.Image) bool { im.IncompatibleFeatures = 1 << 40; return true }, "opened unreadable", 3 * cluster, 1},
		{"encrypted", func(im *qcow2test.Image) bool { im.CryptMethod = 1; return true }, "opened opened opened", 0, 0},
		{"corrupt bit", func(im *qcow2test.Image) bool { im.IncompatibleFeatures = 2; return true }, "opened opened opened", 0, 0},
		{"no L1 table", func(im *qcow2test.Image) bool {
			im.Patches = map[string]uint64{"l1_table_offset": 0x123}
			return true
		}, "opened opened opened", 3 * cluster, 0},
		{"no data file", func(im *qcow2test.Image) bool {
			im.IncompatibleFeatures = 4
			im.Extensions = append(im.Extensions, qcow2test.Extension{Type: dataFileName, Data: []byte("gone.raw")})
			return true
		}, "opened opened opened", 0, 1},
	}
	for _, tt := range tests {
		t.Chdir(t.TempDir())
		top := overlay("mid", "qcow2")
		top.Clusters = map[uint64]qcow2test.Kind{0: qcow2test.Data}
		write(t, ".", "top", top.Build().Bytes)
		mid := overlay("base", "qcow2")
		mid.Clusters = data
		if tt.mid(&mid) {
			write(t, ".", "mid", mid.Build().Bytes)
		}
		write(t, ".", "base", qcow2test.Image{Size: 4 * cluster, Clusters: map[uint64]qcow2test.Kind{1: qcow2test.Data, 2: qcow2test.Zero}}.Build().Bytes)
		c, _ := follow(t, "top", 0)
		s := holdSums(t, c)
		if got := statuses(c); got != tt.statuses || s.Unknown != tt.unknown || len(c.Damage) != tt.errors || s.Layers[0].Visible != cluster {
			t.Errorf("%s: %s, %d unknown, damage %v, %d visible of the top; want %s, %d, %d errors", tt.what, got, s.Unknown, c.Damage, s.Layers[0].Visible, tt.statuses, tt.unknown, tt.errors)
		}
		if known := tt.unknown == 0; known != s.HasFlatten || known && s.Layers[2].Hidden != cluster {
			t.Errorf("%s: flatten known %v, %+v", tt.what, s.HasFlatten, s.Layers)
		}
		for _, err := range c.Damage {
			if e, ok := errors.AsType[*chain.Error](err); !ok || e.Depth != 1 {
				t.Errorf("%s: %v is not about layer 1", tt.what, err)
			}
		}
	}
}

// TestDataFile: the data file of a layer is looked for in the directory of the
// layer, by the rules for names, and never opened.
func TestDataFile(t *testing.T) {
	for name, want := range map[string]chain.Status{
		"disk.raw": chain.Opened, "gone.raw": chain.Missing, "../secret": chain.NotAllowed, "nbd:x": chain.NotAllowed, "sub": chain.NotAFile,
	} {
		t.Chdir(t.TempDir())
		im := qcow2test.Image{Size: 4 * cluster, IncompatibleFeatures: 4, Extensions: []qcow2test.Extension{{Type: dataFileName, Data: []byte(name)}}}
		write(t, "images", "top", im.Build().Bytes)
		write(t, "images", "disk.raw", make([]byte, 100))
		write(t, "images/sub", "x", nil)
		write(t, ".", "secret", nil)
		c, opened := follow(t, "images/top", 0)
		d := c.Layers[0].DataFile
		if d.Status != want || c.Complete() != (want == chain.Opened) || len(opened) > 0 || (want == chain.Opened && d.FileSize != 100) {
			t.Errorf("%s: %+v, complete %v, opened %q; want %v", name, d, c.Complete(), opened, want)
		}
	}
}

// TestShares: what each layer contributes, with what is hidden and past the end.
func TestShares(t *testing.T) {
	t.Chdir(t.TempDir())
	top := overlay("mid", "qcow2")
	top.Clusters = map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Zero}
	write(t, ".", "top", top.Build().Bytes)
	mid := overlay("base", "qcow2")
	mid.Size, mid.Clusters = 6*cluster, map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 2: qcow2test.ZeroAllocated, 5: qcow2test.Data}
	write(t, ".", "mid", mid.Build().Bytes)
	write(t, ".", "base", qcow2test.Image{Size: 8 * cluster, Clusters: map[uint64]qcow2test.Kind{2: qcow2test.Data, 3: qcow2test.Data, 7: qcow2test.Data}}.Build().Bytes)
	c, _ := follow(t, "top", 0)
	want := &chain.Shares{
		Layers: []chain.Share{
			{Visible: cluster, VisibleZero: cluster, Known: true, Commit: &chain.Commit{Moves: cluster, Allocates: 0, Frees: cluster}},
			{VisibleZero: cluster, Hidden: 2 * cluster, Beyond: 2 * cluster, Known: true, Commit: &chain.Commit{Moves: 3 * cluster, Allocates: 3 * cluster, Frees: cluster}},
			{Visible: cluster, Hidden: cluster, Beyond: 4 * cluster, Known: true},
		},
		Flatten: cluster, HasFlatten: true,
	}
	if diff := cmp.Diff(want, holdSums(t, c)); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
}

// TestNotFollowed: without an Opener a chain ends with the name of the layer below.
func TestNotFollowed(t *testing.T) {
	for name, want := range map[string]chain.Status{"base": chain.NotFollowed, "nbd://x": chain.NotAllowed} {
		b := overlay(name, "qcow2").Build()
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		c := chain.Read("dir/top", img, nil, chain.Options{})
		if l := c.Layers[1]; l.Status != want || len(c.Damage) > 0 || c.Followed() || want == chain.NotFollowed && l.Filename != "dir/base" {
			t.Errorf("%s: %v as %s, damage %v", name, l.Status, l.Filename, c.Damage)
		}
		holdSums(t, c)
	}
}

// TestDependents: who names a base, as a backing file or a data file, by whatever
// name leads there.
func TestDependents(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	base := qcow2test.Image{Size: 4 * cluster}.Build().Bytes
	write(t, dir, "bases/base", base)
	write(t, dir, "bases/other", base)
	for name, backing := range map[string]string{
		"vms/a": "../bases/base", "vms/b": dir + "/bases/base", "vms/c": "../bases/other", "vms/deep/d": "../../bases/base",
		"vms/e": "file:../bases/base", "vms/f": "/elsewhere/base", "vms/g": "gone", "vms/h": "../bases/alias",
	} {
		write(t, dir, name, overlay(backing, "qcow2").Build().Bytes)
	}
	link(t, "base", "bases/alias")
	link(t, "a", "vms/z")
	write(t, dir, "vms/text", []byte("no image"))
	info, err := os.Stat("bases/base")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := chain.NewFolders("bases/base", "vms")
	if err != nil {
		t.Fatal(err)
	}
	defer folders.Close()
	s := &chain.Search{Base: info, Name: "bases/base", Opener: folders}
	if err := s.Below(t.Context(), "vms"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range s.Found {
		got = append(got, d.Filename)
	}
	if diff := cmp.Diff([]string{"vms/a", "vms/b", "vms/deep/d", "vms/h", "vms/z"}, got); diff != "" {
		t.Errorf("dependents (-want +got):\n%s", diff)
	}
	if len(s.Remarks) != 2 || len(s.Damage) != 0 {
		t.Errorf("remarks %v, damage %v; want two remarks, about e and f", s.Remarks, s.Damage)
	}
	if err := s.Below(t.Context(), "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}

// TestDirtyUnknown: what a bitmap of any layer may have dirty is not clean, unless
// that of another layer says that it is dirty.
func TestDirtyUnknown(t *testing.T) {
	dir := t.TempDir()
	bits := func(at int) map[int][]byte { return map[int][]byte{at: {1}} }
	top := overlay("base", "qcow2")
	base := qcow2test.Image{}
	for _, im := range []*qcow2test.Image{&top, &base} {
		im.ClusterBits, im.Size = 9, 6<<20
		im.Bitmaps = []qcow2test.Bitmap{{Name: "b", GranularityBits: 9, Flags: 2, Table: []uint64{0, 0, 0}, Data: bits(0)}}
	}
	base.Bitmaps[0].Data = map[int][]byte{1: {2}, 2: {1}}
	broken := top.Build()
	broken.Set("bitmap[0].table[1]", 1<<40)
	write(t, dir, "top", broken.Bytes)
	write(t, dir, "base", base.Build().Bytes)
	c, _ := follow(t, filepath.Join(dir, "top"), 9)
	p, err := c.Checkpoint("b")
	if err != nil || len(p.Bitmaps) != 2 {
		t.Fatal(p, err)
	}
	var rows []string
	for e, err := range c.Dirty(t.Context(), chain.DirtyOptions{Checkpoint: p, All: true}) {
		if err != nil {
			rows = append(rows, "error")
			continue
		}
		rows = append(rows, fmt.Sprintf("%d+%d %t", e.Start, e.Length, e.Dirty))
	}
	const want = "error, 0+512 true, 512+2096640 false, 2097664+512 true, 4194304+512 true, 4194816+2096640 false"
	if got := strings.Join(rows, ", "); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
