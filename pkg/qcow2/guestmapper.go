package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A Mapper maps guest addresses of the active image or of a snapshot, any ranges in
// any order. It keeps the tables that it read last, so that ranges which follow
// each other cost no more than one. It must not be used by several goroutines at
// once.
type Mapper struct {
	entryJudge
	walk    *tableWalk
	options GuestOptions
	diskEnd uint64 // bytes: the last cluster of the disk is cut here
	// diskClusters is the number of clusters of the disk, and so the first cluster
	// past its end.
	diskClusters uint64
	vmState      uint64 // the first cluster of VM state

	wanted interval.Span // guest bytes
	yield  func(*Mapping, error) bool
	cur    Mapping // what can still grow; none if its length is 0
	out    Mapping // the argument of yield
}

// Mapper returns a Mapper. It ignores Offset and Length of the options:
// [Mapper.Map] takes the addresses. The error is that of [Image.Supported], or why
// the L1 table cannot be read.
func (img *Image) Mapper(ctx context.Context, o GuestOptions) (*Mapper, error) {
	if err := img.Supported(); err != nil {
		return nil, err
	}
	l1, err := img.l1Table(o.Snapshot)
	if err != nil {
		return nil, err
	}
	end, vmState := img.geometry.VirtualSize, img.geometry.VMStateOffset
	pointer := fieldOffset("l1_table_offset")
	if o.Snapshot != nil {
		end, vmState = o.Snapshot.DiskSize&^511, img.geometry.VMStateOffsetOf(o.Snapshot.DiskSize)
		pointer = o.Snapshot.Offset + snapshotL1OffsetField
	}
	walk := newTableWalk(ctx, img, l1, end)
	walk.pointer = pointer
	return &Mapper{
		entryJudge: entryJudge{img, img.headerMetadata(l1)}, walk: walk, options: o,
		diskEnd: end, diskClusters: ceilDiv(end, img.geometry.ClusterSize), vmState: vmState >> img.geometry.ClusterBits,
	}, nil
}

// Map calls yield, as [Image.Guest] does, with the mapping of the clusters that
// hold the guest addresses [from, to), in bytes; to can lie past the last address.
// It returns false if yield did or the context is done.
func (m *Mapper) Map(from, to uint64, yield func(*Mapping, error) bool) bool {
	g := &m.img.geometry
	m.wanted, m.yield, m.cur = interval.Span{From: from, To: to}, yield, Mapping{}
	first, end := from/g.ClusterSize, m.diskClusters
	if m.options.VMState { // as far as there are addresses
		end = max(end, min(m.walk.l1.entries*g.L2Entries, 1<<(64-g.ClusterBits)))
	}
	end = min(end, ceilDiv(to, g.ClusterSize))
	return first >= end || m.walk.walk(first, end, m.mapTableRun) && m.flush()
}

// mapTableRun adds what the walk yields: a run of L2 entries, or an error.
func (m *Mapper) mapTableRun(r *l2Run, err error) bool {
	if err != nil {
		return m.flush() && m.yield(nil, err)
	}
	if r.guest+r.n <= m.diskClusters {
		return m.mapRun(r)
	}
	return m.mapPast(r)
}

// mapPast adds a run that reaches past the end of the disk. What follows the disk,
// and the VM state, begin anew.
func (m *Mapper) mapPast(r *l2Run) bool {
	for _, border := range [...]uint64{m.diskClusters, m.vmState} {
		if r.guest == border && !m.flush() {
			return false
		}
		if r.guest < border && border < r.guest+r.n {
			before, rest := r.head(border-r.guest), *r
			m.img.advance(&rest, border-r.guest)
			return m.mapRun(&before) && m.mapPast(&rest)
		}
	}
	return m.mapRun(r)
}

// mapRun adds a run of L2 entries to the mapping.
func (m *Mapper) mapRun(r *l2Run) bool {
	if !m.options.PerCluster && !m.options.Copied {
		if host, ok := m.plain(r); ok {
			return m.mapPlain(r, host)
		}
	}
	p := m.img.mappingOf(r)
	p.Problems = m.problems(r, &p)
	p.Copied = m.options.Copied && r.entry.Copied()
	switch {
	case p.Problems != 0 || !m.healthy(r, &p):
		return m.mapEach(r)
	case m.options.PerCluster:
		return m.mapHealthy(&p, r.n)
	case p.HasSubclusterBitmap && !p.uniform():
		return m.mapSubclusters(r, p)
	}
	p.Length = r.n * m.img.geometry.ClusterSize
	return m.add(&p)
}

// plain returns the host offset of a run, and whether its clusters are plain data
// clusters without a problem.
func (m *Mapper) plain(r *l2Run) (host uint64, ok bool) {
	if host, ok = m.img.plainHost(r); !ok || m.img.geometry.L2EntrySize != 8 {
		return host, false
	}
	end := host + r.n<<m.img.geometry.ClusterBits
	inTable := host <= r.at && r.at < end
	return host, !inTable && !m.inMetadata(host, end)
}

// mapPlain adds a run that is plain. It sets the current mapping in place: copying
// a Mapping just after its fields were stored stalls on store forwarding, which
// doubles the time of this loop.
func (m *Mapper) mapPlain(r *l2Run, host uint64) bool {
	shift := m.img.geometry.ClusterBits
	start, length := r.guest<<shift, m.cutLength(r.guest<<shift, r.n<<shift)
	c := &m.cur
	if c.Length > 0 && c.Kind == MappingData && c.Start+c.Length == start && c.HostOffset+c.Length == host && c.HasHost && c.Problems == 0 {
		c.Length += length
		return true
	}
	ok := m.flush()
	*c = Mapping{}
	c.Start, c.Length, c.Kind, c.HostOffset, c.HasHost = start, length, MappingData, host, true
	return ok
}

// mapHealthy yields n clusters from that of p on, which differ only in their
// offsets.
func (m *Mapper) mapHealthy(p *Mapping, n uint64) bool {
	size := m.img.geometry.ClusterSize
	step := size
	if !p.HasHost {
		step = 0
	}
	if !m.flush() {
		return false
	}
	if m.skips(p) {
		return true
	}
	for m.out = *p; n > 0; n -= m.out.More + 1 {
		m.out.Length, m.out.More = size, 0
		if m.options.Batches && n > 1 {
			m.out.More = n - 2 // the last may be cut
		}
		m.cut(&m.out)
		if !m.yield(&m.out, nil) {
			return false
		}
		m.out.Start += size * (m.out.More + 1)
		m.out.HostOffset += step * (m.out.More + 1)
	}
	return true
}

// mapEach adds the entries of a run one by one, each with its own problems.
func (m *Mapper) mapEach(r *l2Run) bool {
	for rest := *r; rest.n > 0; m.img.advance(&rest, 1) {
		one := rest.head(1)
		p := m.img.mappingOf(&one)
		p.Problems = m.problems(&one, &p)
		p.Copied = m.options.Copied && r.entry.Copied()
		if p.HasSubclusterBitmap && !m.options.PerCluster && !p.uniform() {
			if !m.mapSubclusters(&one, p) {
				return false
			}
		} else if !m.add(&p) {
			return false
		}
	}
	return true
}

// mapSubclusters adds the wanted subclusters of each cluster of a run; neighbours
// that are alike are one mapping.
func (m *Mapper) mapSubclusters(r *l2Run, p Mapping) bool {
	size := m.img.geometry.SubclusterSize
	allocated, zero := uint32(r.bitmap), uint32(r.bitmap>>32)
	first := p
	for c := range r.n {
		for i := 0; i < subclustersPerCluster; {
			a, z := allocated>>i, zero>>i
			n := min(alike(a), alike(z), subclustersPerCluster-i)
			p = first
			p.Kind = subclusterKind(a&1, z&1, p.HasHost)
			p.Start += c*m.img.geometry.ClusterSize + uint64(i)*size
			p.Length = uint64(n) * size
			if p.HasHost {
				p.HostOffset += c*m.img.geometry.ClusterSize + uint64(i)*size
			}
			p.Problems &^= InvalidSubclusters // of the cluster as a whole
			if a&1 != 0 && (z&1 != 0 || !p.HasHost) {
				p.Problems |= InvalidSubclusters
			}
			i += n
			if m.touches(&p) && !m.add(&p) {
				return false
			}
		}
	}
	return true
}

// touches reports whether any part of a mapping is wanted.
func (m *Mapper) touches(p *Mapping) bool {
	return p.Start < m.wanted.To && p.Start+(p.Length-1) >= m.wanted.From
}

// cut ends a mapping of the disk where the disk ends.
func (m *Mapper) cut(p *Mapping) { p.Length = m.cutLength(p.Start, p.Length) }

// cutLength returns the length of a mapping, without what lies past the end of the
// disk if it begins on the disk.
func (m *Mapper) cutLength(start, length uint64) uint64 {
	if start>>m.img.geometry.ClusterBits < m.diskClusters {
		return min(length, m.diskEnd-min(start, m.diskEnd))
	}
	return length
}

// skips reports whether Mapped leaves out a mapping.
func (m *Mapper) skips(p *Mapping) bool {
	return m.options.Mapped && p.Kind == MappingUnallocated && p.Problems == 0
}

// add lets the current mapping grow by p, or yields it and keeps p.
func (m *Mapper) add(p *Mapping) bool {
	if m.cut(p); p.Length == 0 || m.skips(p) { // none: subclusters past the end of the disk
		return true
	}
	p.HasSubclusterBitmap = p.HasSubclusterBitmap && m.options.PerCluster
	if m.options.PerCluster || !m.joins(p) {
		ok := m.flush()
		m.cur = *p
		return ok
	}
	m.cur.Length += p.Length
	return true
}

// joins reports whether p continues the current mapping.
func (m *Mapper) joins(p *Mapping) bool {
	c := &m.cur
	return c.Length > 0 && c.Kind == p.Kind && c.Start+c.Length == p.Start &&
		c.Problems == p.Problems && c.Copied == p.Copied && c.Kind != MappingCompressed &&
		c.HasHost == p.HasHost && (!c.HasHost || c.HostOffset+c.Length == p.HostOffset)
}

// flush yields the current mapping.
func (m *Mapper) flush() bool {
	if m.cur.Length == 0 {
		return true
	}
	ok := m.yield(&m.cur, nil)
	m.cur.Length = 0
	return ok
}
