package qcow2

import (
	"context"
	"math/bits"
)

// A mapper turns runs of L2 entries into mappings.
type mapper struct {
	img     *Image
	walk    *tableWalk
	diskEnd uint64 // bytes: the last cluster of the disk is cut here
	vmState uint64 // the first cluster past the end of the disk
	wanted  span   // guest bytes
	each    bool   // every cluster by itself
	mapped  bool   // without what is unallocated
	yield   func(*Mapping, error) bool

	metadata [4][2]uint64 // first and end of what the header points to, in bytes
	cur      Mapping      // what can still grow; empty when its length is 0
	out      Mapping      // what yield is given
}

func newMapper(ctx context.Context, img *Image, o GuestOptions, yield func(*Mapping, error) bool) *mapper {
	h, g := &img.header, &img.geometry
	l1 := l1Table{h.L1TableOffset, uint64(h.L1Size)}
	end := g.VirtualSize
	if o.Snapshot != nil {
		l1 = l1Table{o.Snapshot.L1TableOffset, uint64(o.Snapshot.L1Size)}
		end = o.Snapshot.DiskSize &^ 511
	}
	m := &mapper{img: img, walk: newTableWalk(ctx, img, l1, end), diskEnd: end, vmState: ceilDiv(end, g.ClusterSize), each: o.PerCluster, mapped: o.Mapped, yield: yield}
	m.metadata = [4][2]uint64{{0, g.ClusterSize}, {l1.offset, l1.offset + l1.entries*entrySize}}
	if n := uint64(h.RefcountTableClusters) * g.ClusterSize; n <= img.limits.RefcountTableBytes {
		m.metadata[2] = [2]uint64{h.RefcountTableOffset, h.RefcountTableOffset + n}
	}
	if h.NbSnapshots > 0 {
		m.metadata[3] = [2]uint64{h.SnapshotsOffset, h.SnapshotsOffset + g.ClusterSize}
	}
	return m
}

// run maps the guest clusters that the options want.
func (m *mapper) run(o GuestOptions) {
	g := &m.img.geometry
	m.wanted = span{o.Offset, maxGuestOffset}
	if end := o.Offset + o.Length; o.Length > 0 && end >= o.Offset {
		m.wanted.to = end
	}
	from, to := o.Offset/g.ClusterSize, m.vmState
	if o.VMState { // as far as there are addresses
		to = max(to, min(m.walk.l1.entries*g.L2Entries, 1<<(64-g.ClusterBits)))
	}
	if to = min(to, ceilDiv(m.wanted.to, g.ClusterSize)); from >= to {
		return
	}
	if m.walk.walk(from, to, m.mapTableRun) {
		m.flush()
	}
}

// mapTableRun adds what the walk yields: a run of L2 entries, which is two where
// the disk ends inside it, or an error.
func (m *mapper) mapTableRun(r *l2Run, err error) bool {
	if err != nil {
		return m.flush() && m.yield(nil, err)
	}
	if r.guest == m.vmState && !m.flush() { // what is past the end of the disk begins anew
		return false
	}
	k := m.vmState - r.guest
	if r.guest >= m.vmState || r.n <= k {
		return m.mapRun(r)
	}
	disk, rest := *r, *r
	disk.n, rest.n = k, r.n-k
	rest.guest += k
	if rest.at != 0 { // there is an L2 table
		rest.at += k * m.img.geometry.L2EntrySize
	}
	rest.entry += L2Entry(k * m.img.step(r.entry))
	return m.mapRun(&disk) && m.flush() && m.mapRun(&rest)
}

// mapRun adds a run of L2 entries to the mapping.
func (m *mapper) mapRun(r *l2Run) bool {
	if !m.each && m.isPlain(r) {
		return m.mapPlain(r)
	}
	p := m.img.mappingOf(r)
	p.Problems = m.problems(r, &p)
	switch {
	case p.Problems != 0 || !m.healthy(r, &p):
		return m.mapEach(r)
	case m.each:
		return m.mapHealthy(&p, r.n)
	case p.HasSubclusterBitmap && !p.uniform():
		return m.mapSubclusters(r, p)
	}
	p.Length = r.n * m.img.geometry.ClusterSize
	return m.add(&p)
}

// isPlain reports whether a run is one of data clusters of the file, of which
// there is nothing more to say.
func (m *mapper) isPlain(r *l2Run) bool {
	shift := m.img.geometry.ClusterBits
	host := r.entry.HostOffset()
	if uint64(r.entry)&^copiedBit != host>>shift<<shift || host == 0 || m.img.geometry.L2EntrySize != 8 || m.img.hasDataFile() {
		return false
	}
	end := host + r.n<<shift
	inTable := host <= r.at && r.at < end
	return end-m.img.geometry.ClusterSize < m.img.src.size && !inTable && !m.inMetadata(host, end)
}

// mapPlain adds a run that isPlain. It sets the current mapping in place: a copy
// of what has just been written word by word waits for those writes, for as long
// as all the rest takes.
func (m *mapper) mapPlain(r *l2Run) bool {
	shift := m.img.geometry.ClusterBits
	start, length, host := r.guest<<shift, m.cutLength(r.guest<<shift, r.n<<shift), r.entry.HostOffset()
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

// mapHealthy yields n clusters from p's on, which differ in their offsets alone.
func (m *mapper) mapHealthy(p *Mapping, n uint64) bool {
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
	for m.out = *p; n > 0; n-- {
		m.out.Length = size
		m.cut(&m.out)
		if !m.yield(&m.out, nil) {
			return false
		}
		m.out.Start += size
		m.out.HostOffset += step
	}
	return true
}

// mapEach adds the entries of a run one by one, each with its own problems.
func (m *mapper) mapEach(r *l2Run) bool {
	one := *r
	one.n = 1
	step := L2Entry(m.img.step(r.entry))
	for range r.n {
		p := m.img.mappingOf(&one)
		p.Problems = m.problems(&one, &p)
		if p.HasSubclusterBitmap && !m.each && !p.uniform() {
			if !m.mapSubclusters(&one, p) {
				return false
			}
		} else if !m.add(&p) {
			return false
		}
		one.guest++
		one.entry += step
		one.at += m.img.geometry.L2EntrySize
	}
	return true
}

// mappingOf returns the mapping of the first cluster of a run.
func (img *Image) mappingOf(r *l2Run) Mapping {
	g := &img.geometry
	p := Mapping{Start: g.guestOffset(r.guest), Length: g.ClusterSize}
	if r.entry.Compressed() {
		p.Kind, p.HasHost = MappingCompressed, true
		p.HostOffset, p.Sectors = g.Compressed(r.entry)
		return p
	}
	p.HostOffset = r.entry.HostOffset()
	p.HasHost = img.hasHost(r.entry)
	if g.L2EntrySize == 16 && r.at != 0 {
		p.SubclusterBitmap, p.HasSubclusterBitmap = r.bitmap, true
		p.Kind = subclusterKind(uint32(r.bitmap), uint32(r.bitmap>>32), p.HasHost)
		return p
	}
	zero := r.entry.Zero() && img.header.Version > 2
	switch {
	case zero && p.HasHost:
		p.Kind = MappingZeroAllocated
	case zero:
		p.Kind = MappingZero
	case p.HasHost:
		p.Kind = MappingData
	}
	return p
}

// subclusterKind returns the kind of a set of subclusters, the allocated ones
// and those that read as zeros: data if any is.
func subclusterKind(allocated, zero uint32, host bool) MappingKind {
	switch {
	case allocated != 0 && host:
		return MappingData
	case zero != 0 && host:
		return MappingZeroAllocated
	case zero != 0:
		return MappingZero
	}
	return MappingUnallocated
}

// uniform reports whether all subclusters of the cluster are alike.
func (p *Mapping) uniform() bool {
	allocated, zero := uint32(p.SubclusterBitmap), uint32(p.SubclusterBitmap>>32)
	return (allocated == 0 || ^allocated == 0) && (zero == 0 || ^zero == 0)
}

// mapSubclusters adds the subclusters of each cluster of a run, alike ones in
// one piece, as far as they are wanted.
func (m *mapper) mapSubclusters(r *l2Run, p Mapping) bool {
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

// touches reports whether some of a mapping is wanted.
func (m *mapper) touches(p *Mapping) bool {
	return p.Start < m.wanted.to && p.Start+(p.Length-1) >= m.wanted.from
}

// alike returns how many bits from the lowest on are equal.
func alike(word uint32) int {
	if word&1 != 0 {
		word = ^word
	}
	return bits.TrailingZeros32(word)
}

func (img *Image) hasDataFile() bool {
	return img.header.IncompatibleFeatures&ExternalDataFile != 0
}

// cut ends a mapping of the disk where the disk ends.
func (m *mapper) cut(p *Mapping) { p.Length = m.cutLength(p.Start, p.Length) }

// cutLength returns how much of a mapping is on the disk, if its start is.
func (m *mapper) cutLength(start, length uint64) uint64 {
	if start>>m.img.geometry.ClusterBits < m.vmState {
		return min(length, m.diskEnd-min(start, m.diskEnd))
	}
	return length
}

// skips reports whether a mapping is not wanted.
func (m *mapper) skips(p *Mapping) bool {
	return m.mapped && p.Kind == MappingUnallocated && p.Problems == 0
}

// add yields what cannot grow any more, and keeps p if it can.
func (m *mapper) add(p *Mapping) bool {
	if m.cut(p); p.Length == 0 || m.skips(p) { // none: subclusters past the end of the disk
		return true
	}
	p.HasSubclusterBitmap = p.HasSubclusterBitmap && m.each
	if m.each || !m.joins(p) {
		ok := m.flush()
		m.cur = *p
		return ok
	}
	m.cur.Length += p.Length
	return true
}

// joins reports whether p goes on where the current mapping ends, in the same
// way.
func (m *mapper) joins(p *Mapping) bool {
	c := &m.cur
	return c.Length > 0 && c.Kind == p.Kind && c.Start+c.Length == p.Start &&
		c.Problems|p.Problems == 0 && c.Kind != MappingCompressed &&
		c.HasHost == p.HasHost && (!c.HasHost || c.HostOffset+c.Length == p.HostOffset)
}

// flush yields the current mapping.
func (m *mapper) flush() bool {
	if m.cur.Length == 0 {
		return true
	}
	ok := m.yield(&m.cur, nil)
	m.cur.Length = 0
	return ok
}
