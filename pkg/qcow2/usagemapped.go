package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A mappedCounter adds up what the active disk maps. It follows the walk, which
// reads the L2 tables of the active image first, in the order of the guest
// addresses, each once: a table that several L1 entries point to counts for each of
// them. The last L1 entry, if the disk ends inside its table, is read separately.
type mappedCounter struct {
	img   *Image
	walk  *referenceWalk
	whole uint64            // how many L1 entries have all their guest clusters on the disk
	again map[uint64]uint64 // how many more of them point to a table, by the index of the first that does

	sum  MappedUsage
	copy compactCounter

	index uint64         // of the L1 entry whose table is in hand
	times uint64         // how many L1 entries point to it; 0: no table is in hand
	part  compactCounter // what a copy needs for the table, if several do
}

func newMappedCounter(w *referenceWalk) mappedCounter {
	g := &w.img.geometry
	whole := min(g.VirtualSize/(g.L2Entries<<g.ClusterBits), uint64(w.img.header.L1Size))
	return mappedCounter{img: w.img, walk: w, whole: whole, again: map[uint64]uint64{}}
}

// counts reports whether the i-th entry of an L1 table is one of those that the
// walk counts.
func (m *mappedCounter) counts(t *ownedTable, i uint64) bool {
	return t.owner == OwnerActive && i < m.whole
}

// addL1Entry takes an L1 entry from the walk, which has not seen it yet.
func (m *mappedCounter) addL1Entry(g *interval.Segment, at uint64, e L1Entry) bool {
	t := &m.walk.l1.tables[g.First]
	if cluster, ok := m.img.tableCluster(e); ok && m.counts(t, t.indexOf(at)) {
		if l := m.walk.tables.of(cluster); l != 0 {
			m.again[t.indexOf(m.walk.tables.place(l).offset())]++
		}
	}
	return true
}

// addRun takes a run of L2 entries from the walk.
func (m *mappedCounter) addRun(t *ownedTable, r *l2Run) bool {
	g := &m.img.geometry
	index := r.guest / g.L2Entries
	if !m.counts(t, index) {
		return true
	}
	m.enter(index)
	p := m.img.mappingOf(r)
	if p.HasSubclusterBitmap && !p.uniform() {
		m.addSubclusters(r, &p)
	} else {
		m.add(p.Kind, p.Start, r.n<<g.ClusterBits)
	}
	return true
}

// addSubclusters adds a run of clusters whose subclusters differ; p is the mapping
// of the first.
func (m *mappedCounter) addSubclusters(r *l2Run, p *Mapping) {
	g := &m.img.geometry
	allocated, zero := uint32(r.bitmap), uint32(r.bitmap>>subclustersPerCluster)
	for c := range r.n {
		start := p.Start + c<<g.ClusterBits
		for i := 0; i < subclustersPerCluster; {
			a, z := allocated>>i, zero>>i
			n := min(alike(a), alike(z), subclustersPerCluster-i)
			m.add(subclusterKind(a&1, z&1, p.HasHost), start+uint64(i)*g.SubclusterSize, uint64(n)*g.SubclusterSize)
			i += n
		}
	}
}

// addData takes a batch of data clusters, of an L2 table that counts.
func (m *mappedCounter) addData(t *usageTable, d *dataBatch) {
	g := &m.img.geometry
	m.enter(t.first / g.L2Entries)
	for _, e := range d.entries {
		m.add(MappingData, (t.first+uint64(e.place)%g.L2Entries)<<g.ClusterBits, g.ClusterSize)
	}
}

// enter begins the L2 table to which an L1 entry is the first to point.
func (m *mappedCounter) enter(index uint64) {
	if m.times == 0 || m.index != index {
		m.leave()
		m.index, m.times, m.part = index, 1+m.again[index], compactCounter{}
	}
}

// leave ends the L2 table in hand.
func (m *mappedCounter) leave() {
	if m.times > 1 {
		m.copy.clusters += m.part.clusters * (m.times - 1)
		m.copy.tables += m.part.tables * (m.times - 1)
	}
}

// add adds guest bytes of a kind, which come after all that were added before.
func (m *mappedCounter) add(kind MappingKind, start, n uint64) {
	m.sum.add(kind, n*m.times)
	if kind != MappingData && kind != MappingCompressed {
		return
	}
	m.copy.add(start, start+n)
	if m.times > 1 {
		m.part.add(start, start+n)
	}
}

// addEnd adds what the walk does not count: the end of the disk.
func (m *mappedCounter) addEnd(ctx context.Context) {
	m.leave()
	mapper, err := m.img.Mapper(ctx, GuestOptions{Mapped: true})
	if err != nil {
		return // the walk has reported it
	}
	m.times = 1
	g := &m.img.geometry
	mapper.Map(m.whole*g.L2Entries<<g.ClusterBits, maxGuestOffset, func(p *Mapping, err error) bool {
		if err == nil { // else the walk has reported it, or the table is too small for the disk
			m.add(p.Kind, p.Start, p.Length)
		}
		return ctx.Err() == nil
	})
}

// add adds n guest bytes of a kind.
func (u *MappedUsage) add(kind MappingKind, n uint64) {
	switch kind {
	case MappingUnallocated:
		return
	case MappingZero:
		u.Zero += n
	case MappingZeroAllocated:
		u.Preallocated += n
	}
	u.Bytes += n
}
