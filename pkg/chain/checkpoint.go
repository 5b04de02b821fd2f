package chain

import (
	"errors"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A Checkpoint is the bitmaps of one name in the layers of a chain: libvirt keeps
// one in each layer since a point in time. What has been written since then is what
// is dirty in any of them.
type Checkpoint struct {
	Bitmaps []LayerBitmap // those that there are, from the image down
	// Broken is why no backup can use them: an [*Error], of the image itself the error
	// alone. These are libvirt's rules: the image has the bitmap; the layers that have
	// it follow each other; all are recording; none is inconsistent.
	Broken []error
}

// A LayerBitmap is a bitmap of a layer.
type LayerBitmap struct {
	Layer  *Layer
	Bitmap qcow2.Bitmap
	State  qcow2.BitmapState
}

// Checkpoint finds the bitmaps of a name. Of the image itself "@N" is the one at
// that position, whose name is then looked for. The error is that there is none in
// any layer, or that name stands for several in one.
func (c *Chain) Checkpoint(name string) (*Checkpoint, error) {
	p := &Checkpoint{}
	var none error // of the image
	gap := -1      // the depth of the first layer without it
	for _, l := range c.Layers {
		if !l.Readable() {
			break // which is damage
		}
		b, err := l.bitmap(name)
		switch {
		case err == nil && l.Depth == 0:
			name = b.Name
		case errors.Is(err, qcow2.ErrNoBitmap):
			if gap < 0 {
				gap = l.Depth
			}
			if l.Depth == 0 {
				none = err
			}
			continue
		case errors.Is(err, qcow2.ErrSeveralBitmaps):
			return nil, l.wrong(err)
		case err != nil: // it may be there
			p.Broken = append(p.Broken, l.wrong(err))
			continue
		}
		if gap >= 0 {
			p.Broken = append(p.Broken, l.wrong(fmt.Errorf("it has the bitmap %.64q, and layer %d above it does not", name, gap)))
		}
		p.add(l, b)
	}
	if len(p.Bitmaps) == 0 && len(p.Broken) == 0 {
		return nil, none
	}
	return p, nil
}

// bitmap returns the bitmap of a layer, by its position in the image itself only.
func (l *Layer) bitmap(name string) (qcow2.Bitmap, error) {
	if l.Image == nil {
		return qcow2.Bitmap{}, qcow2.ErrNoBitmap
	}
	b, err := l.Image.FindBitmap(name)
	if err == nil && l.Depth > 0 && b.Name != name {
		err = qcow2.ErrNoBitmap
	}
	return b, err
}

// add adds a bitmap, and judges it.
func (p *Checkpoint) add(l *Layer, b qcow2.Bitmap) {
	state := l.Image.BitmapState(&b)
	p.Bitmaps = append(p.Bitmaps, LayerBitmap{l, b, state})
	switch state {
	case qcow2.StateRecording:
	case qcow2.StateDamaged:
		for _, e := range b.Damage {
			p.Broken = append(p.Broken, l.wrong(e))
		}
	case qcow2.StateDisabled:
		p.Broken = append(p.Broken, l.wrong(fmt.Errorf("the bitmap %.64q is disabled: %s", b.Name, state.Reason())))
	default:
		p.Broken = append(p.Broken, l.wrong(fmt.Errorf("the bitmap %.64q is %s", b.Name, state.Reason())))
	}
}
