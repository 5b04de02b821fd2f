package qcow2

// Severity says what a [Finding] endangers.
type Severity uint8

// The severities, the gravest first.
const (
	SeverityError   Severity = iota // data are lost, or can be, or QEMU refuses the image
	SeverityLeak                    // space is lost, nothing else
	SeverityWarning                 // legal, but likely not what was meant
	SeverityNote                    // worth knowing
)

// SeverityNames returns the names of the severities in their order.
func SeverityNames() []string { return []string{"error", "leak", "warning", "note"} }

// String returns the name of the severity.
func (s Severity) String() string { return nameOf(SeverityNames(), s, "unknown-") }

// FindingKind is a stable code for what is wrong. docs/problems.md says what
// each means.
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
	FindingBacksItself           // the image names itself as its backing file
	FindingSnapshotsOverBacking  // there are snapshots, and a backing file that they read through
	FindingUnknownFeature        // a compatible or autoclear bit or a header extension is not known
	FindingVDISignature          // QEMU takes the file for a VDI image

	findingKinds // how many
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
		"backs-itself", "snapshots-over-backing-file", "unknown-feature", "vdi-signature",
	}
}

// Structure reports whether a finding of the kind means that a structure, such as
// a table, is damaged: what the structure refers to may be unknown. It is false
// for FindingTruncated, which hides nothing.
func (k FindingKind) Structure() bool { return k >= FindingHeader && k <= FindingEncryptionHeader }

// String returns the code.
func (k FindingKind) String() string { return nameOf(FindingKindNames(), k, "unknown-") }

// A Finding is one thing that [Image.Check] has to say.
type Finding struct {
	Severity Severity
	Kind     FindingKind
	// Count is how many clusters or entries it is about, at least 1: neighbours
	// that are wrong alike are one finding.
	Count uint64
	// Offset and Length are the host clusters that it is about, in bytes;
	// meaningful when HasOffset is true. Of a finding about an entry Offset is the
	// host cluster that the entry points to; Length is 0, but for several entries
	// that point to clusters which follow each other. Of what lies past the end of
	// the file there can be gaps in the range; Length is the sum of several ranges
	// in the last finding of a kind of which there are very many.
	Offset, Length uint64
	HasOffset      bool
	// GuestLength is how many guest bytes the L2 entries map that it is about; 0
	// for other findings.
	GuestLength uint64
	// Refcount is that of each cluster; meaningful when HasRefcount is true.
	Refcount    uint64
	HasRefcount bool
	// RefcountOffset is where the refcount of the first cluster lies, in bytes
	// from the start of the file: the byte that it is in where it has fewer bits.
	// It is 0 where there is none.
	RefcountOffset uint64
	// References is how many there are to each cluster; meaningful when
	// HasReferences is true.
	References    uint64
	HasReferences bool
	// Reference says who refers to the first cluster, the first of References,
	// and HostKind as what; meaningful when HasReference is true. Of a finding
	// about entries it is the first entry; GuestOffset is meaningful for L1 entries,
	// too: where the L2 table begins.
	Reference    Reference
	HostKind     HostKind
	HasReference bool
	// With and WithKind are the same of the next reference to a cluster with
	// metadata: what overlaps these; meaningful when HasWith is true.
	With     Reference
	WithKind HostKind
	HasWith  bool
	// Entry is the file offset in bytes of the entry or field that is wrong;
	// meaningful when HasEntry is true.
	Entry    uint64
	HasEntry bool
	// Detail says more in words; it never holds bytes of the image unescaped.
	Detail string
}

// FindingKinds is a set of kinds.
type FindingKinds uint64

// Names returns their codes in the order of the kinds.
func (k FindingKinds) Names() []string {
	var names []string
	for bit := range setBits(uint64(k)) {
		names = append(names, FindingKind(bit).String())
	}
	return names
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
