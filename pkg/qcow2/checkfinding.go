package qcow2

// Severity is how grave a [Finding] is.
type Severity uint8

// The severities, the gravest first.
const (
	SeverityError   Severity = iota // data is lost or can be lost, or QEMU refuses the image
	SeverityLeak                    // space is lost, nothing else
	SeverityWarning                 // legal, but likely not what was meant
	SeverityNote                    // worth knowing
)

// SeverityNames returns the names of the severities in their order.
func SeverityNames() []string { return []string{"error", "leak", "warning", "note"} }

// String returns the name of the severity.
func (s Severity) String() string { return nameOf(SeverityNames(), s, "unknown-") }

// FindingKind is what is wrong, as a stable code. docs/problems.md explains each.
type FindingKind uint8

// The kinds of findings.
const (
	// Of clusters.
	FindingLeak              FindingKind = iota // the refcount is higher than the number of references
	FindingRefcountTooLow                       // the refcount is lower than the number of references
	FindingOverlap                              // a cluster holds metadata, and something else
	FindingRefcountUnknown                      // the refcount of clusters in use cannot be read
	FindingRefcountBeyondEOF                    // clusters past the end of the file have a refcount
	// Of table entries; see [Problems].
	FindingCopiedFlag
	FindingUnaligned
	FindingBeyondEOF
	FindingReservedBits
	FindingInvalidSubclusters
	FindingOffsetMismatch
	FindingNotAllowed
	// Of structures: they contradict the specification, lie past the end of the
	// file, are above a limit, or cannot be read.
	FindingHeader
	FindingExtensions
	FindingRefcountTable
	FindingRefcountBlock
	FindingL1Table
	FindingL2Table
	FindingSnapshotTable
	FindingBitmapDirectory
	FindingBitmapTable
	FindingEncryptionHeader
	FindingTruncated // the file ends inside a structure, in its last cluster
	// Of the image as a whole.
	FindingDirty                 // the dirty bit is set
	FindingCorrupt               // the corrupt bit is set
	FindingBitmapsInconsistent   // there are bitmaps, and autoclear bit 0 is clear; or the reverse
	FindingBitmapInUse           // a bitmap was not closed
	FindingDuplicateSnapshotID   // two snapshots have one id
	FindingAmbiguousSnapshotName // the name of a snapshot is the id of another
	FindingMissingVMState        // a snapshot has a VM state size, but maps nothing past the end of its disk
	FindingSnapshotL1TooSmall    // the L1 table of a snapshot does not cover its disk
	FindingHeaderPadding         // the bytes after compression_type are not zeros
	FindingHeaderLength          // header_length is not a multiple of 8
	FindingFeatureName           // a record of the feature name table names no bit
	FindingBackingNameInHeader   // the name of the backing file lies in the header, and no extension is read
)

// FindingKindNames returns the codes in the order of the kinds.
func FindingKindNames() []string {
	return []string{
		"leak", "refcount-too-low", "overlaps-metadata", "refcount-unknown", "refcount-beyond-end-of-file",
		"copied-flag", "unaligned", "beyond-end-of-file", "reserved-bits", "invalid-subclusters", "offset-mismatch", "not-allowed",
		"header", "header-extensions", "refcount-table", "refcount-block", "l1-table", "l2-table",
		"snapshot-table", "bitmap-directory", "bitmap-table", "encryption-header", "truncated",
		"dirty", "corrupt", "bitmaps-inconsistent", "bitmap-in-use", "duplicate-snapshot-id", "ambiguous-snapshot-name",
		"missing-vm-state", "snapshot-l1-too-small", "header-padding", "header-length",
		"feature-name", "backing-name-in-header",
	}
}

// Structure reports whether a finding of the kind means that a structure, such as
// a table, is damaged: what the structure refers to may be unknown. It is false
// for FindingTruncated, which hides nothing.
func (k FindingKind) Structure() bool { return k >= FindingHeader && k <= FindingEncryptionHeader }

// String returns the code.
func (k FindingKind) String() string { return nameOf(FindingKindNames(), k, "unknown-") }

// A Finding is one thing that [Image.Check] reports.
type Finding struct {
	Severity Severity
	Kind     FindingKind
	// Offset and Length are the host clusters that it is about, in bytes;
	// meaningful when HasOffset is true. Neighbours with the same problem are one
	// finding if they lie in one structure, or nothing refers to them. If it is
	// about an entry, Offset is the host cluster that the entry points to, and
	// Length is 0.
	Offset, Length uint64
	HasOffset      bool
	// Refcount is that of each cluster; meaningful when HasRefcount is true.
	Refcount    uint64
	HasRefcount bool
	// RefcountOffset is where the refcount of the first cluster, or the byte that
	// holds it, lies, in bytes from the start of the file; 0 if there is none.
	RefcountOffset uint64
	// References is the number of references to each cluster; meaningful when
	// HasReferences is true.
	References    uint64
	HasReferences bool
	// Reference is the first of the references to the first cluster, and HostKind
	// what the cluster holds according to it; meaningful when HasReference is true.
	Reference    Reference
	HostKind     HostKind
	HasReference bool
	// Entry is the file offset in bytes of the entry or field that is wrong;
	// meaningful when HasEntry is true.
	Entry    uint64
	HasEntry bool
	// Detail says more in words; it never holds bytes of the image unescaped.
	Detail string
}

// findingOf is the kind of finding for each section that an [Error] can be
// about.
var findingOf = map[Section]FindingKind{
	SectionHeader:           FindingHeader,
	SectionExtensions:       FindingExtensions,
	SectionRefcountTable:    FindingRefcountTable,
	SectionRefcountBlock:    FindingRefcountBlock,
	SectionL1Table:          FindingL1Table,
	SectionL2Table:          FindingL2Table,
	SectionSnapshotTable:    FindingSnapshotTable,
	SectionBitmapDirectory:  FindingBitmapDirectory,
	SectionBitmapTable:      FindingBitmapTable,
	SectionEncryptionHeader: FindingEncryptionHeader,
}

// findingOfProblem is the kind of finding for each bit of [Problems].
var findingOfProblem = [...]FindingKind{
	FindingUnaligned, FindingBeyondEOF, FindingReservedBits, FindingOverlap,
	FindingInvalidSubclusters, FindingOffsetMismatch, FindingNotAllowed, FindingCopiedFlag,
}
