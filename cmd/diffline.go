package cmd

import (
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// diffLines makes plain lines of differences: "0x1000-0x1fff (#8-#15): written, data
// 0x3000-0x3fff (#24-#31) [was data 0x1a00-0x29ff (#13-#20)]".
type diffLines struct{ g qcow2.Geometry }

func (l *diffLines) append(dst []byte, row []render.Value) []byte {
	start, length := row[diffStart].Num(), row[diffLength].Num()
	one := l.isOne(start, length)
	dst = append(l.appendPlace(dst, start, length, one), ": "...)
	dst = append(dst, qcow2.Change(row[diffChange].Num()).String()...)
	if !row[diffToKind].IsNull() {
		dst = l.appendSide(append(dst, ", "...), &row[diffToKind], &row[diffToHost], length, one)
	}
	if !row[diffFromKind].IsNull() {
		dst = l.appendSide(append(dst, " [was "...), &row[diffFromKind], &row[diffFromHost], length, one)
		dst = append(dst, ']')
	}
	return dst
}

// isOne reports whether a range is one cluster, which the end of the disk can cut.
func (l *diffLines) isOne(start, length uint64) bool {
	return length <= l.g.ClusterSize && start&(l.g.ClusterSize-1) == 0 && (length == l.g.ClusterSize || l.g.L2EntrySize == 8)
}

// appendPlace appends where a cluster lies, "0x50000 (#5)", or a run of bytes.
func (l *diffLines) appendPlace(dst []byte, first, length uint64, one bool) []byte {
	if one {
		return render.AppendAddr(dst, first, l.g.ClusterBits)
	}
	return render.AppendAddrRange(dst, first, first+length-1, l.g.ClusterBits)
}

// appendSide appends what one side maps: its kind, and where that lies. Of compressed
// data it is the first byte.
func (l *diffLines) appendSide(dst []byte, kind, host *render.Value, length uint64, one bool) []byte {
	k := qcow2.MappingKind(kind.Num())
	dst = append(dst, k.String()...)
	if host.IsNull() {
		return dst
	}
	return l.appendPlace(append(dst, ' '), host.Num(), length, one || k == qcow2.MappingCompressed)
}
