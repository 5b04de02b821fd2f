package cmd

import (
	"errors"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// maxFailures is how many errors a document lists; more are counted.
const maxFailures = 1000

// failures collects what went wrong with one image: the "errors" of its
// document, the words on standard error, and the exit status.
type failures struct {
	code    exitCode
	list    []error
	omitted int
	layered bool                // errors say which layer of a chain they are about
	entries int                 // how many errors are about entries of L2 tables
	seen    map[failureKey]bool // the errors of list that are about an offset in the image
}

// verdict records a status whose reasons are in the document itself.
func (f *failures) verdict(code exitCode) { f.code = worse(f.code, code) }

// A failureKey identifies an error about an image.
type failureKey struct {
	section qcow2.Section
	offset  uint64
	detail  string
	depth   int
}

// add records an error and the status that it calls for. An error that two parts
// of a command come across is listed once.
func (f *failures) add(code exitCode, err error) {
	f.code = worse(f.code, code)
	if e, ok := errors.AsType[*qcow2.Error](err); ok {
		key := failureKey{e.Section, e.Offset, e.Detail, depthOf(err)}
		if f.seen[key] {
			return
		}
		if f.seen == nil {
			f.seen = map[failureKey]bool{}
		}
		if len(f.list) < maxFailures {
			f.seen[key] = true
		}
		if errors.Is(err, qcow2.ErrEntry) {
			f.entries++
		}
	}
	if len(f.list) == maxFailures {
		f.omitted++
		return
	}
	f.list = append(f.list, err)
}

// addAll records the errors of others.
func (f *failures) addAll(others *failures) {
	for _, err := range others.list {
		f.add(others.code, err)
	}
	f.omitted += others.omitted
}

// section declares the errors, the last section of every document.
func (f *failures) section() *render.Section {
	columns := []render.Column{
		{Key: "depth", Kind: render.KindUint},
		{Key: "section", Kind: render.KindText},
		{Key: "offset", Kind: render.KindOffset},
		{Key: "message", Kind: render.KindText},
	}
	return &render.Section{Key: "errors", Layout: render.LayoutList, Show: render.InJSON, Columns: columns[f.unused():]}
}

// unused returns how many of the columns are left out: the first if no error can be
// about a layer.
func (f *failures) unused() int {
	if f.layered {
		return 0
	}
	return 1
}

// render writes the errors into the document and ends it.
func (f *failures) render(r render.Renderer) error {
	r.Section(f.section())
	for _, err := range f.list {
		if err := r.Row(failureRow(err)[f.unused():]); err != nil {
			return err
		}
	}
	if f.omitted > 0 {
		if err := r.Row(failureRow(errors.New(moreErrors(f.omitted)))[f.unused():]); err != nil {
			return err
		}
	}
	return r.End()
}

// failureRow returns the row of one error. Section and offset are null if the error
// is not about an offset in the image.
func failureRow(err error) []render.Value {
	depth := render.Uint(uint64(depthOf(err)))
	if e, ok := errors.AsType[*qcow2.Error](err); ok {
		return []render.Value{depth, render.Text(e.Section.Key()), render.Offset(e.Offset), render.Text(e.Detail)}
	}
	if e, ok := errors.AsType[*chain.Error](err); ok {
		err = e.Err
	}
	return []render.Value{depth, render.Null, render.Null, render.Text(reason(err))}
}

// depthOf returns the depth of the layer that an error is about; 0 is the image.
func depthOf(err error) int {
	if e, ok := errors.AsType[*chain.Error](err); ok {
		return e.Depth
	}
	return 0
}

// complain writes the errors to standard error. A disk that was cut has damaged
// entries by the thousand: those after the first are a number.
func (f *failures) complain(a *app, name string) {
	entries := 0 // of the list
	for _, err := range f.list {
		if errors.Is(err, qcow2.ErrEntry) {
			if entries++; entries > 1 {
				continue
			}
		}
		a.complain(name, err)
	}
	if f.entries > 1 {
		a.complain(name, errors.New(counted(uint64(f.entries-1), "more damaged entry", "more damaged entries")))
	}
	if n := f.omitted - (f.entries - entries); n > 0 {
		a.complain(name, errors.New(moreErrors(n)))
	}
}

// moreErrors returns how many errors are not listed, in words.
func moreErrors(n int) string { return counted(uint64(n), "more error", "more errors") }
