package qcow2_test

import (
	"encoding/binary"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A holeReader is a file that goes on with a hole after its bytes.
type holeReader []byte

func (h holeReader) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(h)) {
		copy(p, h[off:])
	}
	return len(p), nil
}

// A hostRef is a reference as the model sees it.
type hostRef struct {
	Kind qcow2.HostKind
	qcow2.Reference
}

// A hostModel lists all references in the plainest way: every entry of every L1
// table, and for each every entry of its L2 table.
type hostModel struct {
	file holeReader
	size uint64
	img  *qcow2.Image
	h    *qcow2.Header
	g    qcow2.Geometry

	tables   [][2]uint64                 // offset and entries of each bitmap table
	refs     map[uint64][]hostRef        // by cluster, in order
	own      map[uint64][]qcow2.Problems // of each reference by itself
	problems map[uint64]qcow2.Problems
}

func newHostModel(t *testing.T, img *qcow2.Image, file []byte) *hostModel {
	t.Helper()
	g, err := img.Geometry()
	if err != nil {
		t.Fatal(err)
	}
	m := &hostModel{
		file: file, size: uint64(img.Size()), img: img, h: img.Header(), g: g,
		refs: map[uint64][]hostRef{}, own: map[uint64][]qcow2.Problems{}, problems: map[uint64]qcow2.Problems{},
	}
	m.structures()
	m.refcountBlocks()
	m.bitmapData()
	m.eachL1(func(owner qcow2.Owner, offset, n, _ uint64) {
		for i := range n {
			m.l1Entry(owner, offset, i)
		}
	})
	m.eachL1(func(owner qcow2.Owner, offset, n, disk uint64) {
		for i := range n {
			m.l2Table(owner, offset, i, g.VMStateOffsetOf(disk))
		}
	})
	return m
}

// word reads 8 bytes, and whether the file has them.
func (m *hostModel) word(off uint64) (uint64, bool) {
	if off+8 > m.size {
		return 0, false
	}
	var p [8]byte
	m.file.ReadAt(p[:], int64(off))
	return binary.BigEndian.Uint64(p[:]), true
}

// add adds a reference to the clusters from the byte first up to the byte end.
func (m *hostModel) add(first, end uint64, r hostRef, p qcow2.Problems) {
	metadata := func(k qcow2.HostKind) bool { return k <= qcow2.HostL2Table }
	for c := first / m.g.ClusterSize; c <= (end-1)/m.g.ClusterSize && c < m.g.HostClusters; c++ {
		for _, other := range m.refs[c] {
			if (metadata(other.Kind) || metadata(r.Kind)) && (other.Kind != qcow2.HostL2Table || r.Kind != qcow2.HostL2Table) {
				p |= qcow2.OverlapsMetadata
			}
		}
		m.refs[c] = append(m.refs[c], r)
		m.own[c] = append(m.own[c], p&^qcow2.OverlapsMetadata)
		m.problems[c] |= p
		p &^= qcow2.OverlapsMetadata
	}
}

func (m *hostModel) structure(kind qcow2.HostKind, owner qcow2.Owner, offset, length, entry uint64) {
	for at := uint64(0); at < length; at += m.g.ClusterSize {
		m.add(offset+at, offset+at+1, hostRef{kind, qcow2.Reference{Owner: owner, Entry: entry, Index: at / m.g.ClusterSize}}, 0)
	}
}

func (m *hostModel) structures() {
	m.structure(qcow2.HostHeader, qcow2.OwnerImage, 0, m.g.ClusterSize, 0)
	m.structure(qcow2.HostRefcountTable, qcow2.OwnerImage, m.h.RefcountTableOffset, uint64(m.h.RefcountTableClusters)*m.g.ClusterSize, 48)
	entries := []uint64{40}
	end := m.h.SnapshotsOffset
	for s, err := range m.img.Snapshots() {
		if err != nil {
			break
		}
		if len(s.Damage) == 0 {
			entries = append(entries, s.Offset)
		}
		end = s.Offset + 40 + uint64(s.ExtraSize) + uint64(len(s.ID)+len(s.Name))
	}
	m.eachL1(func(owner qcow2.Owner, offset, _, _ uint64) {
		m.structure(qcow2.HostL1Table, owner, offset, m.l1Size(owner)*8, entries[0])
		entries = entries[1:]
	})
	m.structure(qcow2.HostSnapshotTable, qcow2.OwnerImage, m.h.SnapshotsOffset, end-m.h.SnapshotsOffset, 64)
	m.bitmapTables()
}

// bitmapTables adds the directory and the tables of healthy bitmaps.
func (m *hostModel) bitmapTables() {
	x, ok := m.img.Extension(qcow2.ExtBitmaps)
	if !ok || m.h.AutoclearFeatures&1 == 0 {
		return
	}
	length, offset := binary.BigEndian.Uint64(x.Data[8:]), binary.BigEndian.Uint64(x.Data[16:])
	m.structure(qcow2.HostBitmapDirectory, qcow2.OwnerImage, offset, length, x.Offset+8+16)
	for at := offset; at < offset+length; {
		var p [24]byte
		m.file.ReadAt(p[:], int64(at))
		table := [2]uint64{binary.BigEndian.Uint64(p[:]), uint64(binary.BigEndian.Uint32(p[8:]))}
		for i := uint64(0); i < table[1]*8; i += m.g.ClusterSize {
			r := qcow2.Reference{Owner: qcow2.OwnerImage, Entry: at, Index: i / m.g.ClusterSize, Bitmap: len(m.tables)}
			m.add(table[0]+i, table[0]+i+1, hostRef{qcow2.HostBitmapTable, r}, 0)
		}
		m.tables = append(m.tables, table)
		at += (24 + uint64(binary.BigEndian.Uint32(p[20:])) + uint64(binary.BigEndian.Uint16(p[18:])) + 7) &^ 7
	}
}

// bitmapData adds the clusters that the bitmap tables point to.
func (m *hostModel) bitmapData() {
	for k, table := range m.tables {
		for i := range table[1] {
			if w, _ := m.word(table[0] + i*8); w > 1 {
				m.add(w, w+1, hostRef{qcow2.HostBitmapData, qcow2.Reference{Owner: qcow2.OwnerImage, Entry: table[0] + i*8, Index: i, Bitmap: k}}, 0)
			}
		}
	}
}

// l1Size returns the entries that an owner's L1 table claims.
func (m *hostModel) l1Size(owner qcow2.Owner) uint64 {
	for s, err := range m.img.Snapshots() {
		if err == nil && s.Index == int(owner) {
			return uint64(s.L1Size)
		}
	}
	return uint64(m.h.L1Size)
}

// eachL1 calls f for every L1 table with the entries that the file has.
func (m *hostModel) eachL1(f func(owner qcow2.Owner, offset, n, disk uint64)) {
	there := func(offset, n uint64) uint64 { return min(n, (m.size-min(offset, m.size))/8) }
	f(qcow2.OwnerActive, m.h.L1TableOffset, there(m.h.L1TableOffset, uint64(m.h.L1Size)), m.h.Size)
	for s, err := range m.img.Snapshots() {
		if err == nil && len(s.Damage) == 0 {
			f(qcow2.Owner(s.Index), s.L1TableOffset, there(s.L1TableOffset, uint64(s.L1Size)), s.DiskSize)
		}
	}
}

func (m *hostModel) refcountBlocks() {
	for i := range m.g.RefcountTableEntries {
		at := m.h.RefcountTableOffset + i*8
		if word, ok := m.word(at); ok && word&^511 != 0 && word&^511%m.g.ClusterSize == 0 && word&^511 < m.size {
			m.add(word&^511, word&^511+1, hostRef{qcow2.HostRefcountBlock, qcow2.Reference{Owner: qcow2.OwnerImage, Entry: at, Index: i}}, 0)
		}
	}
}

func (m *hostModel) l1Entry(owner qcow2.Owner, l1, i uint64) {
	word, _ := m.word(l1 + i*8)
	table := word & 0x00fffffffffffe00
	if table == 0 || table >= m.size {
		return
	}
	p := problem(table%m.g.ClusterSize != 0, qcow2.Unaligned) | problem(word&0x7f000000000001ff != 0, qcow2.ReservedBits)
	m.add(table, table+m.g.ClusterSize, hostRef{qcow2.HostL2Table, qcow2.Reference{Owner: owner, Entry: l1 + i*8, Index: i, L1Index: i}}, p)
}

func (m *hostModel) l2Table(owner qcow2.Owner, l1, i, vmState uint64) {
	word, _ := m.word(l1 + i*8)
	table := word & 0x00fffffffffffe00
	if table == 0 || table%m.g.ClusterSize != 0 || table >= m.size {
		return
	}
	gm := model{file: nil, h: m.h, g: m.g, each: true, diskSize: ^uint64(0)}
	for j := range m.g.L2Entries {
		at := table + j*m.g.L2EntrySize
		word, ok := m.word(at)
		bitmap := uint64(0)
		if m.g.L2EntrySize == 16 && ok {
			bitmap, ok = m.word(at + 8)
		}
		if !ok {
			return
		}
		start := (i*m.g.L2Entries + j) * m.g.ClusterSize
		p := gm.pieces(start, word, bitmap, true)[0]
		if !p.HasHost || gm.dataFile() {
			continue
		}
		m.data(owner, p, at, i, j, vmState)
	}
}

// data adds the reference of an L2 entry whose mapping, as in an empty file, is
// p.
func (m *hostModel) data(owner qcow2.Owner, p qcow2.Mapping, at, i, j, vmState uint64) {
	kind, end := qcow2.HostData, p.HostOffset+m.g.ClusterSize
	switch p.Kind {
	case qcow2.MappingCompressed:
		kind, end = qcow2.HostCompressed, p.HostOffset&^511+p.Sectors*512
	case qcow2.MappingZeroAllocated:
		kind = qcow2.HostZeroAllocated
	}
	bad := p.Problems &^ (qcow2.BeyondEOF | qcow2.OverlapsMetadata)
	bad |= problem(p.HostOffset >= m.size || kind == qcow2.HostCompressed && end >= m.size+m.g.ClusterSize, qcow2.BeyondEOF)
	if p.Start >= vmState {
		kind = qcow2.HostVMState
	}
	m.add(p.HostOffset, end, hostRef{kind, qcow2.Reference{Owner: owner, Entry: at, Index: j, L1Index: i, GuestOffset: p.Start}}, bad)
}

// refcount reads a refcount; ok is false where it is not known.
func (m *hostModel) refcount(c uint64) (n uint64, ok bool) {
	i, j := c/m.g.RefcountBlockEntries, c%m.g.RefcountBlockEntries
	if i >= m.g.RefcountTableEntries {
		return 0, true
	}
	word, ok := m.word(m.h.RefcountTableOffset + i*8)
	block := word &^ 511
	bit := j * m.g.RefcountBits
	switch {
	case !ok:
		return 0, false
	case block == 0:
		return 0, true
	case block%m.g.ClusterSize != 0 || block+bit/8+max(m.g.RefcountBits/8, 1) > m.size:
		return 0, false
	}
	p := make([]byte, max(m.g.RefcountBits/8, 1))
	m.file.ReadAt(p, int64(block+bit/8))
	if m.g.RefcountBits < 8 {
		return uint64(p[0]) >> (bit % 8) & (1<<m.g.RefcountBits - 1), true
	}
	for _, b := range p {
		n = n<<8 | uint64(b)
	}
	return n, true
}

// ranges returns what Host should yield for every cluster.
func (m *hostModel) ranges() []qcow2.HostRange {
	var all []qcow2.HostRange
	for c := range m.g.HostClusters {
		r := qcow2.HostRange{Offset: c * m.g.ClusterSize, References: uint64(len(m.refs[c])), Problems: m.problems[c]}
		r.Length = min(m.g.ClusterSize, m.size-r.Offset)
		r.Refcount, r.HasRefcount = m.refcount(c)
		if refs := m.refs[c]; len(refs) > 0 {
			r.Kind, r.Reference, r.HasReference = refs[0].Kind, refs[0].Reference, true
		} else if r.Kind = qcow2.HostUnknown; r.HasRefcount {
			r.Kind = qcow2.HostFree
			if r.Refcount > 0 {
				r.Kind = qcow2.HostLeaked
			}
		}
		all = append(all, r)
	}
	return all
}

// hostRanges returns what Host yields, less the errors.
func hostRanges(t *testing.T, img *qcow2.Image, o qcow2.HostOptions) []qcow2.HostRange {
	t.Helper()
	var all []qcow2.HostRange
	for r, err := range img.Host(t.Context(), o) {
		if err != nil {
			asError(t, err)
			continue
		}
		all = append(all, *r)
	}
	return all
}

// merge joins ranges as the agreement says.
func merge(all []qcow2.HostRange, g qcow2.Geometry) []qcow2.HostRange {
	var runs []qcow2.HostRange
	var next qcow2.Reference // of a range that goes on
	for _, r := range all {
		if n := len(runs); n > 0 {
			l := &runs[n-1]
			if l.Kind == r.Kind && l.Problems|r.Problems == 0 && r.Kind != qcow2.HostCompressed && l.References == r.References &&
				l.Refcount == r.Refcount && l.HasRefcount == r.HasRefcount && r.Reference == next {
				l.Length += r.Length
				next = following(r, g)
				continue
			}
		}
		runs = append(runs, r)
		next = following(r, g)
	}
	return runs
}

// following returns the reference of a range that goes on after one cluster.
func following(r qcow2.HostRange, g qcow2.Geometry) qcow2.Reference {
	next := r.Reference
	if !r.HasReference {
		return next
	}
	next.Index++
	switch r.Kind {
	case qcow2.HostRefcountBlock, qcow2.HostBitmapData:
		next.Entry += 8
	case qcow2.HostL2Table:
		next.Entry += 8
		next.L1Index++
	case qcow2.HostData, qcow2.HostZeroAllocated, qcow2.HostVMState:
		next.Entry += g.L2EntrySize
		next.GuestOffset += g.ClusterSize
	}
	return next
}
