package chain

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// open opens a layer that another names, or sets the status that says why not.
func (c *Chain) open(l *Layer, ref *qcow2.FileReference) {
	if reason := refusal(ref); reason != "" {
		l.Status, l.Reason = NotAllowed, reason
		return
	}
	if !c.Followed() {
		l.Status, l.Reason = NotFollowed, "no name is followed without --follow"
		return
	}
	if l.Depth >= c.options.MaxDepth {
		l.Status, l.Reason = TooDeep, fmt.Sprintf("%d layers are opened at most", c.options.MaxDepth)
		return
	}
	if seen := c.named(l); seen != nil {
		l.Status, l.Reason = Loop, fmt.Sprintf("it is layer %d", seen.Depth)
		return
	}
	f, err := c.options.Opener.Open(l.Filename)
	if err != nil {
		l.Status, l.Reason = statusOf(err)
		return
	}
	l.owned, l.Facts, l.FileSize = f, f, uint64(f.Size())
	if seen := c.visited(l); seen != nil {
		l.Status, l.Reason = Loop, fmt.Sprintf("it is layer %d by another name, %q", seen.Depth, seen.Filename)
		c.remarkOn(TwoNames, l.Depth, fmt.Sprintf("%q and %q are one file", seen.Filename, l.Filename))
		return
	}
	c.read(l, f)
}

// named returns the layer above that has the same name but for "./", nil if there
// is none. A loop of names grows by "./" in each turn.
func (c *Chain) named(l *Layer) *Layer {
	for _, seen := range c.Layers[:l.Depth] {
		if sameText(seen.Filename, l.Filename) {
			return seen
		}
	}
	return nil
}

// sameText reports whether two names are one text without empty elements and ".".
// It leaves "..", which symbolic links can lead anywhere, to the file system.
func sameText(a, b string) bool {
	return a == b || path.Clean(a) == path.Clean(b) && !hasParent(a) && !hasParent(b)
}

// visited returns the layer above that is the same file, nil if there is none.
func (c *Chain) visited(l *Layer) *Layer {
	for _, seen := range c.Layers[:l.Depth] {
		if seen.Facts != nil && sameFile(seen.Facts.Info(), l.Facts.Info()) {
			return seen
		}
	}
	return nil
}

// statusOf returns the status that the error of an [Opener] calls for, and its
// words without the name.
func statusOf(err error) (Status, string) {
	refused, isRefused := errors.AsType[Refused](err)
	switch {
	case isRefused:
		return NotAllowed, refused.Error()
	case errors.Is(err, fs.ErrNotExist):
		return Missing, "there is no such file"
	case errors.Is(err, qcow2.ErrNotFile):
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			err = e.Err
		}
		return NotAFile, err.Error()
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return Unreadable, err.Error()
}
