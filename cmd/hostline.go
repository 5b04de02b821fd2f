package cmd

import (
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

func (h *hostLines) write(l *render.Line) {
	clusters := h.g.ClustersIn(l.Num(hostLength))
	if clusters == 1 {
		l.Addr(hostOffset)
	} else {
		offset := l.Num(hostOffset)
		l.AddrRange(offset, offset+l.Num(hostLength)-1)
	}
	kind := qcow2.HostKind(l.Num(hostKind))
	if h.inDump && kind == qcow2.HostVMState {
		kind = qcow2.HostData
	}
	h.writeKind(l, kind, clusters)
	if kind == qcow2.HostL1Table || kind == qcow2.HostL2Table || h.owners && !l.IsNull(hostOwner) || !h.inDump && !l.IsNull(hostSnapshotIndex) {
		writeOwner(l)
	}
	if !h.inDump && !l.IsNull(hostBitmap) {
		l.Text(" [bitmap ")
		l.Escaped(hostBitmap)
		l.Text("]")
	}
	h.writeGuest(l, kind, clusters)
	if h.owners && !l.IsNull(hostEntry) {
		writeEntry(l)
	}
	if problems := l.Num(hostProblems); problems != 0 {
		l.Text(" [")
		l.Names(qcow2.ProblemNames(), problems)
		l.Text("]")
	}
}

// writeKind writes what clusters hold.
func (h *hostLines) writeKind(l *render.Line, kind qcow2.HostKind, clusters uint64) {
	w := &hostWords[kind]
	l.Text(": ")
	l.Text(w.words)
	if !w.number {
		return
	}
	index := l.Num(hostIndex)
	l.Uint(index)
	if clusters > 1 {
		l.Text("-")
		l.Uint(index + clusters - 1)
	}
}

// writeOwner writes " [active]" or " [snapshot ID]".
func writeOwner(l *render.Line) {
	if l.IsNull(hostSnapshotIndex) {
		l.Text(" [active]")
		return
	}
	l.Text(" [snapshot ")
	l.Escaped(hostSnapshot)
	l.Text("]")
}

// writeGuest writes the guest addresses of data if the script writes them: not for
// compressed clusters, and in dump only for the mapping that is shown.
func (h *hostLines) writeGuest(l *render.Line, kind qcow2.HostKind, clusters uint64) {
	if l.IsNull(hostGuest) || !h.owners && (kind == qcow2.HostCompressed || h.inDump && !h.isSelected(l)) {
		return
	}
	l.Text(" [guest ")
	if clusters == 1 {
		l.Addr(hostGuest)
	} else {
		guest := l.Num(hostGuest)
		l.AddrRange(guest, guest+clusters<<h.g.ClusterBits-1)
	}
	l.Text("]")
}

// isSelected reports whether a row belongs to the mapping whose guest addresses
// are shown.
func (h *hostLines) isSelected(l *render.Line) bool {
	if h.selected == nil || l.IsNull(hostSnapshotIndex) {
		return h.selected == nil && l.IsNull(hostSnapshotIndex)
	}
	return l.Num(hostSnapshotIndex) == uint64(h.selected.Index)
}

// writeEntry writes where a reference comes from: " [L1 0, L2 5, entry 0x40028]".
func writeEntry(l *render.Line) {
	l.Text(" [")
	if !l.IsNull(hostL1Index) {
		l.Text("L1 ")
		l.Uint(l.Num(hostL1Index))
		l.Text(", ")
	}
	if !l.IsNull(hostGuest) {
		l.Text("L2 ")
		l.Uint(l.Num(hostIndex))
		l.Text(", ")
	}
	l.Text("entry ")
	l.Hex(l.Num(hostEntry))
	l.Text("]")
}
