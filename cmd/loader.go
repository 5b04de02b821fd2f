package cmd

import (
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
		out := &outputWriter{Writer: a.Stdout}
		r := a.newRenderer(out)
		code := exitOK
		for _, name := range names {
			rep := &report{Sections: r, document: r, ctx: cmd.Context(), name: name, progress: newProgress(a.Stderr, name), failures: failures{layered: l.layered}}
			if mayBeSeen(a.Stdout) {
				out.before = rep.progress.hide
			}
			doc := render.Document{Schema: "qinspect/" + cmd.Name() + "/1", Filename: name, Heading: len(names) > 1}
			c, err := a.loadOne(l.open, rep, doc, show)
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

// newRenderer returns the renderer that is asked for.
func (a *app) newRenderer(out *outputWriter) render.Renderer {
	return render.New(a.output.value, out, render.Options{
		Width: terminalWidth(a.Stdout),
		Color: a.colored(),
		Note:  func(s string) { a.complain("", errors.New(s)) },
	})
}

// loadOne opens an image, shows it, and finishes its document. It returns the
// status of the image, or an error that ends the run.
func (a *app) loadOne(open func(string) (*qcow2.Image, File, error), rep *report, doc render.Document, show func(*report) error) (exitCode, error) {
	img, file, err := open(rep.name)
	if err != nil {
		doc.Heading = false // the error names the file
		rep.document.Begin(doc)
	} else {
		defer file.Close()
		rep.img, rep.file = img, file
		rep.motion.look(file)
		rep.document.Begin(doc)
		err = show(rep)
	}
	if err := rep.finish(err); err != nil {
		return exitOK, a.unwritten(rep, err)
	}
	if rep.ctx.Err() != nil { // the rest of the images is not wanted
		return exitOK, &exitError{interruptedBy(rep.ctx)}
	}
	rep.complain(a)
	return rep.failures.code, nil
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
