package cmd

import (
	"errors"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
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
