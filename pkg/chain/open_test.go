package chain_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

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
