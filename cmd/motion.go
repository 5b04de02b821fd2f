package cmd

import (
	"errors"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A motion is whether the image holds still while it is read. The zero motion
// knows nothing.
type motion struct {
	changed, changedKnown bool
	elsewhere             qcow2.Elsewhere
	elsewhereKnown        bool
}

// look asks the file once more. A program that had the image open at an earlier
// look may have written since.
func (m *motion) look(f File) {
	m.changed, m.changedKnown = f.Changed()
	state, ok := f.OpenElsewhere()
	m.elsewhere, m.elsewhereKnown = max(m.elsewhere, state), ok
}

// motionSection declares what a document says of it.
func motionSection() *render.Section {
	return &render.Section{Show: render.InJSON, Columns: []render.Column{
		{Key: "changed", Kind: render.KindBool},
		{Key: "open-elsewhere", Kind: render.KindEnum, Names: qcow2.ElsewhereNames()},
	}}
}

// row returns the row of the section.
func (m *motion) row() []render.Value {
	return []render.Value{
		valueIf(m.changedKnown, render.Bool(m.changed)),
		valueIf(m.elsewhereKnown, render.Enum(uint64(m.elsewhere))),
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
