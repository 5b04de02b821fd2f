package chain_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// FuzzNames: whatever a name says, and wherever links lead, no file outside the
// allowed directories is opened.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		"base", "../secret", "/etc/passwd", "sub/../base", "up/secret", "up/images/base", "abs/base", "out", "loop", "./sub/up/up/secret",
		"sub//../../images/base", "other/../../secret", "../other/base", "../other/../secret", "json:{}", "a:b", "base\x00", "sub/link/../../secret",
	} {
		for _, allow := range []uint8{0, 1, 2} {
			f.Add(name, "top", allow)
			f.Add(name, "sub/top", allow)
			f.Add(name, "into/top", allow)
		}
	}
	dir := f.TempDir()
	images := filepath.Join(dir, "images")
	for name, allowed := range map[string]string{
		"images/base": "inside", "images/sub/base": "inside", "other/base": "inside other", "secret": "secret", "images2/base": "secret",
	} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(allowed), 0o600)); err != nil {
			f.Fatal(err)
		}
	}
	for name, target := range map[string]string{
		"up": "..", "abs": images, "out": "../secret", "loop": "loop", "sub/up": "..", "into": "sub", "sub/link": "../../other", "other": "../other",
	} {
		if err := os.Symlink(target, filepath.Join(images, name)); err != nil {
			f.Fatal(err)
		}
	}
	f.Chdir(images)
	f.Fuzz(func(t *testing.T, name, image string, allow uint8) {
		top := overlay(name, "raw").Build().Bytes
		img, err := qcow2.Open(inMemory(top), int64(len(top)))
		if err != nil {
			return
		}
		allowed := [][]string{nil, {"../other"}, {filepath.Join(dir, "other")}}[allow%3]
		if image != "top" && image != "into/top" {
			image = "sub/top"
		}
		folders, err := chain.NewFolders(image, allowed...)
		if err != nil {
			t.Fatal(err)
		}
		defer folders.Close()
		c := chain.Read(image, img, inMemory(top), chain.Options{Opener: readGuard{t, folders, len(allowed) > 0}})
		defer c.Close()
		holdSums(t, c)
	})
}

// A readGuard is an Opener that fails the test if it opens a file outside the
// allowed directories: their files say where they are.
type readGuard struct {
	t *testing.T
	chain.Opener
	other bool // the directory other is allowed
}

func (g readGuard) Open(name string) (chain.File, error) {
	f, err := g.Opener.Open(name)
	if err != nil {
		return nil, err
	}
	p := make([]byte, 64)
	n, _ := f.ReadAt(p, 0)
	if content := string(p[:n]); content != "inside" && (content != "inside other" || !g.other) {
		g.t.Errorf("%q opened %q", name, content)
	}
	return f, nil
}

// FuzzChain: whatever the layers hold, the walk ends, the mapping has no gap, and
// the shares add up.
func FuzzChain(f *testing.F) {
	for _, build := range []func(*qcow2test.Image){
		func(*qcow2test.Image) {},
		func(im *qcow2test.Image) { im.Version = 2 },
		func(im *qcow2test.Image) { im.Size = 3*512 + 100*512 },
		func(im *qcow2test.Image) {
			im.Compressed = map[uint64]qcow2test.Compressed{5: {Offset: 10, Sectors: 1}}
		},
	} {
		im := overlay("base", "qcow2")
		im.ClusterBits, im.Size = 9, 1<<16
		im.Clusters = map[uint64]qcow2test.Kind{0: qcow2test.Data, 2: qcow2test.Zero, 3: qcow2test.ZeroAllocated}
		build(&im)
		base := im
		base.BackingFile, base.Extensions = "", nil
		f.Add(im.Build().Bytes, base.Build().Bytes, true)
		f.Add(im.Build().Bytes, im.Build().Bytes, false)
	}
	f.Fuzz(func(t *testing.T, top, base []byte, both bool) {
		img, err := qcow2.Open(inMemory(top), int64(len(top)))
		if err != nil {
			return
		}
		if _, err := img.Geometry(); err != nil || img.Supported() != nil {
			return
		}
		m := memory{"base": inMemory(base)}
		if both { // also by any other name
			if name, ok, _ := img.BackingFile(); ok {
				m[name] = inMemory(base)
			}
		}
		c := chain.Read("top", img, inMemory(top), chain.Options{Opener: m, MaxDepth: 3})
		defer c.Close()
		holdSums(t, c)
	})
}
