package qcow2

import "github.com/qinspect/qinspect/pkg/qcow2/internal/interval"

// An entryJudge finds what is wrong with L2 entries.
type entryJudge struct {
	img      *Image
	metadata [4]interval.Span // what the header points to
}

// headerMetadata returns where the header, what it points to, and the L1 table of
// the mapping lie.
func (img *Image) headerMetadata(l1 entryTable) [4]interval.Span {
	h, size := &img.header, img.geometry.ClusterSize
	all := [4]interval.Span{{To: size}, {From: l1.offset, To: l1.entryOffset(l1.entries)}}
	if n := uint64(h.RefcountTableClusters) * size; n <= img.limits.RefcountTableBytes {
		all[2] = interval.Span{From: h.RefcountTableOffset, To: h.RefcountTableOffset + n}
	}
	if h.NbSnapshots > 0 {
		all[3] = interval.Span{From: h.SnapshotsOffset, To: h.SnapshotsOffset + size}
	}
	return all
}

// problems returns what is wrong with the first entry of a run, whose mapping
// is p.
func (j *entryJudge) problems(r *l2Run, p *Mapping) Problems {
	bad := j.img.entryProblems(r, p)
	switch {
	case p.Kind == MappingCompressed:
		if j.inMetadata(p.HostOffset, CompressedEnd(p.HostOffset, p.Sectors)) {
			bad |= OverlapsMetadata
		}
	case p.HasHost && !j.img.hasDataFile():
		table := r.at &^ (j.img.geometry.ClusterSize - 1)
		if j.inMetadata(p.HostOffset, p.HostOffset+1) || p.HostOffset == table {
			bad |= OverlapsMetadata
		}
	}
	return bad
}

// healthy reports whether a run has no problems, if its first cluster, p, has none:
// it begins inside the file to the last cluster, and reaches into no metadata.
func (j *entryJudge) healthy(r *l2Run, p *Mapping) bool {
	if !p.HasHost || j.img.hasDataFile() {
		return true // in a data file, host offsets are guest offsets
	}
	size := j.img.geometry.ClusterSize
	end := p.HostOffset + r.n*size
	inTable := p.HostOffset < r.at && r.at < end
	return end-size < j.img.src.size && !j.inMetadata(p.HostOffset, end) && !inTable
}

// inMetadata reports whether any of the host bytes [first, end) are metadata that
// the header points to.
func (j *entryJudge) inMetadata(first, end uint64) bool {
	for i := range j.metadata { // of the array, not of a copy
		s := &j.metadata[i]
		if first < s.To && s.From < min(end, s.To) {
			return true
		}
	}
	return false
}
