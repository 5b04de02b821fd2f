package cmd

import (
	"cmp"
	"errors"

	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/render"
)

// A scanOutput takes the rows of a scan, in their order, and then their totals. Its
// errors are those of writing.
type scanOutput interface {
	row(*fleet.Row) error
	end(t *fleet.Totals, vanished uint64) error
}

// A scanDocument writes rows as a document.
type scanDocument struct {
	rep    *report
	cells  []render.Value
	table  bool         // totals are a row
	untold []*fleet.Row // for standard error: a table has no column for their messages
	more   uint64       // the same, those that are counted only
}

// newScanDocument begins a document.
func newScanDocument(rep *report, table bool) *scanDocument {
	rep.document.Begin(render.Document{Schema: "qinspect/scan/1", Unnamed: true})
	rep.Section(scanSection())
	return &scanDocument{rep: rep, cells: make([]render.Value, scanColumns), table: table}
}

func (d *scanDocument) row(r *fleet.Row) error {
	scanCells(d.cells, r)
	if d.table && (r.Err != nil || r.Status == fleet.StatusOK && r.Message() != "") {
		if len(d.untold) < maxFailures {
			d.untold = append(d.untold, r)
		} else {
			d.more++
		}
	}
	if err := d.rep.Row(d.cells); err != nil {
		return err
	}
	return d.rep.document.Flush() // the next row can take long
}

func (d *scanDocument) end(t *fleet.Totals, vanished uint64) error {
	if d.table && t.Images > 1 {
		totalsRow(d.cells, t)
		d.rep.row(d.cells...)
	}
	showTotals(d.rep, t)
	d.rep.facts(&render.Section{Show: render.InJSON}, fact{render.Column{Key: "vanished", Kind: render.KindUint}, render.Uint(vanished)})
	return d.rep.failures.render(d.rep.document)
}

// complain says on standard error why rows have no verdict, and what is wrong with images
// that are consistent: they have the corrupt bit, or the dirty bit.
func (d *scanDocument) complain(a *app) {
	for _, r := range d.untold {
		a.complain(r.Name, cmp.Or(r.Err, errors.New(r.Message())))
	}
	if d.more > 0 {
		a.complain("", errors.New(counted(d.more, "more image has a message", "more images have messages")))
	}
}
