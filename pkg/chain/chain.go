package chain

import (
	"errors"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// DefaultMaxDepth is how many layers are opened at most, unless [Options] say
// otherwise.
const DefaultMaxDepth = 64

// Options say how a chain is read.
type Options struct {
	// Opener opens the layers; nil: no name is followed.
	Opener Opener
	// MaxDepth is how many layers are opened at most, the image included; 0 means
	// DefaultMaxDepth.
	MaxDepth int
	// Image are the options for the images of the layers.
	Image []qcow2.Option
}

// A Chain is an image and the layers below it. Close it when done.
type Chain struct {
	// Layers has the image first. All but the last are [Opened], and the last is if
	// the chain is complete.
	Layers []*Layer
	// Damage is what was wrong with the layers when they were opened, and with what
	// they say of other files: an [*Error], of the image itself the error alone.
	Damage  []error
	Remarks []Remark

	options Options
}

// Read reads the layers of an open image: name is the one that it was opened by,
// facts are those of its file. If a layer cannot be opened, its status says why, and
// so does Damage, unless there is no Opener.
func Read(name string, img *qcow2.Image, facts Facts, o Options) *Chain {
	if o.MaxDepth <= 0 {
		o.MaxDepth = DefaultMaxDepth
	}
	top := &Layer{
		Filename: name, Name: name, HasName: true, Format: "qcow2", Image: img, Facts: facts,
		VirtualSize: img.Header().VirtualSize(), FileSize: uint64(img.Size()),
	}
	c := &Chain{Layers: []*Layer{top}, options: o}
	for l := top; l != nil; {
		l = c.next(l)
	}
	c.remark()
	return c
}

// OfRaw returns the chain of an open file that QEMU would probe as raw: it is the
// only layer. The error says what else the file is. Close does not close it.
func OfRaw(name string, f File) (*Chain, error) {
	_, err := qcow2.Open(f, f.Size())
	if err == nil {
		return nil, errors.New("it is a qcow2 image")
	}
	if looksLike(name, f, err) != formatRaw {
		return nil, err
	}
	l := &Layer{Filename: name, Name: name, HasName: true, Facts: f}
	l.readRaw(f)
	return &Chain{Layers: []*Layer{l}}, nil
}

// Close closes the files of all layers but that of the image.
func (c *Chain) Close() error {
	var errs []error
	for _, l := range c.Layers {
		if l.owned != nil {
			errs = append(errs, l.owned.Close())
		}
	}
	return errors.Join(errs...)
}

// Followed reports whether names of layers were to be opened.
func (c *Chain) Followed() bool { return c.options.Opener != nil }

// Complete reports whether every layer was read, and every data file is there.
func (c *Chain) Complete() bool {
	for _, l := range c.Layers {
		if !l.Readable() || l.DataFile != nil && l.DataFile.Status != Opened {
			return false
		}
	}
	return true
}

// next adds the layer below l. It returns it if it can have others below.
func (c *Chain) next(l *Layer) *Layer {
	ref, ok := c.references(l)
	if !ok {
		return nil
	}
	below := &Layer{Depth: l.Depth + 1, Name: ref.Name, HasName: true, Declared: ref.Format}
	below.Filename = qcow2.FullBackingName(l.Filename, ref.Name)
	c.Layers = append(c.Layers, below)
	c.open(below, ref)
	if below.Status > NotFollowed && c.Followed() {
		c.Damage = append(c.Damage, below.wrong(fmt.Errorf("%s: %s", below.Status, below.Reason)))
	}
	if !below.Readable() || below.Image == nil {
		return nil
	}
	return below
}

// references reads what a layer says of other files. ok is false if there is no
// layer below, or none whose name is known.
func (c *Chain) references(l *Layer) (backing *qcow2.FileReference, ok bool) {
	for ref, err := range l.Image.References() {
		switch {
		case errors.Is(err, qcow2.ErrUnsupported) && !c.Followed(): // names can be read all the same
		case err != nil:
			c.Damage = append(c.Damage, l.wrong(err))
		case ref.Role == qcow2.RoleBackingFile:
			backing = &ref
		case ref.Used:
			c.lookAtDataFile(l, &ref)
		}
	}
	if h := l.Image.Header(); backing == nil && h.BackingFileOffset != 0 && h.BackingFileSize != 0 {
		c.Layers = append(c.Layers, &Layer{Depth: l.Depth + 1, Status: Unreadable, Reason: "its name cannot be read"})
	}
	return backing, backing != nil
}

// lookAtDataFile looks whether the data file of a layer is there.
func (c *Chain) lookAtDataFile(l *Layer, ref *qcow2.FileReference) {
	d := &DataFile{Name: ref.Name, Filename: qcow2.FullBackingName(l.Filename, ref.Name)}
	l.DataFile = d
	if d.Reason = refusal(ref); d.Reason != "" {
		d.Status = NotAllowed
	} else if !c.Followed() {
		d.Status = NotFollowed
	} else if info, err := c.options.Opener.Stat(d.Filename); err != nil {
		d.Status, d.Reason = statusOf(err)
	} else if err := qcow2.CheckMode(info.Mode()); err != nil {
		d.Status, d.Reason = statusOf(err)
	} else {
		d.FileSize = uint64(info.Size())
	}
	if d.Status > NotFollowed && c.Followed() {
		c.Damage = append(c.Damage, l.wrong(fmt.Errorf("data file %q: %s: %s", d.Name, d.Status, d.Reason)))
	}
}
