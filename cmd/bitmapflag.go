package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A bitmapFlag is a flag that selects a bitmap by its name or "@N".
type bitmapFlag struct {
	name  string
	given bool
}

func (b *bitmapFlag) String() string { return b.name }
func (b *bitmapFlag) Type() string   { return "string" }

// Set takes any name.
func (b *bitmapFlag) Set(name string) error {
	*b = bitmapFlag{name, true}
	return nil
}

// find returns the selected bitmap of an image, the only one if the flag was not
// given.
func (b *bitmapFlag) find(img *qcow2.Image) (*qcow2.Bitmap, error) {
	name := b.name
	if !b.given {
		name = "@0"
		if names := bitmapNames(img); len(names) > 1 {
			return nil, &hintError{fmt.Errorf("the image has %d bitmaps", len(names)), "--bitmap says which"}
		}
	}
	found, err := img.FindBitmap(name)
	switch {
	case errors.Is(err, qcow2.ErrNoBitmap) && !b.given:
		return nil, fmt.Errorf("%w: the image has no bitmaps", qcow2.ErrNoTable)
	case err != nil:
		return nil, err
	}
	return &found, nil
}

// A bitmapsFlag is a flag that selects bitmaps by their names or "@N", one each time
// that it is given.
type bitmapsFlag []string

const bitmapsUsage = "what is dirty in a bitmap, by name or @position;\ncan be repeated"

func (f *bitmapsFlag) String() string { return strings.Join(*f, ",") }
func (f *bitmapsFlag) Type() string   { return "string" }

// Set takes any name.
func (f *bitmapsFlag) Set(name string) error {
	*f = append(*f, name)
	return nil
}

// find returns the selected bitmaps of an image. The error is the first that one is
// not found for.
func (f *bitmapsFlag) find(img *qcow2.Image) ([]qcow2.Bitmap, error) {
	var all []qcow2.Bitmap
	for _, name := range *f {
		b, err := img.FindBitmap(name)
		if err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

// asBitmapDirectory returns an error that is about the bitmap directory, or the
// extension that points to it.
func asBitmapDirectory(err error) (*qcow2.Error, bool) {
	e, ok := errors.AsType[*qcow2.Error](err)
	return e, ok && (e.Section == qcow2.SectionBitmapDirectory || e.Section == qcow2.SectionExtensions)
}

// completeBitmaps completes the bitmaps of the image on the command line.
func (a *app) completeBitmaps(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFrom(args, bitmapWords)
}

// bitmapWords returns the names of the first bitmaps, each with a description. One that
// cannot be typed as it is, or selects no bitmap alone, goes by its position.
func bitmapWords(img *qcow2.Image) []cobra.Completion {
	var all []qcow2.Bitmap
	names := map[string]int{}
	for b, err := range img.Bitmaps() {
		if err != nil || len(all) == completedNames {
			break
		}
		all = append(all, b)
		names[b.Name]++
	}
	var words []cobra.Completion
	for i := range all {
		b := &all[i]
		about := img.BitmapState(b).String()
		if at := fmt.Sprintf("@%d", b.Index); names[b.Name] == 1 && isPlainWord(b.Name) {
			words = append(words, cobra.CompletionWithDesc(b.Name, about))
		} else if names[at] == 0 {
			words = append(words, cobra.CompletionWithDesc(at, shortened(render.Escape(b.Name))+", "+about))
		}
	}
	return words
}
