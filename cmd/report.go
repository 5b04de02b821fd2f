package cmd

import (
	"context"
	"errors"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A report is what a subcommand gets: an open image, a renderer, and a place
// for what is wrong.
//
// The renderer keeps the first write error, writes nothing after it, and returns
// it at the end of the document. So short sections go through single and row,
// which return none; a listing calls Row, and ends at its error.
type report struct {
	render.Sections
	document render.Renderer
	out      *turnWriter // where the document goes
	ctx      context.Context
	name     string // of the image, as the user gave it
	img      *qcow2.Image
	file     File
	motion   motion
	settled  bool // motion is that of what the document says: there is no further look
	judges   bool // the command gives a verdict on the image: there is none on one that changed
	failures failures
	written  error    // by finish: why the document could not be written
	remarks  []string // about the output, which are not on standard error yet
	notes    []error  // remarks to the user that are not about damage
	progress *progress
	calls    int // of interrupted
}

// damaged records what is wrong with the image, or what could not be read of it,
// and the command goes on with the rest.
func (rep *report) damaged(err error) { rep.failures.add(exitDamaged, err) }

// note records a remark for standard error, which changes no exit status.
func (rep *report) note(err error) { rep.notes = append(rep.notes, err) }

// single pushes a section of one row.
func (rep *report) single(s *render.Section, cells ...render.Value) {
	rep.Section(s)
	rep.row(cells...)
}

// row pushes a row of a short section.
func (rep *report) row(cells ...render.Value) { _ = rep.Row(cells) }

// interruptEvery is how many rows go by between two looks at the context.
const interruptEvery = 4096

// interrupted returns an error, now and then, when the run is to end. Commands
// call it for every row.
func (rep *report) interrupted() error {
	if rep.calls++; rep.calls%interruptEvery != 0 {
		return nil
	}
	return rep.ctx.Err()
}

// finish ends the document. err is what the command returned.
func (rep *report) finish(err error) {
	_, unwritten := errors.AsType[*outputError](err)
	switch {
	case rep.ctx.Err() != nil:
		rep.failures.add(interruptedBy(rep.ctx), errors.New("interrupted"))
	case err != nil && !unwritten:
		rep.failures.add(exitFailed, err)
	}
	rep.progress.hide()
	rep.look()
	if rep.judges && rep.motion.changed {
		rep.failures.add(exitFailed, errNoVerdict)
	}
	rep.single(motionSection(), rep.motion.row()...)
	rep.written = rep.failures.render(rep.document) // draws rows that were held back: the image has to be open
	rep.look()
}

// look asks the file, if it could be opened, whether it holds still.
func (rep *report) look() {
	if rep.file != nil && !rep.settled {
		rep.motion.look(rep.file)
	}
}

// settle asks the file for the last time. A command that judges in its document, and
// not only by its exit status, calls it when all has been read: no later answer then
// contradicts the document.
func (rep *report) settle() {
	rep.look()
	rep.settled = true
}

// remark takes a remark about the output, and writes it to standard error when the
// image has its turn.
func (rep *report) remark(a *app, s string) {
	rep.remarks = append(rep.remarks, s)
	if rep.out.hasTurn() {
		rep.complainOfOutput(a)
	}
}

// complainOfOutput writes the remarks about the output to standard error.
func (rep *report) complainOfOutput(a *app) {
	for _, s := range rep.remarks {
		a.complain("", errors.New(s))
	}
	rep.remarks = nil
}

// complain writes to standard error what the user has to know of the image.
func (rep *report) complain(a *app) {
	rep.failures.complain(a, rep.name)
	for _, note := range append(rep.notes, rep.motion.notes(rep.judges)...) {
		a.complain(rep.name, note)
	}
}
