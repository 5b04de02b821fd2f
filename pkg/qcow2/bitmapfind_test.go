package qcow2_test

import (
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestFindBitmap has names that select one bitmap, none or several.
func TestFindBitmap(t *testing.T) {
	three := qcow2test.Image{Size: 1 << 20, Bitmaps: []qcow2test.Bitmap{{Name: "a"}, {Name: "@0"}, {Name: "a"}}}
	for _, test := range []struct {
		image qcow2test.Image
		name  string
		index int // -1: an error
		words string
	}{
		{three, "@0", 1, ""},
		{three, "@2", 2, ""},
		{three, "a", -1, `several bitmaps match "a": @0 (name "a"), @2 (name "a")`},
		{three, "b", -1, `no bitmap "b"; there are @0 (name "a"), @1 (name "@0"), @2 (name "a")`},
		{three, "@3", -1, `no bitmap "@3"; there are @0`},
		{qcow2test.Image{Size: 1 << 20}, "a", -1, `no bitmap "a": the image has none`},
		{qcow2test.Image{Size: 1 << 20, Version: 2}, "a", -1, `no bitmap "a": an image of version 2 cannot have any`},
	} {
		b, err := open(t, test.image.Build()).FindBitmap(test.name)
		switch {
		case test.index >= 0 && (err != nil || b.Index != test.index):
			t.Errorf("%s: bitmap %d, %v; want %d", test.name, b.Index, err, test.index)
		case test.index < 0 && (err == nil || !strings.HasPrefix(err.Error(), test.words)):
			t.Errorf("%s: %v, want %q", test.name, err, test.words)
		}
	}
	broken := twoBitmaps().Build()
	broken.Set("extension[0].data[0]", 3<<32)
	if _, err := open(t, broken).FindBitmap("c"); asError(t, err).Section != qcow2.SectionBitmapDirectory {
		t.Errorf("a broken directory: %v", err)
	}
}
