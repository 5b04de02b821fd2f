package qcow2

import (
	"context"
	"errors"
	"iter"
	"math/bits"
)

// MappingKind is what guest clusters or subclusters are mapped to.
type MappingKind uint8

// The kinds of mappings (specification, section "L2 table entry").
const (
	MappingUnallocated   MappingKind = iota // reads the backing file, else zeros
	MappingData                             // a host cluster
	MappingZero                             // reads as zeros
	MappingZeroAllocated                    // reads as zeros, and has a host cluster
	MappingCompressed                       // compressed data
)

// MappingKindNames returns the names of the kinds in their order.
func MappingKindNames() []string {
	return []string{"unallocated", "data", "zero", "zero-allocated", "compressed"}
}

// String returns the name of the kind.
func (k MappingKind) String() string { return nameOf(MappingKindNames(), k, "unknown-") }

// A Mapping is a range of guest addresses that is mapped in one way. The
// range is one cluster (with extended L2 entries one subcluster, or several),
// or a run of them in which guest and host offsets go on without a gap.
type Mapping struct {
	Start  uint64 // guest offset in bytes
	Length uint64 // bytes
	Kind   MappingKind
	// HostOffset is where the bytes lie, in bytes from the start of the image
	// file, or of the external data file; meaningful when HasHost is true. For
	// compressed data it is where those begin.
	HostOffset uint64
	HasHost    bool // also an unallocated subcluster can have a host cluster
	// Sectors is the number of sectors of 512 bytes that compressed data
	// touch; 0 for other kinds.
	Sectors uint64
	// Bitmap is the second word of an extended L2 entry: allocated subclusters
	// in bits 0 to 31, those that read as zeros in bits 32 to 63; meaningful
	// when HasBitmap is true, as it can be when every cluster is by itself.
	Bitmap    uint64
	HasBitmap bool
	Problems  Problems
}

// GuestOptions selects what [Image.Guest] yields.
type GuestOptions struct {
	// Snapshot is the snapshot whose mapping is wanted; nil: the active image.
	Snapshot *Snapshot
	// Offset and Length narrow the guest addresses, in bytes, to the clusters
	// that the range touches. A Length of 0 goes to the end.
	Offset, Length uint64
	// PerCluster yields every cluster by itself.
	PerCluster bool
	// VMState goes on with what is mapped behind the disk.
	VMState bool
	// Mapped leaves out what is unallocated.
	Mapped bool
}

// Guest yields the mapping of guest addresses in their order. Where a table
// cannot be read it yields an [*Error], with a nil Mapping, and goes on behind
// it. There is no other gap, but with VMState from the end of a disk to that of
// its last cluster, and with Mapped. A Mapping is valid until the next. When ctx
// is done the sequence ends with its error.
//
// The mapping of an image with unknown incompatible features cannot be known;
// see [Image.Supported].
func (img *Image) Guest(ctx context.Context, o GuestOptions) iter.Seq2[*Mapping, error] {
	return func(yield func(*Mapping, error) bool) {
		if err := img.Supported(); err != nil {
			yield(nil, err)
			return
		}
		m := newMapper(ctx, img, o, yield)
		if err := img.l1Error(o.Snapshot); err != nil {
			yield(nil, err)
			return
		}
		m.run(o)
	}
}

// Supported returns an [*Error] of kind [ErrUnsupported] when the image has
// incompatible features that this package does not know, and the geometry's
// error when there is none: then nothing beyond the header can be trusted.
func (img *Image) Supported() error {
	if img.geometryErr != nil {
		return img.geometryErr
	}
	if unknown := img.header.IncompatibleFeatures.Unknown(); unknown != 0 {
		return errorf(SectionHeader, fieldOffset("incompatible_features"), ErrUnsupported,
			"the image has incompatible features that are not known: %s", quotedList(unknown.Names(img.FeatureNames())))
	}
	return nil
}

// l1Error returns why the L1 table of a snapshot, or the active one, cannot be
// read.
func (img *Image) l1Error(s *Snapshot) error {
	if s != nil {
		for _, e := range s.Damage {
			if at := e.Offset - s.Offset; at == 0 || at == 8 { // where the L1 table is
				return e
			}
		}
		return nil
	}
	for _, e := range img.HeaderErrors() {
		if e.Offset == fieldOffset("l1_table_offset") || e.Offset == fieldOffset("l1_size") && errors.Is(e, ErrLimit) {
			return e
		}
	}
	return nil
}

// A mapper turns runs of L2 entries into mappings.
type mapper struct {
	img     *Image
	walk    *tableWalk
	diskEnd uint64 // bytes: the last cluster of the disk is cut here
	vmState uint64 // the first cluster behind the disk
	each    bool   // every cluster by itself
	mapped  bool   // without what is unallocated
	yield   func(*Mapping, error) bool

	metadata [4][2]uint64 // first and end of what the header leads to, in bytes
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
	m.metadata = [4][2]uint64{{0, g.ClusterSize}, {l1.offset, l1.offset + l1.entries*l1EntrySize}}
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
	size := g.ClusterSize
	from, to := o.Offset/size, m.vmState
	if o.VMState { // as far as there are addresses
		to = max(to, min(m.walk.l1.entries*g.L2Entries, 1<<(64-g.ClusterBits)))
	}
	if end := o.Offset + o.Length; o.Length > 0 && end >= o.Offset {
		to = min(to, ceilDiv(end, size))
	}
	if from >= to {
		return
	}
	ok := m.walk.walk(from, to, func(r *l2Run, err error) bool {
		if err != nil {
			return m.flush() && m.yield(nil, err)
		}
		if r.guest == m.vmState && !m.flush() { // what is behind the disk begins anew
			return false
		}
		if k := m.vmState - r.guest; r.guest < m.vmState && r.n > k { // the disk ends inside the run
			disk, rest := *r, *r
			disk.n, rest.n = k, r.n-k
			rest.guest += k
			if rest.at != 0 { // there is an L2 table
				rest.at += k * g.L2EntrySize
			}
			rest.entry += L2Entry(k * m.img.step(r.entry))
			return m.mapRun(&disk) && m.flush() && m.mapRun(&rest)
		}
		return m.mapRun(r)
	})
	if ok {
		m.flush()
	}
}

// mapRun adds a run of L2 entries to the mapping.
func (m *mapper) mapRun(r *l2Run) bool {
	g := &m.img.geometry
	p := m.pieceOf(r)
	p.Problems = m.problems(r, &p)
	healthy := r.n
	if p.Problems == 0 && p.HasHost {
		healthy = m.healthy(r, &p)
	}
	switch {
	case p.Problems != 0 || healthy < r.n:
		return m.mapEach(r)
	case m.each:
		return m.mapHealthy(&p, r.n)
	case p.HasBitmap && !p.uniform():
		return m.mapSubclusters(r, p)
	}
	p.Length = r.n * g.ClusterSize
	return m.add(&p)
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
		p := m.pieceOf(&one)
		p.Problems = m.problems(&one, &p)
		if p.HasBitmap && !m.each && !p.uniform() {
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

// pieceOf returns the mapping of the first cluster of a run.
func (m *mapper) pieceOf(r *l2Run) Mapping {
	g := &m.img.geometry
	p := Mapping{Start: r.guest << g.ClusterBits, Length: g.ClusterSize}
	if r.entry.Compressed() {
		p.Kind, p.HasHost = MappingCompressed, true
		p.HostOffset, p.Sectors = g.Compressed(r.entry)
		return p
	}
	p.HostOffset = r.entry.HostOffset()
	p.HasHost = m.img.hasHost(r.entry)
	if g.L2EntrySize == 16 && r.at != 0 {
		p.Bitmap, p.HasBitmap = r.bitmap, true
		p.Kind = subclusterKind(uint32(r.bitmap), uint32(r.bitmap>>32), p.HasHost)
		return p
	}
	zero := r.entry.Zero() && m.img.header.Version > 2
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
	allocated, zero := uint32(p.Bitmap), uint32(p.Bitmap>>32)
	return (allocated == 0 || ^allocated == 0) && (zero == 0 || ^zero == 0)
}

// mapSubclusters adds the subclusters of each cluster of a run, alike ones in
// one piece.
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
			if !m.add(&p) {
				return false
			}
			i += n
		}
	}
	return true
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

// problems returns what is wrong with the first entry of a run, whose mapping
// is p.
func (m *mapper) problems(r *l2Run, p *Mapping) Problems {
	var bad Problems
	if p.Kind == MappingCompressed {
		return m.compressedProblems(r, p)
	}
	reserved := r.entry & l2Reserved
	if m.img.header.Version == 2 {
		reserved |= r.entry & l2Zero
	}
	if reserved != 0 {
		bad |= ReservedBits
	}
	allocated, zero := uint32(p.Bitmap), uint32(p.Bitmap>>32)
	if allocated&zero != 0 || allocated != 0 && !p.HasHost {
		bad |= InvalidSubclusters
	}
	if !p.HasHost {
		return bad
	}
	if p.HostOffset%m.img.geometry.ClusterSize != 0 {
		bad |= Unaligned
	}
	if m.img.hasDataFile() {
		if p.HostOffset != p.Start {
			bad |= OffsetMismatch
		}
		return bad
	}
	if p.HostOffset >= m.img.src.size {
		bad |= BeyondEOF
	}
	table := r.at &^ (m.img.geometry.ClusterSize - 1)
	if m.inMetadata(p.HostOffset, p.HostOffset+1) || p.HostOffset == table {
		bad |= OverlapsMetadata
	}
	return bad
}

func (m *mapper) compressedProblems(r *l2Run, p *Mapping) Problems {
	var bad Problems
	end := CompressedEnd(p.HostOffset, p.Sectors)
	if p.HostOffset&compressedReserved != 0 || r.bitmap != 0 || r.entry.Copied() {
		bad |= ReservedBits
	}
	if p.HostOffset >= m.img.src.size || end >= m.img.src.size+m.img.geometry.ClusterSize {
		bad |= BeyondEOF // a file may end inside its last cluster
	}
	if m.inMetadata(p.HostOffset, end) {
		bad |= OverlapsMetadata
	}
	if m.img.hasDataFile() {
		bad |= NotAllowed
	}
	return bad
}

// healthy returns r.n, if that many clusters from p's on lie before the end of
// the file and outside metadata, else 0.
func (m *mapper) healthy(r *l2Run, p *Mapping) uint64 {
	n := r.n
	if m.img.hasDataFile() {
		return n // offsets go on as guest offsets do
	}
	size := m.img.geometry.ClusterSize
	end := p.HostOffset + n*size
	inTable := p.HostOffset < r.at && r.at < end
	if end-size >= m.img.src.size || m.inMetadata(p.HostOffset, end) || inTable {
		return 0
	}
	return n
}

// inMetadata reports whether host bytes from first up to end belong to what
// the header leads to.
func (m *mapper) inMetadata(first, end uint64) bool {
	for _, r := range m.metadata {
		if first < r[1] && r[0] < min(end, r[1]) {
			return true
		}
	}
	return false
}

// cut ends a mapping of the disk where the disk ends.
func (m *mapper) cut(p *Mapping) {
	if p.Start>>m.img.geometry.ClusterBits < m.vmState {
		p.Length = min(p.Length, m.diskEnd-min(p.Start, m.diskEnd))
	}
}

// skips reports whether a mapping is not wanted.
func (m *mapper) skips(p *Mapping) bool {
	return m.mapped && p.Kind == MappingUnallocated && p.Problems == 0
}

// add yields what cannot grow any more, and keeps p if it can.
func (m *mapper) add(p *Mapping) bool {
	if m.cut(p); p.Length == 0 || m.skips(p) { // none: subclusters behind the disk
		return true
	}
	p.HasBitmap = p.HasBitmap && m.each
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
	m.out, m.cur = m.cur, Mapping{}
	return m.yield(&m.out, nil)
}
