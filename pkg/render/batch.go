package render

// A Batch is rows of a section that differ in numbers alone.
type Batch struct {
	// Row is a row of the section. What it has in other columns than Columns, and
	// where it is null, all rows have. Its numbers in Columns are changed when the
	// batch is written.
	Row []Value
	// Columns are the indexes of the columns in which rows can differ.
	Columns []int
	// Numbers has, for each of Columns, the number of every row: at least one, and
	// as many in each column.
	Numbers [][]uint64
}

// Len returns the number of rows.
func (b *Batch) Len() int { return len(b.Numbers[0]) }

// each calls row with every row of the batch, for a renderer that writes them one
// by one.
func (b *Batch) each(row func([]Value) error) error {
	for i := range b.Len() {
		b.set(i)
		if err := row(b.Row); err != nil {
			return err
		}
	}
	return nil
}

// set makes Row the i-th row.
func (b *Batch) set(i int) {
	for j, c := range b.Columns {
		if v := &b.Row[c]; !v.IsNull() {
			v.SetNum(b.Numbers[j][i])
		}
	}
}
