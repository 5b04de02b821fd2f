package interval

import (
	"cmp"
	"math/bits"
	"slices"
)

// members are the spans that hold an offset, as a set that moves with it. A step
// to the next segment costs the spans that begin and end there: entries of a file
// are mostly asked for in their order, and any number of spans can overlap.
type members struct {
	spans []Span
	tree  tree
	byEnd []int // the numbers of the spans that are not empty, by where they end
	set   []uint64
	begun int // how many spans of tree.order begin at the offset or before it
	ended int // how many spans of byEnd end there
}

func newMembers(spans []Span) members {
	m := members{spans: spans, tree: newTree(spans), set: make([]uint64, (len(spans)+63)/64)}
	for i, s := range spans {
		if s.From < s.To {
			m.byEnd = append(m.byEnd, i)
		}
	}
	slices.SortFunc(m.byEnd, func(a, b int) int { return cmp.Compare(spans[a].To, spans[b].To) })
	return m
}

// step moves the set to an offset of the next segment.
func (m *members) step(offset uint64) {
	for ; m.ended < len(m.byEnd) && m.spans[m.byEnd[m.ended]].To <= offset; m.ended++ {
		i := m.byEnd[m.ended]
		m.set[i/64] &^= 1 << (i % 64)
	}
	for ; m.begun < len(m.tree.order) && m.spans[m.tree.order[m.begun]].From <= offset; m.begun++ {
		if i := m.tree.order[m.begun]; offset < m.spans[i].To {
			m.set[i/64] |= 1 << (i % 64)
		}
	}
}

// jump moves the set to any offset.
func (m *members) jump(offset uint64) {
	clear(m.set)
	m.tree.holding(offset, func(i int) { m.set[i/64] |= 1 << (i % 64) })
	m.begun, _ = slices.BinarySearchFunc(m.tree.order, offset, func(i int, offset uint64) int {
		if m.spans[i].From <= offset {
			return -1
		}
		return 1
	})
	m.ended, _ = slices.BinarySearchFunc(m.byEnd, offset, func(i int, offset uint64) int {
		if m.spans[i].To <= offset {
			return -1
		}
		return 1
	})
}

// each calls yield with the n members, the first of which is given, in their order.
// It returns false if yield did.
func (m *members) each(first int, n uint64, yield func(i int) bool) bool {
	for k := first / 64; n > 0; k++ {
		for word := m.set[k]; word != 0; word &= word - 1 {
			if !yield(k*64 + bits.TrailingZeros64(word)) {
				return false
			}
			n--
		}
	}
	return true
}
