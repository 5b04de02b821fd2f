//go:build unix

package chain_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/qinspect/qinspect/pkg/chain"
)

// TestPipe: a named pipe does not hold up the walk.
func TestPipe(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	write(t, ".", "top", overlay("pipe", "qcow2").Build().Bytes)
	for _, allowed := range [][]string{nil, {"/"}} {
		c, opened := follow(t, "top", 0, allowed...)
		if l := c.Layers[1]; l.Status != chain.NotAFile || l.Reason != "a named pipe, not a file or block device" || len(opened) > 0 {
			t.Errorf("%v (%s), opened %q", l.Status, l.Reason, opened)
		}
	}
}

// TestRace: a name that turns, over and over, from a file into a symbolic link that
// leads out, into a pipe and back, never has a file outside opened.
func TestRace(t *testing.T) {
	dir := t.TempDir()
	images := filepath.Join(dir, "images")
	write(t, images, "inside", []byte("inside"))
	write(t, dir, "secret", []byte("secret"))
	t.Chdir(images)
	link(t, "../secret", "out")
	if err := syscall.Mkfifo("pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	folders, err := chain.NewFolders("top")
	if err != nil {
		t.Fatal(err)
	}
	defer folders.Close()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			os.Remove("next")
			switch i % 3 {
			case 0:
				os.Link("inside", "next")
			case 1:
				os.Symlink("../secret", "next")
			case 2:
				syscall.Mkfifo("next", 0o600)
			}
			os.Rename("next", "base")
		}
	}()
	inside := 0
	for range 5000 {
		f, err := folders.Open("base")
		if err != nil { // the system has many words for a name that moves
			continue
		}
		p := make([]byte, 6)
		if _, err := f.ReadAt(p, 0); err != nil || string(p) != "inside" {
			t.Fatalf("%q, %v was read", p, err)
		}
		inside++
		f.Close()
	}
	close(stop)
	<-stopped
	t.Logf("opened %d times", inside)
}
