package qcow2

import "strings"

// Problems is the set of what is wrong with an entry of a table.
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
	// OverlapsMetadata: the host cluster is one of the header, the L1 table, the
	// refcount table, the first of the snapshot table, or the L2 table that the
	// entry is in. Other overlaps can only be found by examining the whole
	// image: see [Image.Check].
	OverlapsMetadata
	// InvalidSubclusters: a subcluster is allocated and reads as zeros, or is
	// allocated without a host cluster.
	InvalidSubclusters
	// OffsetMismatch: with an external data file the host offset is not the
	// guest offset.
	OffsetMismatch
	// NotAllowed: a compressed cluster in an image with an external data file.
	NotAllowed
	// CopiedFlag: a compressed cluster has the COPIED flag, which only others
	// can have.
	CopiedFlag
)

// ProblemNames returns the names of the problems, that of the lowest bit
// first.
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

// entryProblems returns what is wrong with the first entry of a run, whose
// mapping is p, as far as the entry itself tells.
func (img *Image) entryProblems(r *l2Run, p *Mapping) Problems {
	var bad Problems
	if p.Kind == MappingCompressed {
		return img.compressedProblems(r, p)
	}
	reserved := r.entry & l2Reserved
	if img.header.Version == 2 {
		reserved |= r.entry & l2Zero
	}
	if reserved != 0 {
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

func (img *Image) compressedProblems(r *l2Run, p *Mapping) Problems {
	var bad Problems
	if p.HostOffset&compressedReserved != 0 || r.bitmap != 0 {
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

// problems returns what is wrong with the first entry of a run, whose mapping
// is p.
func (m *mapper) problems(r *l2Run, p *Mapping) Problems {
	bad := m.img.entryProblems(r, p)
	switch {
	case p.Kind == MappingCompressed:
		if m.inMetadata(p.HostOffset, CompressedEnd(p.HostOffset, p.Sectors)) {
			bad |= OverlapsMetadata
		}
	case p.HasHost && !m.img.hasDataFile():
		table := r.at &^ (m.img.geometry.ClusterSize - 1)
		if m.inMetadata(p.HostOffset, p.HostOffset+1) || p.HostOffset == table {
			bad |= OverlapsMetadata
		}
	}
	return bad
}

// healthy reports whether a run whose first cluster, p, has no problem has none
// at all: whether it ends before the file does, and reaches into no metadata.
func (m *mapper) healthy(r *l2Run, p *Mapping) bool {
	if !p.HasHost || m.img.hasDataFile() {
		return true // in a data file, offsets go on as guest offsets do
	}
	size := m.img.geometry.ClusterSize
	end := p.HostOffset + r.n*size
	inTable := p.HostOffset < r.at && r.at < end
	return end-size < m.img.src.size && !m.inMetadata(p.HostOffset, end) && !inTable
}

// inMetadata reports whether host bytes from first up to end belong to what
// the header points to.
func (m *mapper) inMetadata(first, end uint64) bool {
	for i := range m.metadata { // of the array, not of a copy
		r := &m.metadata[i]
		if first < r[1] && r[0] < min(end, r[1]) {
			return true
		}
	}
	return false
}
