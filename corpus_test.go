package main

import (
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestCorpus runs every command in every format on every image below the directory
// that QINSPECT_CORPUS names, if it names one. All must end, print what is valid,
// and leave the image as it is.
func TestCorpus(t *testing.T) {
	corpus, n := os.Getenv("QINSPECT_CORPUS"), 0
	if corpus == "" {
		return
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	err := filepath.WalkDir(corpus, func(image string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		n++
		before := fileHash(t, image)
		for _, args := range everyCommand {
			holdCommand(t, image, image, args)
		}
		if fileHash(t, image) != before {
			t.Errorf("%s has changed", image)
		}
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d images, %v", n, err)
	}
}

// fileHash returns the hash of a file.
func fileHash(t *testing.T, name string) [sha256.Size]byte {
	t.Helper()
	p, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(p)
}
