package chain_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
