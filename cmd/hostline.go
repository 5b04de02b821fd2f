package cmd

import (
	"strconv"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// hostLines makes plain lines of host ranges, as dump-qcow2.pl has them:
// "0x10000 (#1): Refcount table 0", or for a run "0x50000-0x6ffff (#5-#6): Data
// cluster [guest 0x0-0x1ffff (#0-#1)]".
type hostLines struct {
	g        qcow2.Geometry
	owners   bool            // name the owner in every line
	inDump   bool            // as the script writes them, without columns that it lacks
	selected *qcow2.Snapshot // whose guest addresses a dump shows; nil: those of the active image
}

// hostWords are the words for the kinds. Where number is set, the index of the
// cluster follows.
var hostWords = [...]struct {
	words  string
	number bool
}{
	qcow2.HostHeader:           {"QCOW2 Header", false},
	qcow2.HostRefcountTable:    {"Refcount table ", true},
	qcow2.HostL1Table:          {"L1 table ", true},
	qcow2.HostSnapshotTable:    {"Snapshot table", false},
	qcow2.HostBitmapDirectory:  {"Bitmap directory ", true},
	qcow2.HostBitmapTable:      {"Bitmap table ", true},
	qcow2.HostEncryptionHeader: {"Full disk encryption header ", true},
	qcow2.HostRefcountBlock:    {"Refcount block ", true},
	qcow2.HostBitmapData:       {"Bitmap data ", true},
	qcow2.HostL2Table:          {"L2 table ", true},
	qcow2.HostData:             {"Data cluster", false},
	qcow2.HostZeroAllocated:    {"All zeros", false},
	qcow2.HostCompressed:       {"Compressed cluster", false},
	qcow2.HostVMState:          {"VM state", false},
	qcow2.HostLeaked:           {"Leaked", false},
	qcow2.HostFree:             {"Free", false},
	qcow2.HostUnknown:          {"Unknown", false},
}

// append appends the line of a row.
func (l *hostLines) append(dst []byte, row []render.Value) []byte {
	offset, length := row[hostOffset].Num(), row[hostLength].Num()
	clusters := l.g.ClustersIn(length)
	if clusters == 1 {
		dst = render.AppendAddr(dst, offset, l.g.ClusterBits)
	} else {
		dst = render.AppendAddrRange(dst, offset, offset+length-1, l.g.ClusterBits)
	}
	kind := qcow2.HostKind(row[hostKind].Num())
	if l.inDump && kind == qcow2.HostVMState {
		kind = qcow2.HostData
	}
	w := &hostWords[kind]
	dst = append(append(dst, ": "...), w.words...)
	if w.number {
		index := row[hostIndex].Num()
		dst = strconv.AppendUint(dst, index, 10)
		if clusters > 1 {
			dst = strconv.AppendUint(append(dst, '-'), index+clusters-1, 10)
		}
	}
	if kind == qcow2.HostL1Table || kind == qcow2.HostL2Table || l.owners && !row[hostOwner].IsNull() || !l.inDump && !row[hostSnapshotIndex].IsNull() {
		dst = l.appendOwner(dst, row)
	}
	if !l.inDump && !row[hostBitmap].IsNull() {
		dst = append(append(append(dst, " [bitmap "...), render.Escape(row[hostBitmap].Str())...), ']')
	}
	dst = l.appendGuest(dst, row, kind, clusters)
	if l.owners && !row[hostEntry].IsNull() {
		dst = l.appendEntry(dst, row)
	}
	if problems := row[hostProblems].Num(); problems != 0 {
		dst = append(render.AppendNames(append(dst, " ["...), qcow2.ProblemNames(), problems), ']')
	}
	return dst
}

// appendOwner appends " [active]" or " [snapshot ID]".
func (l *hostLines) appendOwner(dst []byte, row []render.Value) []byte {
	if row[hostSnapshotIndex].IsNull() {
		return append(dst, " [active]"...)
	}
	dst = append(dst, " [snapshot "...)
	return append(append(dst, render.Escape(row[hostSnapshot].Str())...), ']')
}

// appendGuest appends the guest addresses of data if the script writes them: not
// for compressed clusters, and in dump only for the mapping that is shown.
func (l *hostLines) appendGuest(dst []byte, row []render.Value, kind qcow2.HostKind, clusters uint64) []byte {
	if row[hostGuest].IsNull() || !l.owners && (kind == qcow2.HostCompressed || l.inDump && !l.isSelected(row)) {
		return dst
	}
	guest := row[hostGuest].Num()
	dst = append(dst, " [guest "...)
	if clusters == 1 {
		dst = render.AppendAddr(dst, guest, l.g.ClusterBits)
	} else {
		dst = render.AppendAddrRange(dst, guest, guest+clusters<<l.g.ClusterBits-1, l.g.ClusterBits)
	}
	return append(dst, ']')
}

// isSelected reports whether a row belongs to the mapping whose guest addresses
// are shown.
func (l *hostLines) isSelected(row []render.Value) bool {
	index := &row[hostSnapshotIndex]
	if l.selected == nil || index.IsNull() {
		return l.selected == nil && index.IsNull()
	}
	return index.Num() == uint64(l.selected.Index)
}

// appendEntry appends where a reference comes from: " [L1 0, L2 5, entry 0x40028]".
func (l *hostLines) appendEntry(dst []byte, row []render.Value) []byte {
	dst = append(dst, " ["...)
	if !row[hostL1Index].IsNull() {
		dst = strconv.AppendUint(append(dst, "L1 "...), row[hostL1Index].Num(), 10)
		dst = append(dst, ", "...)
	}
	if !row[hostGuest].IsNull() {
		dst = strconv.AppendUint(append(dst, "L2 "...), row[hostIndex].Num(), 10)
		dst = append(dst, ", "...)
	}
	dst = append(dst, "entry 0x"...)
	return append(strconv.AppendUint(dst, row[hostEntry].Num(), 16), ']')
}
