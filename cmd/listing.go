package cmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// What the commands that list clusters share.

// lasting returns a RunE whose context an interrupt cancels.
func (a *app) lasting(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.Interruptible != nil {
			ctx, stop := a.Interruptible(cmd.Context())
			defer stop()
			cmd.SetContext(ctx)
		}
		return run(cmd, args)
	}
}

// forPrograms reports whether a format is for programs, which defaults for people
// do not suit.
func forPrograms(f render.Format) bool { return f == render.FormatJSON || f == render.FormatNDJSON }

// mappable returns the geometry of an image whose tables can be understood.
func (rep *report) mappable() (qcow2.Geometry, error) {
	if err := rep.img.Supported(); err != nil {
		return qcow2.Geometry{}, err
	}
	return rep.img.Geometry()
}

// damagedPlaces counts entries or clusters with problems. Several rows can be about
// one.
type damagedPlaces struct {
	n    uint64
	last uint64 // the last one, + 1
}

// add counts n places from one on, less those that were counted before.
func (d *damagedPlaces) add(place, n uint64) {
	if end := place + n; end > d.last {
		d.n, d.last = d.n+end-max(place, d.last), end
	}
}

// damagedEntries records the number of table entries with problems.
func (rep *report) damagedEntries(n uint64) {
	if n > 0 {
		rep.damaged(errors.New(counted(n, "damaged entry", "damaged entries")))
	}
}

// damagedClusters records the number of host clusters whose references have
// problems.
func (rep *report) damagedClusters(n uint64) {
	if n > 0 {
		rep.damaged(errors.New(counted(n, "cluster with damaged references", "clusters with damaged references")))
	}
}

// A rowBatch collects rows of a section that differ in numbers alone.
type rowBatch struct {
	rep   *report
	batch render.Batch
	room  [][]uint64 // of the numbers of each column, for rowsPerBatch rows
	n     int        // rows
}

// rowsPerBatch is how many rows are pushed at once.
const rowsPerBatch = 256

// newRowBatch returns an empty batch of a section with a number of columns.
func newRowBatch(rep *report, columns int) rowBatch {
	return rowBatch{rep: rep, batch: render.Batch{Row: make([]render.Value, columns)}}
}

// column returns the numbers of the rows in columns that all have the same.
func (b *rowBatch) column(columns ...int) []uint64 {
	numbers := make([]uint64, rowsPerBatch)
	for _, c := range columns {
		b.batch.Columns = append(b.batch.Columns, c)
		b.batch.Numbers = append(b.batch.Numbers, nil)
		b.room = append(b.room, numbers)
	}
	return numbers
}

// next adds the row whose numbers are set.
func (b *rowBatch) next() error {
	if b.n++; b.n < rowsPerBatch {
		return nil
	}
	return b.flush()
}

// flush pushes the rows. The next can differ in more than numbers.
func (b *rowBatch) flush() error {
	if b.n == 0 {
		return nil
	}
	for i := range b.room {
		b.batch.Numbers[i] = b.room[i][:b.n]
	}
	b.n = 0
	return b.rep.Batch(&b.batch)
}
