package cmd

import (
	"errors"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A motion is whether the image holds still while it is read. The zero motion
// knows nothing.
type motion struct {
	changed, changedKnown bool
	elsewhere             qcow2.Elsewhere
	elsewhereKnown        bool
	layers                *motion // of the layers below together; nil: no names are followed
}

// look asks the file once more. A program that had the image open at an earlier
// look may have written since.
func (m *motion) look(f chain.Facts) {
	m.changed, m.changedKnown = f.Changed()
	state, ok := f.OpenElsewhere()
	m.elsewhere, m.elsewhereKnown = max(m.elsewhere, state), ok
}

// lookBelow asks the files of the layers below the image. Standard error and the
// remarks of chain say which of them it was.
func (m *motion) lookBelow(c *chain.Chain) {
	below := &motion{changedKnown: true, elsewhereKnown: true}
	for _, l := range c.Layers[1:] {
		if l.Facts != nil {
			var layer motion
			layer.look(l.Facts)
			below.join(&layer)
		}
	}
	m.layers = below
}

// join adds what is known of another file: of both together nothing is known that
// is not known of each, but for a change.
func (m *motion) join(o *motion) {
	m.changed = m.changed || o.changed
	m.changedKnown = m.changed || m.changedKnown && o.changedKnown
	m.elsewhere = max(m.elsewhere, o.elsewhere)
	m.elsewhereKnown = m.elsewhere == qcow2.ElsewhereWriting || m.elsewhereKnown && o.elsewhereKnown
}

// motionSection declares what a document says of it.
func motionSection() *render.Section {
	return &render.Section{Show: render.InJSON, Columns: []render.Column{
		{Key: "changed", Kind: render.KindBool},
		{Key: "open-elsewhere", Kind: render.KindEnum, Names: qcow2.ElsewhereNames()},
	}}
}

// row returns the row of the section, which is about all files that were read.
func (m *motion) row() []render.Value {
	all := *m
	if m.layers != nil {
		all.join(m.layers)
	}
	return []render.Value{
		valueIf(all.changedKnown, render.Bool(all.changed)),
		valueIf(all.elsewhereKnown, render.Enum(uint64(all.elsewhere))),
	}
}

// writing reports whether the image changes, or may: another program has it open
// for writing.
func (m *motion) writing() bool { return m.changed || m.elsewhere == qcow2.ElsewhereWriting }

// notes returns what standard error says of an image that does not hold still.
// judges is whether the command gives a verdict on the image.
func (m *motion) notes(judges bool) []error {
	var notes []error
	if m.changed && !judges {
		notes = append(notes, errChanged)
	}
	if m.elsewhere == qcow2.ElsewhereWriting {
		if judges {
			return append(notes, errWritingUnderCheck)
		}
		notes = append(notes, errWriting)
	}
	return notes
}

var (
	// errChanged says that parts of the output may be of different moments.
	errChanged = &hintError{
		errors.New("the file has changed while it was read: what it says may not fit together"),
		"look again when nothing writes to it",
	}
	// errNoVerdict is why a check fails, whatever it found.
	errNoVerdict = &hintError{errors.New("no verdict: the file changed while it was read"), errChanged.hint}
	// errWriting says that the file is not all of the image.
	errWriting = errors.New("another program has the image open for writing: what it has not written yet is missing here")
	// errWritingUnderCheck says what leaks then are worth.
	errWritingUnderCheck = &hintError{
		errWriting,
		"leaks can be refcounts that are not written yet: check again when the other program has closed the image",
	}
)
