package cmd

import (
	"iter"

	"github.com/qinspect/qinspect/pkg/render"
)

// How commands fill a document. A section of one row takes facts, each with its
// column beside its value. The rows of a list are slices that are used again; a
// constant for each column says where its value goes.

// A fact is a column of a section of one row, and the value there.
type fact struct {
	render.Column
	value render.Value
}

// addFacts adds the columns of facts to a section and returns the row.
func addFacts(s *render.Section, facts []fact) []render.Value {
	row := make([]render.Value, len(facts))
	for i, f := range facts {
		s.Columns = append(s.Columns, f.Column)
		row[i] = f.value
	}
	return row
}

// facts pushes a section of one row.
func (rep *report) facts(s *render.Section, facts ...fact) {
	row := addFacts(s, facts)
	rep.single(s, row...)
}

// nestedFacts returns a nested section of one row.
func nestedFacts(s *render.Section, facts ...fact) render.Value {
	row := addFacts(s, facts)
	return render.Rows(s, func(yield func([]render.Value) bool) { yield(row) })
}

// none writes null under a key in JSON, in place of a list.
func (rep *report) none(key string) {
	rep.facts(&render.Section{Show: render.InJSON}, fact{render.Column{Key: key, Kind: render.KindRows}, render.Null})
}

// nest shows the output of a command as a document under a key of this one. Errors
// of the image are those of the whole.
func (rep *report) nest(key string, show func(*report) error) error {
	var failed error
	document := render.Nested(func(inner render.Sections) {
		outer := rep.Sections
		rep.Sections = inner
		failed = show(rep)
		rep.Sections = outer
	})
	rep.facts(&render.Section{}, fact{render.Column{Key: key, Kind: render.KindNested}, document})
	return failed
}

// each calls show for each element of a sequence, until it returns an error.
// Errors of the sequence are damage. An interrupt ends the sequence: the loader
// reports it.
func each[T any](rep *report, seq iter.Seq2[T, error], show func(T) error) error {
	for element, err := range seq {
		if err != nil && rep.ctx.Err() == nil {
			rep.damaged(err)
			rep.Incomplete()
			continue
		}
		if err != nil || rep.interrupted() != nil {
			return nil
		}
		if err := show(element); err != nil {
			return err
		}
	}
	return nil
}
