package render

import "strconv"

// A Line makes a line of plain output for a [Section]'s Write. It notes which of the
// row's numbers the line shows, and which of them decide what the line is: the lines
// of rows that differ in shown numbers alone need not be made one by one.
type Line struct {
	dst         []byte
	row         []Value
	clusterBits uint
	template    *template // nil: the line is for one row
	decided     bool      // by a number in which rows differ: the line is not for all of them
}

// Num returns the number of a column.
func (l *Line) Num(column int) uint64 {
	if l.template != nil && l.template.differs(column) {
		l.decided = true
	}
	return l.row[column].num
}

// IsNull reports whether a column is absent.
func (l *Line) IsNull(column int) bool { return l.row[column].IsNull() }

// Escaped writes the text of a column, escaped as [Escape] does.
func (l *Line) Escaped(column int) { l.dst = appendEscaped(l.dst, l.row[column].str) }

// Addr writes the byte offset in a column, as [AppendAddr] does.
func (l *Line) Addr(column int) {
	if t := l.template; t == nil || !t.differs(column) {
		l.dst = AppendAddr(l.dst, l.row[column].num, l.clusterBits)
		return
	}
	l.template.text = l.dst
	l.template.add(column, KindAddr, l.clusterBits, 0)
}

// AddrRange writes a range of bytes, as [AppendAddrRange] does.
func (l *Line) AddrRange(first, last uint64) {
	l.dst = AppendAddrRange(l.dst, first, last, l.clusterBits)
}

// Text writes words of this program.
func (l *Line) Text(s string) { l.dst = append(l.dst, s...) }

// Uint writes a number in decimal.
func (l *Line) Uint(n uint64) { l.dst = strconv.AppendUint(l.dst, n, 10) }

// Hex writes a number as "0x…".
func (l *Line) Hex(n uint64) { l.dst = appendHex(l.dst, n) }

// Names writes the names of the bits that are set, as [AppendNames] does.
func (l *Line) Names(names []string, word uint64) { l.dst = AppendNames(l.dst, names, word) }
