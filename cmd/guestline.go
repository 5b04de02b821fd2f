package cmd

import (
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// guestLines makes plain lines of mappings, as dump-qcow2.pl has them: "0x0 (#0):
// 0x50000 (#5)", or for a run "0x0-0x1ffff (#0-#1): 0x50000-0x6ffff (#5-#6)".
// "[vm-state]" and problems in brackets follow.
type guestLines struct {
	g      qcow2.Geometry
	inDump bool // as the script has them
	whole  bool // mappings begin with a cluster
}

func (s *guestLines) write(l *render.Line) {
	one := s.isCluster(l)
	s.writePlace(l, guestStart, one)
	l.Text(": ")
	s.writeMapping(l, one)
	if l.Num(guestVMState) != 0 && !s.inDump {
		l.Text(" [vm-state]")
	}
	if problems := l.Num(guestProblems); problems != 0 {
		l.Text(" [")
		l.Names(qcow2.ProblemNames(), problems)
		l.Text("]")
	}
}

// isCluster reports whether a mapping is one cluster, which is cut where the disk
// ends.
func (s *guestLines) isCluster(l *render.Line) bool {
	length, size := l.Num(guestLength), s.g.ClusterSize
	if length > size || length < size && s.g.L2EntrySize != 8 {
		return false
	}
	return s.whole || l.Num(guestStart)&(size-1) == 0
}

// writeMapping writes what a mapping points to.
func (s *guestLines) writeMapping(l *render.Line, one bool) {
	switch qcow2.MappingKind(l.Num(guestKind)) {
	case qcow2.MappingUnallocated:
		l.Text("Unallocated")
	case qcow2.MappingZero:
		l.Text("All zeros")
	case qcow2.MappingCompressed:
		s.writeCompressed(l)
	case qcow2.MappingZeroAllocated:
		s.writePlace(l, guestHost, one)
		l.Text(" (all zeros)")
	default:
		s.writePlace(l, guestHost, one)
	}
}

// writePlace writes where a cluster lies, "0x50000 (#5)", or a run of bytes.
func (s *guestLines) writePlace(l *render.Line, column int, one bool) {
	if one {
		l.Addr(column)
		return
	}
	first := l.Num(column)
	l.AddrRange(first, first+l.Num(guestLength)-1)
}

// writeCompressed writes where compressed data lie: their first byte, and the
// clusters that they touch. The script says "1 sectors".
func (s *guestLines) writeCompressed(l *render.Line) {
	offset, sectors := l.Num(guestHost), l.Num(guestSectors)
	first, last := offset>>s.g.ClusterBits, (qcow2.CompressedEnd(offset, sectors)-1)>>s.g.ClusterBits
	l.Hex(offset)
	l.Text(" (#")
	l.Uint(first)
	if first != last {
		l.Text(" - #")
		l.Uint(last)
	}
	l.Text(") (compressed, ")
	l.Uint(sectors)
	if sectors == 1 && !s.inDump {
		l.Text(" sector)")
	} else {
		l.Text(" sectors)")
	}
}
