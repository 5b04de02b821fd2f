package cmd

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// load returns the RunE of a command that shows images: the only place that reads
// the config, picks the renderer, and joins errors and exit statuses. The error of
// show is why there is nothing to show; if an image is merely damaged, show goes
// on, and calls report.damaged.
func (a *app) load(show func(*report) error) func(*cobra.Command, []string) error {
	return a.loadBy(loading{open: a.open}, show)
}

// loadLayers is load for a command whose errors can be about layers of a chain.
func (a *app) loadLayers(show func(*report) error) func(*cobra.Command, []string) error {
	return a.loadBy(loading{open: a.open, layered: true}, show)
}

// A loading is how a command loads its images.
type loading struct {
	// open opens what the command shows. The image is nil if the command opens it
	// itself.
	open    func(name string) (*qcow2.Image, File, error)
	ready   func() error // if not nil, called when the flags have their values
	layered bool         // errors can be about layers of a chain
}

// loadBy is load for a command that loads images in another way.
func (a *app) loadBy(l loading, show func(*report) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, names []string) error {
		if err := configure(cmd); err != nil {
			return err
		}
		if l.ready != nil {
			if err := l.ready(); err != nil {
				return usageError(cmd, err)
			}
		}
		if err := a.checkNames(cmd, names); err != nil {
			return err
		}
		return a.newLoader(l, show, cmd, len(names)).run(names)
	}
}

// checkNames returns an error for names of images that cannot be shown together,
// or at all.
func (a *app) checkNames(cmd *cobra.Command, names []string) error {
	if a.output.value == render.FormatJSON && len(names) > 1 {
		return &hintError{errors.New("json holds one image, not several"), "use -o ndjson for one document per image"}
	}
	if slices.Contains(names, "") {
		return usageError(cmd, errors.New("the name of an image is empty"))
	}
	return nil
}

// renderOptions returns how output is rendered.
func (a *app) renderOptions() render.Options {
	return render.Options{Width: terminalWidth(a.Stdout), Color: a.colored(), Note: func(s string) { a.complain("", errors.New(s)) }}
}

// aheadOfTurn is how many images, for each that is read, may have been begun and not
// have had their turn.
const aheadOfTurn = 4

// A loader opens, shows and finishes the images of a command line, several side by
// side. What it writes is the same as with one after the other.
type loader struct {
	*app
	how      loading
	show     func(*report) error
	jobs     int
	ctx      context.Context
	stop     context.CancelFunc // nothing more is wanted
	document render.Document    // of each image, without its name
	options  render.Options
	seen     bool // output may appear on the terminal that standard error is
	queue    *queue
	idle     chan render.Renderer // as many as jobs; nil: not made yet
	code     exitCode             // the worst of the images so far
}

// newLoader returns the loader of a command for a number of images.
func (a *app) newLoader(how loading, show func(*report) error, cmd *cobra.Command, images int) *loader {
	ctx, stop := context.WithCancel(cmd.Context())
	all := &loader{
		app: a, how: how, show: show, jobs: min(jobsOf(cmd), images), ctx: ctx, stop: stop,
		document: render.Document{Schema: "qinspect/" + cmd.Name() + "/1", Heading: images > 1},
		options:  a.renderOptions(),
		seen:     mayBeSeen(a.Stdout),
		queue:    &queue{outputWriter: outputWriter{a.Stdout}},
	}
	if a.output.value == render.FormatTable {
		all.queue.between = "\n"
	}
	all.idle = make(chan render.Renderer, all.jobs)
	for range all.jobs {
		all.idle <- nil
	}
	return all
}

// run loads the named images, and returns the worst of their statuses as an error.
func (l *loader) run(names []string) error {
	defer l.stop()
	var failed error
	inOrder(side{l.jobs, aheadOfTurn * l.jobs}, slices.Values(names), l.load, func(rep *report) bool {
		if failed = l.take(rep); failed != nil {
			l.queue.closed = true
			l.stop()
		}
		return failed == nil
	})
	if failed == nil && l.code != exitOK {
		return &exitError{l.code}
	}
	return failed
}

// load opens an image, shows it, and finishes its document.
func (l *loader) load(name string, turn <-chan struct{}) *report {
	out := &turnWriter{turn: turn, queue: l.queue}
	rep := &report{out: out, ctx: l.ctx, name: name, progress: newProgress(l.Stderr, name, out.hasTurn), failures: failures{layered: l.how.layered}}
	if l.seen {
		out.before = rep.progress.hide
	}
	rep.document = l.renderer(rep)
	defer func() { l.idle <- rep.document }()
	rep.Sections = rep.document
	doc := l.document
	doc.Filename = name
	img, file, err := l.how.open(name)
	if err != nil {
		doc.Heading = false // the error names the file
		rep.document.Begin(doc)
	} else {
		defer file.Close()
		rep.img, rep.file = img, file
		rep.look()
		rep.document.Begin(doc)
		err = l.show(rep)
	}
	rep.finish(err)
	rep.img, rep.file = nil, nil // it may wait for its turn for long
	return rep
}

// renderer returns a renderer for the document of an image.
func (l *loader) renderer(rep *report) render.Renderer {
	opts := l.options
	opts.Note = func(s string) { rep.remark(l.app, s) }
	r := <-l.idle
	if r == nil {
		return render.New(l.output.value, rep.out, opts)
	}
	r.Reset(rep.out, opts)
	return r
}

// take takes an image whose turn has come: it writes what was kept of its document,
// and what the user has to know. Its error ends the run.
func (l *loader) take(rep *report) error {
	rep.complainOfOutput(l.app)
	if err := cmp.Or(rep.written, rep.out.flush()); err != nil {
		return l.unwritten(rep, err)
	}
	if rep.ctx.Err() != nil { // the rest of the images is not wanted
		return &exitError{interruptedBy(rep.ctx)}
	}
	rep.complain(l.app)
	l.code = worse(l.code, rep.failures.code)
	return nil
}

// unwritten returns the error that ends the run when the output cannot be
// written.
func (a *app) unwritten(rep *report, err error) error {
	if e, ok := errors.AsType[*outputError](err); ok && e.closedPipe() {
		return &exitError{exitFailed}
	}
	rep.failures.complain(a, rep.name)
	return err
}
