package cmd

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/render"
)

// A sortKey is a flag that takes the key of a column, with '-' before it for a
// descending order. It need not be given.
type sortKey struct {
	text       string
	column     int
	descending bool
}

func (k *sortKey) String() string { return k.text }
func (k *sortKey) Type() string   { return "key" }

// Set takes a key.
func (k *sortKey) Set(s string) error {
	name, descending := strings.CutPrefix(s, "-")
	i := slices.Index(scanKeys(), name)
	if i < 0 {
		return errors.New("must be " + k.allowed())
	}
	*k = sortKey{s, i, descending}
	return nil
}

func (*sortKey) allowed() string {
	return "a key of the rows (" + strings.Join(scanKeys(), ", ") + "), with '-' before it for a descending order"
}

// scanKeys returns the keys of the rows in the order of the columns.
func scanKeys() []string {
	var keys []string
	for _, c := range scanSection().Columns {
		keys = append(keys, c.Key)
	}
	return keys
}

// sort sorts rows. Those that have no value come last; rows with the same value stay
// in their order.
func (k *sortKey) sort(rows []*fleet.Row) {
	type keyed struct {
		row   *fleet.Row
		value render.Value
	}
	all, cells := make([]keyed, len(rows)), make([]render.Value, scanColumns)
	for i, r := range rows {
		scanCells(cells, r)
		all[i] = keyed{r, cells[k.column]}
	}
	slices.SortStableFunc(all, func(a, b keyed) int {
		if a.value.IsNull() || b.value.IsNull() {
			return cmp.Compare(orderOf(a.value), orderOf(b.value))
		}
		order := cmp.Or(cmp.Compare(a.value.Num(), b.value.Num()), cmp.Compare(a.value.Str(), b.value.Str()))
		if k.descending {
			order = -order
		}
		return order
	})
	for i := range all {
		rows[i] = all[i].row
	}
}

// orderOf returns 1 for what is not known, else 0.
func orderOf(v render.Value) int {
	if v.IsNull() {
		return 1
	}
	return 0
}
