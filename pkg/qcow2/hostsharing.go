package qcow2

import "github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"

// A sharers says who refers to a cluster or to an L2 table.
type sharers uint8

const (
	sharedByActive sharers = 1 << iota
	sharedBySnapshot
	shared = sharedByActive | sharedBySnapshot
)

// A sharingMap holds the sharers of L2 tables and of the clusters of guest data.
type sharingMap struct {
	walk   *referenceWalk
	tables *sparse.Builder[sharers] // by the cluster of the table
	data   *sparse.Builder[sharers]
}

func newSharingMap(w *referenceWalk) *sharingMap {
	return &sharingMap{walk: w, tables: sparse.NewScattered[sharers](w.clusters), data: sparse.NewBuilder[sharers](w.clusters)}
}

// add adds references to L2 tables or to guest data. All of the former come first.
func (s *sharingMap) add(r *reference) {
	switch {
	case r.kind == HostL2Table && r.problems&Unaligned == 0: // an unaligned table cannot be read
		*s.tables.At(r.first) |= s.ofL1Entry(r.place.offset())
	case !r.kind.Metadata():
		by := s.ofL2Entry(r.place.offset())
		for i := range r.n {
			*s.data.At(r.first + i) |= by
		}
	}
}

// addData is add for a batch.
func (s *sharingMap) addData(d *dataBatch) {
	by := s.ofL2Entry(d.entries[0].place.offset())
	for _, e := range d.entries {
		*s.data.At(e.entry.HostOffset() >> s.walk.img.geometry.ClusterBits) |= by
	}
}

// ofL1Entry returns whose L1 tables the entry at a file offset is in. That of the
// active image is the first of the tables.
func (s *sharingMap) ofL1Entry(at uint64) sharers {
	g := s.walk.l1.At(at)
	if s.walk.l1.tables[g.First].owner != OwnerActive {
		return sharedBySnapshot
	}
	if g.Spans > 1 {
		return shared
	}
	return sharedByActive
}

// ofL2Entry returns to whom the L2 table with the entry at a file offset belongs.
func (s *sharingMap) ofL2Entry(at uint64) sharers {
	return s.tables.Word(at >> s.walk.img.geometry.ClusterBits)
}

// seal returns the sharers of the clusters of guest data.
func (s *sharingMap) seal() *sparse.Map[sharers] {
	if s == nil {
		return nil
	}
	return s.data.Seal()
}
