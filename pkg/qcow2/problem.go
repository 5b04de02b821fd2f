package qcow2

// Problems is the set of what is wrong with an entry of a table.
type Problems uint8

// What can be wrong with an entry.
const (
	// Unaligned: the host offset is not a multiple of the cluster size.
	Unaligned Problems = 1 << iota
	// BeyondEOF: the host offset lies past the end of the file, or compressed
	// data end a cluster or more behind it.
	BeyondEOF
	// ReservedBits: bits are set that the specification reserves.
	ReservedBits
	// OverlapsMetadata: the host cluster is one of the header, the L1 table, the
	// refcount table, the first of the snapshot table, or the L2 table that the
	// entry is in. Other overlaps take a look at the whole image to see.
	OverlapsMetadata
	// InvalidSubclusters: a subcluster is allocated and reads as zeros, or is
	// allocated without a host cluster.
	InvalidSubclusters
	// OffsetMismatch: with an external data file the host offset is not the
	// guest offset.
	OffsetMismatch
	// NotAllowed: a compressed cluster in an image with an external data file.
	NotAllowed
)

// ProblemNames returns the names of the problems, that of the lowest bit
// first.
func ProblemNames() []string {
	return []string{
		"unaligned", "beyond-end-of-file", "reserved-bits", "overlaps-metadata",
		"invalid-subclusters", "offset-mismatch", "not-allowed",
	}
}
