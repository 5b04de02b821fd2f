package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPictureOfREADME holds that the drawing that the README shows is what plot
// draws. With -update it is drawn again.
func TestPictureOfREADME(t *testing.T) {
	t.Chdir(fixtures)
	drawn := runOn(t, "snapshots.qcow2", "plot", "-o", "svg")
	t.Chdir(filepath.Join("..", ".."))
	name := filepath.Join("docs", "pictures", "readme.svg")
	if *update {
		if err := os.WriteFile(name, []byte(drawn.stdout), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shown, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(shown), drawn.stdout); diff != "" {
		t.Errorf("%s (-file +plot):\n%s", name, diff)
	}
}

// TestPicturesThere holds that the drawings that documents show are there.
func TestPicturesThere(t *testing.T) {
	shown := 0
	for _, document := range []string{"README.md", "docs/plot.md"} {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`!\[[^]]*\]\(([^)]*)\)`).FindAllSubmatch(text, -1) {
			shown++
			if _, err := os.Stat(filepath.Join(filepath.Dir(document), string(m[1]))); err != nil {
				t.Errorf("%s: %v", document, err)
			}
		}
	}
	if shown < 9 {
		t.Errorf("%d drawings are shown, want 9", shown)
	}
}
