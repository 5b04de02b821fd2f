package cmd

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// guestLines makes plain lines of mappings, as dump-qcow2.pl has them: "0x0 (#0):
// 0x50000 (#5)", or for a run "0x0-0x1ffff (#0-#1): 0x50000-0x6ffff (#5-#6)".
// "[vm-state]" and problems in brackets follow.
type guestLines struct {
	g      qcow2.Geometry
	inDump bool // as the script has them
}

func (l *guestLines) append(dst []byte, row []render.Value) []byte {
	start, length := row[guestStart].Num(), row[guestLength].Num()
	one := l.isOne(start, length)
	dst = append(l.appendPlace(dst, start, length, one), ": "...)
	dst = l.appendMapping(dst, row, one)
	if row[guestVMState].Num() != 0 && !l.inDump {
		dst = append(dst, " [vm-state]"...)
	}
	if problems := row[guestProblems].Num(); problems != 0 {
		dst = append(render.AppendNames(append(dst, " ["...), qcow2.ProblemNames(), problems), ']')
	}
	return dst
}

// isOne reports whether a range is one cluster, which the end of the disk can cut.
func (l *guestLines) isOne(start, length uint64) bool {
	return length <= l.g.ClusterSize && start&(l.g.ClusterSize-1) == 0 && (length == l.g.ClusterSize || l.g.L2EntrySize == 8)
}

// appendMapping appends what a mapping points to.
func (l *guestLines) appendMapping(dst []byte, row []render.Value, one bool) []byte {
	length, host := row[guestLength].Num(), row[guestHost].Num()
	switch qcow2.MappingKind(row[guestKind].Num()) {
	case qcow2.MappingUnallocated:
		return append(dst, "Unallocated"...)
	case qcow2.MappingZero:
		return append(dst, "All zeros"...)
	case qcow2.MappingCompressed:
		return l.appendCompressed(dst, host, row[guestSectors].Num())
	case qcow2.MappingZeroAllocated:
		return append(l.appendPlace(dst, host, length, one), " (all zeros)"...)
	}
	return l.appendPlace(dst, host, length, one)
}

// appendPlace appends where a cluster lies, "0x50000 (#5)", or a run of bytes.
func (l *guestLines) appendPlace(dst []byte, first, length uint64, one bool) []byte {
	if one {
		return render.AppendAddr(dst, first, l.g.ClusterBits)
	}
	return render.AppendAddrRange(dst, first, first+length-1, l.g.ClusterBits)
}

// appendCompressed appends where compressed data lie: their first byte, and
// the clusters that they touch. The script says "1 sectors".
func (l *guestLines) appendCompressed(dst []byte, offset, sectors uint64) []byte {
	first, last := offset>>l.g.ClusterBits, (qcow2.CompressedEnd(offset, sectors)-1)>>l.g.ClusterBits
	dst = render.AppendAddr(dst, offset, l.g.ClusterBits)
	if first != last {
		dst = fmt.Appendf(dst[:len(dst)-1], " - #%d)", last)
	}
	if sectors == 1 && !l.inDump {
		return append(dst, " (compressed, 1 sector)"...)
	}
	return fmt.Appendf(dst, " (compressed, %d sectors)", sectors)
}
