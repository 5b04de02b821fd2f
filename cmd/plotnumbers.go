package cmd

import (
	"iter"

	"github.com/qinspect/qinspect/pkg/picture"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the section of squares. Those of the classes come between the length
// and the runs.
const (
	squaresOffset = iota
	squaresLength
	squaresClass

	squaresRuns      = squaresClass + picture.Classes
	squaresRunLength = squaresRuns + 1
)

// squaresSection declares the squares of a picture.
func squaresSection() *render.Section {
	s := &render.Section{
		Key:    "squares",
		Layout: render.LayoutStream,
		Columns: []render.Column{
			squaresOffset:    {Key: "offset", Kind: render.KindAddr},
			squaresLength:    {Key: "length", Kind: render.KindSize},
			squaresRuns:      {Key: "runs", Kind: render.KindUint},
			squaresRunLength: {Key: "run-length", Kind: render.KindSize},
		},
	}
	for c := range picture.Classes {
		s.Columns[squaresClass+c] = render.Column{Key: picture.Class(c).String(), Kind: render.KindSize}
	}
	return s
}

// listPlot pushes the numbers behind a picture.
func listPlot(rep *report, p *picture.Picture) error {
	u, err := rep.img.Usage(rep.ctx, qcow2.UsageOptions{Progress: rep.progress.report}) // its damage is that of the fold
	if err != nil {
		return err
	}
	rep.facts(&render.Section{},
		fact{render.Column{Key: "file-size", Kind: render.KindSize}, render.Size(p.FileSize)},
		fact{render.Column{Key: "square", Kind: render.KindSize}, render.Size(p.SquareSize)})
	if err := listSquares(rep, p); err != nil {
		return err
	}
	listClasses(rep, p)
	rep.facts(&render.Section{}, scatterFacts(&p.Scatter)...)
	listOwners(rep, u, usageOptions{})
	rep.facts(&render.Section{}, freeFacts(u)...)
	return nil
}

// listSquares pushes the squares.
func listSquares(rep *report, p *picture.Picture) error {
	s := squaresSection()
	rep.Section(s)
	cells := make([]render.Value, len(s.Columns))
	for i := range p.Squares {
		q := &p.Squares[i]
		cells[squaresOffset], cells[squaresLength] = render.Addr(q.Offset), render.Size(q.Length())
		for c, n := range q.Bytes {
			cells[squaresClass+c] = render.Size(n)
		}
		cells[squaresRuns], cells[squaresRunLength] = render.Uint(q.Runs), render.Size(q.RunLength)
		if err := rep.Row(cells); err != nil {
			return err
		}
	}
	return nil
}

// Columns of the section of classes.
const (
	classesClass = iota
	classesBytes
)

// listClasses pushes how many bytes each class has.
func listClasses(rep *report, p *picture.Picture) {
	rep.Section(&render.Section{
		Key:    "classes",
		Layout: render.LayoutList,
		Columns: []render.Column{
			classesClass: {Key: "class", Kind: render.KindText},
			classesBytes: {Key: "bytes", Kind: render.KindSize},
		},
	})
	for c, n := range p.Bytes() {
		rep.row(render.Text(picture.Class(c).String()), render.Size(n))
	}
}

// scatterFacts are the grid of guest and host addresses.
func scatterFacts(s *picture.Scatter) []fact {
	return []fact{
		{render.Column{Key: "scatter.guest-size", Kind: render.KindSize}, render.Size(s.GuestSize)},
		{render.Column{Key: "scatter.columns", Kind: render.KindUint}, render.Uint(uint64(s.Columns))},
		{render.Column{Key: "scatter.rows", Kind: render.KindUint}, render.Uint(uint64(s.Rows))},
		{render.Column{Key: "scatter.cells", Kind: render.KindRows}, render.Rows(cellsSection(), cellRows(s))},
	}
}

// Columns of the cells of a scatter.
const (
	cellsColumn = iota
	cellsRow
	cellsClass
	cellsBytes

	cellsColumns // how many
)

// cellsSection declares the cells of a scatter.
func cellsSection() *render.Section {
	return &render.Section{
		Layout: render.LayoutList,
		Columns: []render.Column{
			cellsColumn: {Key: "column", Kind: render.KindUint},
			cellsRow:    {Key: "row", Kind: render.KindUint},
			cellsClass:  {Key: "class", Kind: render.KindText},
			cellsBytes:  {Key: "bytes", Kind: render.KindSize},
		},
	}
}

// cellRows yields the cells of a scatter that have bytes.
func cellRows(s *picture.Scatter) iter.Seq[[]render.Value] {
	return func(yield func([]render.Value) bool) {
		c := make([]render.Value, cellsColumns)
		for row := range s.Rows {
			for column := range s.Columns {
				class, n := s.At(column, row)
				if n == 0 {
					continue
				}
				c[cellsColumn], c[cellsRow] = render.Uint(uint64(column)), render.Uint(uint64(row))
				c[cellsClass], c[cellsBytes] = render.Text(class.String()), render.Size(n)
				if !yield(c) {
					return
				}
			}
		}
	}
}
