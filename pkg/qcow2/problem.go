package qcow2

import "strings"

// Problems is a set of things wrong with a table entry, a bit for each.
type Problems uint16

// What can be wrong with an entry.
const (
	// Unaligned: the host offset is not a multiple of the cluster size.
	Unaligned Problems = 1 << iota
	// BeyondEOF: the host offset lies past the end of the file, or compressed
	// data end a cluster or more after it.
	BeyondEOF
	// ReservedBits: bits are set that the specification reserves.
	ReservedBits
	// OverlapsMetadata: the host cluster is part of the header, the L1 table, the
	// refcount table, the L2 table that the entry is in, or the first cluster of
	// the snapshot table. Only [Image.Check], which examines the whole image, finds
	// other overlaps.
	OverlapsMetadata
	// InvalidSubclusters: a subcluster is allocated and reads as zeros, or is
	// allocated without a host cluster.
	InvalidSubclusters
	// OffsetMismatch: with an external data file the host offset is not the
	// guest offset.
	OffsetMismatch
	// NotAllowed: a compressed cluster in an image with an external data file.
	NotAllowed
	// CopiedFlag: a compressed cluster has the COPIED flag, which it must not.
	CopiedFlag
)

// ProblemNames returns the names of the problems, lowest bit first.
func ProblemNames() []string {
	return []string{
		"unaligned", "beyond-end-of-file", "reserved-bits", "overlaps-metadata",
		"invalid-subclusters", "offset-mismatch", "not-allowed", "copied-flag",
	}
}

// String returns the names of the problems joined by commas.
func (p Problems) String() string {
	var names []string
	for bit := range setBits(uint64(p)) {
		names = append(names, nameOf(ProblemNames(), uint8(bit), "bit-"))
	}
	return strings.Join(names, ",")
}

// entryProblems returns what is wrong with the first entry of a run, whose mapping
// is p, as far as the entry alone shows.
func (img *Image) entryProblems(r *l2Run, p *Mapping) Problems {
	var bad Problems
	if p.Kind == MappingCompressed {
		return img.compressedProblems(r, p)
	}
	if img.reservedBits(r.entry) != 0 {
		bad |= ReservedBits
	}
	allocated, zero := uint32(p.SubclusterBitmap), uint32(p.SubclusterBitmap>>32)
	if allocated&zero != 0 || allocated != 0 && !p.HasHost {
		bad |= InvalidSubclusters
	}
	if !p.HasHost {
		return bad
	}
	if p.HostOffset%img.geometry.ClusterSize != 0 {
		bad |= Unaligned
	}
	switch {
	case img.hasDataFile():
		if p.HostOffset != p.Start {
			bad |= OffsetMismatch
		}
	case p.HostOffset >= img.src.size:
		bad |= BeyondEOF
	}
	return bad
}

// reservedBits returns the reserved bits that are set in the first word of an L2
// entry.
func (img *Image) reservedBits(e L2Entry) L2Entry {
	switch {
	case e.Compressed():
		offset, _ := img.geometry.Compressed(e)
		return L2Entry(offset & compressedReserved)
	case img.header.Version == 2:
		return e & (l2Reserved | l2Zero)
	}
	return e & l2Reserved
}

func (img *Image) compressedProblems(r *l2Run, p *Mapping) Problems {
	var bad Problems
	if img.reservedBits(r.entry) != 0 || r.bitmap != 0 {
		bad |= ReservedBits
	}
	if r.entry.Copied() {
		bad |= CopiedFlag
	}
	if end := CompressedEnd(p.HostOffset, p.Sectors); p.HostOffset >= img.src.size || end >= img.src.size+img.geometry.ClusterSize {
		bad |= BeyondEOF // a file may end inside its last cluster
	}
	if img.hasDataFile() {
		bad |= NotAllowed
	}
	return bad
}
