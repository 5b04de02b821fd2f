package cmd

import (
	"fmt"
	"strconv"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A problemLine makes plain lines of problems: "error refcount-too-low: 0x50000
// (#5), refcount=1 at 0x2000a, references=2, data [guest 0x0 (#0)], entry 0x40000".
//
// Entries that are wrong alike are a range of guest addresses, and what overlaps
// metadata follows: "with data [guest 0xa00 (#5)], entry 0x828".
type problemLine struct{ g qcow2.Geometry }

func (p *problemLine) append(dst []byte, row []render.Value) []byte {
	dst = append(dst, qcow2.SeverityNames()[row[checkSeverity].Num()]...)
	dst = append(append(dst, ' '), qcow2.FindingKindNames()[row[checkKind].Num()]...)
	sep := ": "
	part := func() {
		dst = append(dst, sep...)
		sep = ", "
	}
	if !row[checkOffset].IsNull() {
		part()
		first, length := row[checkOffset].Num(), max(row[checkLength].Num(), 1)
		if length <= p.g.ClusterSize {
			dst = render.AppendAddr(dst, first, p.g.ClusterBits)
		} else {
			dst = render.AppendAddrRange(dst, first, first+length-1, p.g.ClusterBits)
		}
	}
	if !row[checkRefcount].IsNull() {
		part()
		dst = strconv.AppendUint(append(dst, "refcount="...), row[checkRefcount].Num(), 10)
	}
	if !row[checkRefcountOffset].IsNull() {
		dst = fmt.Appendf(dst, " at %#x", row[checkRefcountOffset].Num())
	}
	if !row[checkReferences].IsNull() {
		part()
		dst = strconv.AppendUint(append(dst, "references="...), row[checkReferences].Num(), 10)
	}
	if !row[checkHolds].IsNull() {
		part()
		dst = append(dst, qcow2.HostKindNames()[row[checkHolds].Num()]...)
		if !row[checkSnapshot].IsNull() {
			dst = fmt.Appendf(dst, " [snapshot %s]", render.Escape(row[checkSnapshot].Str()))
		}
	}
	if !row[checkGuest].IsNull() {
		dst = appendGuestRange(dst, row[checkGuest].Num(), row[checkGuestLength].Num(), p.g)
	}
	if !row[checkEntry].IsNull() {
		part()
		dst = fmt.Appendf(dst, "entry %#x", row[checkEntry].Num())
	}
	if !row[checkWithKind].IsNull() {
		part()
		dst = appendWith(dst, row, p.g.ClusterBits)
	}
	if !row[checkMessage].IsNull() {
		part()
		dst = append(dst, row[checkMessage].Str()...)
	}
	return dst
}

// appendGuestRange appends " [guest 0x0 (#0)]", or the range where length, in
// bytes, is more than a cluster.
func appendGuestRange(dst []byte, guest, length uint64, g qcow2.Geometry) []byte {
	dst = append(dst, " [guest "...)
	if length <= g.ClusterSize {
		return append(render.AppendAddr(dst, guest, g.ClusterBits), ']')
	}
	return append(render.AppendAddrRange(dst, guest, guest+length-1, g.ClusterBits), ']')
}

// appendWith appends what overlaps metadata.
func appendWith(dst []byte, row []render.Value, clusterBits uint) []byte {
	dst = append(append(dst, "with "...), qcow2.HostKindNames()[row[checkWithKind].Num()]...)
	if !row[checkWithSnapshot].IsNull() {
		dst = fmt.Appendf(dst, " [snapshot %s]", render.Escape(row[checkWithSnapshot].Str()))
	}
	if !row[checkWithGuest].IsNull() {
		dst = append(render.AppendAddr(append(dst, " [guest "...), row[checkWithGuest].Num(), clusterBits), ']')
	}
	if !row[checkWithEntry].IsNull() {
		dst = fmt.Appendf(dst, ", entry %#x", row[checkWithEntry].Num())
	}
	return dst
}
