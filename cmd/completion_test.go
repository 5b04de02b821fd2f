package cmd

import (
	"fmt"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestSnapshotWordsBounded: however many snapshots an image has, and however
// long their names, a list of completions stays one that can be looked at.
func TestSnapshotWordsBounded(t *testing.T) {
	all := make([]qcow2test.Snapshot, completedNames+100)
	for i := range all {
		all[i] = qcow2test.Snapshot{ID: fmt.Sprint(i), Name: strings.Repeat("\x1b", 2000)}
	}
	all[0].ID = strings.Repeat("a", 256)
	all[1].ID = strings.Repeat("a", 255)
	all[2].ID = "-o"
	b := qcow2test.Image{ClusterBits: 16, Snapshots: all}.Build()
	img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	words := snapshotWords(img)
	if len(words) != completedNames {
		t.Errorf("%d words of %d snapshots", len(words), len(all))
	}
	for i, want := range []string{"@0", all[1].ID, "@2", "3"} {
		if word, _, _ := strings.Cut(words[i], "\t"); word != want {
			t.Errorf("word %d is %q, want %q", i, word, want)
		}
	}
	for _, word := range words {
		if len(word) > 512 || strings.Contains(word, "\x1b") {
			t.Fatalf("%q", word)
		}
	}
}
