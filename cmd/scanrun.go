package cmd

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A scan is one run of the command.
type scan struct {
	*app
	options  *scanOptions
	names    *nameList
	progress *tally
	output   scanOutput
	rows     []*fleet.Row // held back to be sorted
	totals   fleet.Totals
	vanished atomic.Uint64
	err      error // of writing
}

func (s *scan) run(cmd *cobra.Command) error {
	out := &scanWriter{outputWriter{s.Stdout}, func() {}}
	if mayBeSeen(s.Stdout) {
		out.before = s.progress.hide
	}
	rep := &report{ctx: cmd.Context()}
	finish := s.newOutput(cmd, out, rep)
	s.look(rep, jobsOf(cmd))
	s.progress.hide()
	if err := s.end(rep); err != nil {
		return s.unwritten(rep, err)
	}
	if rep.ctx.Err() != nil {
		return &exitError{interruptedBy(rep.ctx)}
	}
	rep.failures.complain(s.app, "")
	if n := s.vanished.Load(); n > 0 {
		s.complain("", errors.New(counted(n, "file was gone before it was looked at", "files were gone before they were looked at")))
	}
	return finish(rep.failures.code)
}

// take takes a row.
func (s *scan) take(rep *report, r *fleet.Row) error {
	rep.failures.verdict(scanCode(r))
	s.totals.Add(r)
	if s.options.sort.text != "" {
		s.rows = append(s.rows, r)
		return nil
	}
	return s.output.row(r)
}

// end writes what comes after the rows, and those that were held back. The error is
// one of writing.
func (s *scan) end(rep *report) error {
	if rep.ctx.Err() != nil {
		rep.failures.add(interruptedBy(rep.ctx), errors.New("interrupted"))
	} else {
		rep.failures.addAll(&s.names.failures)
	}
	s.options.sort.sort(s.rows)
	for _, r := range s.rows {
		if err := s.output.row(r); err != nil {
			return err
		}
	}
	return cmp.Or(s.err, s.output.end(&s.totals, s.vanished.Load()))
}

// scanCode returns the exit status for an image: that of check, but 2 for a header that
// cannot be used.
func scanCode(r *fleet.Row) exitCode {
	switch {
	case r.Status == fleet.StatusOK:
		return exitOK
	case r.Status == fleet.StatusLeaks, r.Status == fleet.StatusLive && r.Counts.Corruptions == 0:
		return exitLeaks
	case r.Status == fleet.StatusErrors, r.Status == fleet.StatusLive:
		return exitDamaged
	}
	return exitFailed
}

// newOutput begins the output. What it returns is called when all of it is written,
// with the exit status so far.
func (s *scan) newOutput(cmd *cobra.Command, out io.Writer, rep *report) func(exitCode) error {
	exit := func(code exitCode) error {
		if code != exitOK {
			return &exitError{code}
		}
		return nil
	}
	if s.options.plugin {
		p := &scanPlugin{w: out, failures: &rep.failures}
		s.output = p
		return func(exitCode) error { return exit(p.code) }
	}
	format := s.options.format(cmd, s.app.output.value)
	if format == formatMetrics {
		m := &scanMetrics{w: out, failures: &rep.failures, note: func(words string) { s.complain("", errors.New(words)) }}
		s.output = m
		return exit
	}
	r := render.New(format, out, s.renderOptions())
	rep.Sections, rep.document = r, r
	d := newScanDocument(rep, format == render.FormatTable)
	s.output = d
	return func(code exitCode) error {
		d.complain(s.app)
		return exit(code)
	}
}

// A scanWriter writes output, and first clears the way for it.
type scanWriter struct {
	outputWriter
	before func()
}

func (w *scanWriter) Write(p []byte) (int, error) {
	w.before()
	return w.outputWriter.Write(p)
}

// scanAhead is how many rows may wait for those before them, beside the images that
// are being read.
const scanAhead = 1024

// look looks at the images, and hands on their rows.
func (s *scan) look(rep *report, jobs int) {
	search := fleet.Search{Match: s.options.match, Shard: s.options.shard.Shard, Timeout: s.options.timeout.limit}
	scanner := fleet.Scanner{Open: s.openImage, Timeout: s.options.timeout.limit}
	ctx, stop := context.WithCancel(rep.ctx)
	defer stop()
	inOrder(side{jobs, jobs + scanAhead}, search.Find(ctx, s.names.names(ctx)), func(f fleet.Found, _ <-chan struct{}) *fleet.Row {
		row, err := scanner.Look(ctx, f)
		switch {
		case errors.Is(err, fleet.ErrVanished):
			s.vanished.Add(1)
		case err == nil:
			if row.File != nil {
				s.progress.add(row.File.Size)
			}
			return row
		}
		return nil
	}, func(r *fleet.Row) bool {
		if r != nil {
			if s.err = s.take(rep, r); s.err != nil {
				stop() // the wait for a name, and the look at a slow image
			}
		}
		return s.err == nil && ctx.Err() == nil
	})
}

// openImage is open, for a fleet.Scanner.
func (s *scan) openImage(name string) (*qcow2.Image, fleet.File, error) {
	img, file, err := s.open(name)
	return img, file, err
}
