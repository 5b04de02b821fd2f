package qcow2

// HostKind is what a host cluster holds.
type HostKind uint8

// The kinds of host clusters. If references to a cluster differ in kind, it has the
// first of their kinds in this order; among the kinds of guest data, that of the
// owner that comes first.
const (
	HostHeader HostKind = iota
	HostRefcountTable
	HostL1Table
	HostSnapshotTable
	HostBitmapDirectory
	HostBitmapTable
	HostEncryptionHeader
	HostRefcountBlock
	HostBitmapData
	HostL2Table
	HostData
	HostZeroAllocated // reads as zeros
	HostCompressed    // data of one compressed cluster or of several
	HostVMState       // guest data past the end of the disk
	HostLeaked        // nothing refers to it, but its refcount is not 0
	HostFree          // nothing refers to it, and its refcount is 0
	HostUnknown       // nothing refers to it, and its refcount cannot be read
)

// HostKindNames returns the names of the kinds in their order.
func HostKindNames() []string {
	return []string{
		"header", "refcount-table", "l1-table", "snapshot-table", "bitmap-directory", "bitmap-table", "encryption-header",
		"refcount-block", "bitmap-data", "l2-table", "data", "zero-allocated", "compressed", "vm-state", "leaked", "free", "unknown",
	}
}

// String returns the name of the kind.
func (k HostKind) String() string { return nameOf(HostKindNames(), k, "unknown-") }

// Metadata reports whether clusters of the kind hold metadata: the header, a
// table, a directory or a bitmap.
func (k HostKind) Metadata() bool { return k <= HostL2Table }

// Referenced reports whether something refers to clusters of the kind. Nothing
// does to those that are leaked, free or unknown.
func (k HostKind) Referenced() bool { return k < HostLeaked }

// structure reports whether the kind is that of a structure, which is contiguous.
func (k HostKind) structure() bool { return k <= HostEncryptionHeader }

// overlaps reports whether a cluster with metadata or guest data must not hold
// what came later as well: metadata share with nothing, but for L2 tables, to
// which any number of L1 entries can point.
func (k HostKind) overlaps(later HostKind) bool {
	return k.Metadata() && (k != HostL2Table || later != HostL2Table)
}

// section returns the section that errors of a structure are about.
func (k HostKind) section() Section {
	return [...]Section{
		SectionHeader, SectionRefcountTable, SectionL1Table, SectionSnapshotTable,
		SectionBitmapDirectory, SectionBitmapTable, SectionEncryptionHeader,
	}[k]
}
