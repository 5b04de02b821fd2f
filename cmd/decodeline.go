package cmd

import (
	"strconv"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// decodeLines makes plain lines of table entries: "0x18008 [1]: 0x8000000000019000
// data 0x19000 (#25) copied [guest 0x1000 (#1)]", of runs with ranges, and of fields
// "0x16000 [0] l1_table_offset: 0x4000".
type decodeLines struct {
	g      qcow2.Geometry
	kind   qcow2.HostKind
	active bool // COPIED means something: it is a table of the active image
}

// append appends the line of a row.
func (l *decodeLines) append(dst []byte, row []render.Value) []byte {
	count := row[decodeCount].Num()
	dst = l.appendPlace(dst, row, count)
	if !row[decodeField].IsNull() {
		return appendField(dst, row)
	}
	dst = append(dst, ": "...)
	switch l.kind {
	case qcow2.HostRefcountBlock:
		dst = strconv.AppendUint(dst, row[decodeRefcount].Num(), 10)
		return l.appendRange(append(dst, ' '), row, decodeHost, count<<l.g.ClusterBits)
	case qcow2.HostBitmapData:
		dst = append(dst, qcow2.EntryKind(row[decodeKind].Num()).String()...)
	default:
		dst = l.appendEntry(dst, row, count)
	}
	if length := row[decodeLength].Num(); !row[decodeGuest].IsNull() && length > 0 {
		dst = append(l.appendRange(append(dst, " [guest "...), row, decodeGuest, length), ']')
	}
	if dirty := row[decodeDirty]; row[decodeKind].Num() == uint64(qcow2.EntryStored) && !dirty.IsNull() {
		dst = append(strconv.AppendUint(append(dst, " ["...), dirty.Num(), 10), " dirty]"...)
	}
	copied := row[decodeFlags].Num()&uint64(qcow2.FlagCopied) != 0
	if refcount := row[decodeRefcount]; l.active && row[decodeSectors].IsNull() && !refcount.IsNull() && copied != (refcount.Num() == 1) {
		dst = append(strconv.AppendUint(append(dst, " [refcount "...), refcount.Num(), 10), ']')
	}
	if problems := row[decodeProblems].Num(); problems != 0 {
		dst = append(render.AppendNames(append(dst, " ["...), qcow2.ProblemNames(), problems), ']')
	}
	return dst
}

// appendPlace appends where the entries lie, and their indexes.
func (l *decodeLines) appendPlace(dst []byte, row []render.Value, count uint64) []byte {
	index := row[decodeIndex].Num()
	dst = appendHexNumber(dst, row[decodeEntry].Num())
	if bit := row[decodeBit]; !bit.IsNull() && bit.Num() > 0 {
		dst = strconv.AppendUint(append(dst, " bit "...), bit.Num(), 10)
	}
	dst = strconv.AppendUint(append(dst, " ["...), index, 10)
	if count > 1 {
		dst = strconv.AppendUint(append(dst, '-'), index+count-1, 10)
	}
	return append(dst, ']')
}

// appendEntry appends a word, and what it says.
func (l *decodeLines) appendEntry(dst []byte, row []render.Value, count uint64) []byte {
	value := row[decodeValue].Num()
	dst = appendHexNumber(dst, value)
	if step := row[decodeStep].Num(); step > 0 {
		dst = appendHexNumber(append(dst, '-'), value+(count-1)*step)
	}
	if !row[decodeBitmap].IsNull() {
		dst = appendHexNumber(append(dst, ' '), row[decodeBitmap].Num())
	}
	kind := qcow2.EntryKind(row[decodeKind].Num())
	dst = append(append(dst, ' '), kind.String()...)
	if !row[decodeHost].IsNull() {
		length := l.g.ClusterSize
		if row[decodeStep].Num() > 0 {
			length *= count
		}
		dst = l.appendRange(append(dst, ' '), row, decodeHost, length)
	}
	if row[decodeFlags].Num()&uint64(qcow2.FlagCopied) != 0 {
		dst = append(dst, " copied"...)
	}
	if sectors := row[decodeSectors]; !sectors.IsNull() {
		dst = strconv.AppendUint(append(dst, " sectors "...), sectors.Num(), 10)
	}
	return dst
}

// appendRange appends the addresses from that in a column on: one where they are no
// more than a cluster.
func (l *decodeLines) appendRange(dst []byte, row []render.Value, column int, length uint64) []byte {
	if row[column].IsNull() {
		return append(dst, '-')
	}
	first := row[column].Num()
	if length <= l.g.ClusterSize {
		return render.AppendAddr(dst, first, l.g.ClusterBits)
	}
	return render.AppendAddrRange(dst, first, first+length-1, l.g.ClusterBits)
}

// appendField appends a field: its name and value, or its bytes, and its text.
func appendField(dst []byte, row []render.Value) []byte {
	dst = append(append(dst, ' '), row[decodeField].Str()...)
	dst = append(dst, ": "...)
	if row[decodeValue].IsNull() {
		dst = append(dst, row[decodeHex].Str()...)
	} else {
		dst = appendHexNumber(dst, row[decodeValue].Num())
	}
	if text := row[decodeText]; !text.IsNull() {
		dst = append(append(dst, ' '), render.Escape(text.Str())...)
	}
	return dst
}

// appendHexNumber appends a number in hexadecimal.
func appendHexNumber(dst []byte, n uint64) []byte {
	return strconv.AppendUint(append(dst, "0x"...), n, 16)
}
