package cmd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A report is what a subcommand gets: an open image, a renderer, and a place
// for what is wrong.
type report struct {
	render.Sections
	ctx      context.Context
	img      *qcow2.File
	name     string // of the image, as the user gave it
	failures failures
	notes    []error // what a reader has to know, and no fault of the image
	progress *progress
	rows     int // calls of interrupted
}

// load returns the RunE of a command that shows images: the only place that
// reads the config, opens images, picks the renderer, and joins errors and exit
// codes. The error of show is one that leaves nothing to show; what is merely
// damaged goes to report.damaged.
func (a *app) load(show func(*report) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, names []string) error {
		if err := configure(cmd); err != nil {
			return err
		}
		if a.output.value == render.FormatJSON && len(names) > 1 {
			return &hintError{errors.New("json holds one image, not several"), "use -o ndjson for one document per image"}
		}
		if slices.Contains(names, "") {
			return usageError(cmd, errors.New("the name of an image is empty"))
		}
		out := &outputWriter{Writer: a.Stdout}
		r := a.newRenderer(out)
		code := exitOK
		for _, name := range names {
			doc := render.Document{Schema: "qinspect/" + cmd.Name() + "/1", Filename: name, Heading: len(names) > 1}
			p := newProgress(a.Stderr, name)
			if mayBeSeen(a.Stdout) {
				out.before = p.hide
			}
			c, err := a.loadOne(cmd.Context(), r, doc, p, show)
			if err != nil {
				return err
			}
			code = worse(code, c)
		}
		if code != exitOK {
			return &exitError{code}
		}
		return nil
	}
}

// newRenderer returns the renderer that is asked for.
func (a *app) newRenderer(out *outputWriter) render.Renderer {
	return render.New(a.output.value, out, render.Options{
		Width: terminalWidth(a.Stdout),
		Color: a.colored(),
		Note:  func(s string) { a.complain("", errors.New(s)) },
	})
}

// loadOne shows one image. The error is one that ends the run.
func (a *app) loadOne(ctx context.Context, r render.Renderer, doc render.Document, p *progress, show func(*report) error) (exitCode, error) {
	rep := &report{Sections: r, ctx: ctx, name: doc.Filename, progress: p}
	defer p.hide()
	img, err := qcow2.OpenFile(doc.Filename, a.options()...)
	if errors.Is(err, fs.ErrNotExist) && doc.Filename == "-" {
		err = &hintError{errors.New(reason(err)), "an image cannot come from a pipe: name a file or a block device"}
	}
	if err != nil {
		doc.Heading = false // the error names the file
		r.Begin(doc)
	} else {
		defer img.Close() // it was only read
		rep.img = img
		r.Begin(doc)
		err = show(rep)
	}
	_, unwritten := errors.AsType[*outputError](err)
	switch {
	case ctx.Err() != nil:
		rep.failures.add(exitInterrupted, errors.New("interrupted"))
	case err != nil && !unwritten:
		rep.failures.add(exitFailed, err)
	}
	p.hide()
	if !unwritten {
		// Rows that the renderer held back are pulled here: the image is still open.
		err = rep.failures.render(r)
	}
	if err != nil {
		if e, ok := errors.AsType[*outputError](err); ok && e.closedPipe() {
			return exitOK, &exitError{exitFailed}
		}
		rep.failures.complain(a, doc.Filename)
		return exitOK, err
	}
	if ctx.Err() != nil { // the rest of the images is not wanted
		return exitOK, &exitError{exitInterrupted}
	}
	rep.failures.complain(a, doc.Filename)
	for _, note := range rep.notes {
		a.complain(doc.Filename, note)
	}
	if rep.img != nil && rep.img.Changed() {
		a.complain(doc.Filename, errChanged)
	}
	return rep.failures.code, nil
}

// errChanged says that what was printed may not be of one moment.
var errChanged = &hintError{
	errors.New("the file has changed while it was read: what it says may not fit together"),
	"look again when nothing writes to it",
}

// options returns how images are to be read.
func (a *app) options() []qcow2.Option {
	if a.noLimits {
		return []qcow2.Option{qcow2.WithLimits(qcow2.NoLimits())}
	}
	return nil
}

// damaged records what is wrong with the image or could not be read of it,
// while the command goes on with the rest.
func (rep *report) damaged(err error) { rep.failures.add(exitDamaged, err) }

// note records what is said on standard error, and changes no exit status.
func (rep *report) note(err error) { rep.notes = append(rep.notes, err) }

// single pushes a section of one row.
func (rep *report) single(s *render.Section, row ...render.Value) error {
	rep.Section(s)
	return rep.Row(row)
}

// interruptEvery is how many rows go by between two looks at the context.
const interruptEvery = 4096

// interrupted returns an error, now and then, when the run is to end. Commands
// call it for every row.
func (rep *report) interrupted() error {
	if rep.rows++; rep.rows%interruptEvery != 0 {
		return nil
	}
	return rep.ctx.Err()
}

// outputWriter tells failures to write from failures to read.
type outputWriter struct {
	io.Writer
	before func() // if not nil, called before each write
}

func (w *outputWriter) Write(p []byte) (int, error) {
	if w.before != nil {
		w.before()
	}
	n, err := w.Writer.Write(p)
	if err != nil {
		return n, &outputError{err}
	}
	return n, nil
}

// A stickyWriter keeps the first error of a writer, for cobra, which drops it.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = cmp.Or(s.err, err)
	return n, err
}

// terminalWidth returns the width of the terminal that w is, in columns, and 0
// when it is none.
func terminalWidth(w io.Writer) int {
	f := terminal(w)
	if f == nil {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// mayBeSeen reports whether what is written to w may go to the terminal of
// standard error: w is one, or a pipe, behind which a pager may be that takes the
// whole screen. A program there that shows nothing cannot be told from one.
func mayBeSeen(w io.Writer) bool {
	if terminal(w) != nil {
		return true
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// terminal returns the terminal that w is, or nil.
func terminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
