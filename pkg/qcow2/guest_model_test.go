package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A model maps guest addresses in the plainest way: every entry is read by
// itself, every cluster or subcluster is a mapping.
type model struct {
	file     []byte
	h        *qcow2.Header
	g        qcow2.Geometry
	l1, n    uint64 // where the L1 table is, and its entries
	diskSize uint64
	each     bool // clusters, not subclusters
}

func newModel(t *testing.T, img *qcow2.Image, file []byte, o qcow2.GuestOptions) *model {
	t.Helper()
	g, err := img.Geometry()
	if err != nil {
		t.Fatal(err)
	}
	h := img.Header()
	m := &model{file, h, g, h.L1TableOffset, uint64(h.L1Size), h.Size &^ 511, o.PerCluster}
	if s := o.Snapshot; s != nil {
		m.l1, m.n, m.diskSize = s.L1TableOffset, uint64(s.L1Size), s.DiskSize&^511
	}
	return m
}

// mappings returns the mappings that the options select; those that cannot be
// read are left out.
func (m *model) mappings(o qcow2.GuestOptions) []qcow2.Mapping {
	var all []qcow2.Mapping
	end := (m.diskSize + m.g.ClusterSize - 1) / m.g.ClusterSize
	if o.VMState {
		end = max(end, m.n*m.g.L2Entries)
	}
	for c := range end {
		first, last := c*m.g.ClusterSize, (c+1)*m.g.ClusterSize-1
		if last < o.Offset || o.Length > 0 && first > o.Offset+(o.Length-1) {
			continue
		}
		if word, bitmap, table, ok := m.entry(c); ok {
			pieces := m.pieces(first, word, bitmap, table)
			if !m.each && m.g.L2EntrySize == 16 && word&(1<<62) == 0 {
				pieces = m.touched(pieces, first, bitmap, o)
			}
			all = append(all, pieces...)
		}
	}
	return all
}

// touched returns the subclusters of the cluster at start that the options
// select: those that are alike are one range, and a cluster of one is whole.
func (m *model) touched(all []qcow2.Mapping, start, bitmap uint64, o qcow2.GuestOptions) []qcow2.Mapping {
	alike := func(i, j uint64) bool { return bitmap>>i&1 == bitmap>>j&1 && bitmap>>(i+32)&1 == bitmap>>(j+32)&1 }
	var kept []qcow2.Mapping
	for i, p := range all {
		first, end := uint64(i), uint64(i)+1
		for first > 0 && alike(first-1, uint64(i)) {
			first--
		}
		for end < 32 && alike(end, uint64(i)) {
			end++
		}
		last := start + end*m.g.SubclusterSize - 1
		if last >= o.Offset && (o.Length == 0 || start+first*m.g.SubclusterSize <= o.Offset+(o.Length-1)) {
			kept = append(kept, p)
		}
	}
	return kept
}

// entry reads the entry of a guest cluster: its words, whether there is an L2
// table at all, and whether it can be read.
func (m *model) entry(cluster uint64) (word, bitmap uint64, table, ok bool) {
	i, j := cluster/m.g.L2Entries, cluster%m.g.L2Entries
	if i >= m.n || m.l1+i*8+8 > uint64(len(m.file)) {
		return 0, 0, false, false
	}
	offset := binary.BigEndian.Uint64(m.file[m.l1+i*8:]) & 0x00fffffffffffe00
	at := offset + j*m.g.L2EntrySize
	switch {
	case offset == 0:
		return 0, 0, false, true
	case offset%m.g.ClusterSize != 0 || at+m.g.L2EntrySize > uint64(len(m.file)):
		return 0, 0, false, false
	case m.g.L2EntrySize == 16:
		bitmap = binary.BigEndian.Uint64(m.file[at+8:])
	}
	return binary.BigEndian.Uint64(m.file[at:]), bitmap, true, true
}

// pieces returns the mappings of the cluster at start, cut at the disk's end.
func (m *model) pieces(start, word, bitmap uint64, table bool) []qcow2.Mapping {
	var all []qcow2.Mapping
	whole := qcow2.Mapping{Start: start, Length: m.g.ClusterSize, HostOffset: word & 0x00fffffffffffe00}
	switch {
	case word&(1<<62) != 0:
		all = append(all, m.compressed(start, word, bitmap))
	case m.g.L2EntrySize == 8:
		zero := m.h.Version == 3 && word&1 != 0
		all = append(all, m.standard(whole, word, !zero && m.hasHost(word), zero, false))
	case m.each:
		whole.SubclusterBitmap, whole.HasSubclusterBitmap = bitmap, table
		both := bitmap>>32&bitmap != 0
		all = append(all, m.standard(whole, word, uint32(bitmap) != 0, bitmap>>32 != 0, both))
	default:
		for i := range uint64(32) {
			allocated, zero := bitmap>>i&1 != 0, bitmap>>(i+32)&1 != 0
			p := m.standard(whole, word, allocated, zero, allocated && zero)
			p.Start, p.Length = start+i*m.g.SubclusterSize, m.g.SubclusterSize
			if p.HasHost {
				p.HostOffset += i * m.g.SubclusterSize
			}
			all = append(all, p)
		}
	}
	return cut(all, start, m.diskSize)
}

// cut cuts mappings at the disk's end, unless they begin after it.
func cut(all []qcow2.Mapping, start, diskSize uint64) []qcow2.Mapping {
	if start >= diskSize {
		return all
	}
	var kept []qcow2.Mapping
	for _, p := range all {
		if p.Start < diskSize {
			p.Length = min(p.Length, diskSize-p.Start)
			kept = append(kept, p)
		}
	}
	return kept
}

func (m *model) dataFile() bool { return m.h.IncompatibleFeatures&qcow2.ExternalDataFile != 0 }

func (m *model) hasHost(word uint64) bool {
	zero := word&1 != 0 && m.g.L2EntrySize == 8
	return word&0x00fffffffffffe00 != 0 || m.dataFile() && word>>63 != 0 && !zero
}

// standard fills in kind and problems of p, some of which is allocated, reads as
// zeros, or claims both.
func (m *model) standard(p qcow2.Mapping, word uint64, allocated, zero, both bool) qcow2.Mapping {
	p.HasHost = m.hasHost(word)
	switch {
	case allocated && p.HasHost:
		p.Kind = qcow2.MappingData
	case zero && p.HasHost:
		p.Kind = qcow2.MappingZeroAllocated
	case zero:
		p.Kind = qcow2.MappingZero
	}
	reserved := word&0x3f000000000001fe != 0 || m.h.Version == 2 && word&1 != 0
	p.Problems |= problem(reserved, qcow2.ReservedBits)
	p.Problems |= problem(both || allocated && !p.HasHost, qcow2.InvalidSubclusters)
	p.Problems |= problem(p.HostOffset%m.g.ClusterSize != 0, qcow2.Unaligned)
	switch {
	case !p.HasHost:
	case m.dataFile():
		p.Problems |= problem(p.HostOffset != p.Start, qcow2.OffsetMismatch)
	default:
		p.Problems |= problem(p.HostOffset >= uint64(len(m.file)), qcow2.BeyondEOF)
		p.Problems |= problem(m.inMetadata(p.HostOffset, p.HostOffset+1), qcow2.OverlapsMetadata)
	}
	return p
}

func (m *model) compressed(start, word, bitmap uint64) qcow2.Mapping {
	p := qcow2.Mapping{Start: start, Length: m.g.ClusterSize, Kind: qcow2.MappingCompressed, HasHost: true}
	at := 62 - (m.g.ClusterBits - 8)
	p.HostOffset, p.Sectors = word%(1<<at), word<<2>>2>>at+1
	end := p.HostOffset/512*512 + p.Sectors*512
	file := uint64(len(m.file))
	p.Problems |= problem(p.HostOffset>>56 != 0 || bitmap != 0, qcow2.ReservedBits)
	p.Problems |= problem(word>>63 != 0, qcow2.CopiedFlag)
	p.Problems |= problem(p.HostOffset >= file || end >= file+m.g.ClusterSize, qcow2.BeyondEOF)
	p.Problems |= problem(m.inMetadata(p.HostOffset, end), qcow2.OverlapsMetadata)
	p.Problems |= problem(m.dataFile(), qcow2.NotAllowed)
	return p
}

func problem(is bool, p qcow2.Problems) qcow2.Problems {
	if is {
		return p
	}
	return 0
}

// inMetadata reports whether one of the host bytes is that of a structure that
// the header points to.
func (m *model) inMetadata(first, end uint64) bool {
	overlap := func(offset, n uint64) bool { return n > 0 && first < offset+n && offset < end }
	return overlap(0, m.g.ClusterSize) || overlap(m.l1, m.n*8) ||
		overlap(m.h.RefcountTableOffset, uint64(m.h.RefcountTableClusters)*m.g.ClusterSize) ||
		m.h.NbSnapshots > 0 && overlap(m.h.SnapshotsOffset, m.g.ClusterSize)
}

// split cuts a mapping that Guest yields into what the model has: clusters or,
// with extended L2 entries, subclusters.
func split(p qcow2.Mapping, unit uint64) []qcow2.Mapping {
	if !p.HasSubclusterBitmap {
		p.SubclusterBitmap = 0 // has no meaning
	}
	if p.Kind == qcow2.MappingCompressed {
		return []qcow2.Mapping{p}
	}
	var all []qcow2.Mapping
	for end := p.Start + p.Length; p.Start < end; p.Start += unit {
		p.Length = min(unit, end-p.Start)
		all = append(all, p)
		if p.HasHost {
			p.HostOffset += unit
		}
	}
	return all
}

// TestGuestModel compares Guest with the model on small random images, healthy
// and damaged, with random options.
func TestGuestModel(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			b := randomImage(r).Build()
			if seed%4 != 0 {
				damage(r, b)
			}
			img := open(t, b)
			sameAsModel(t, img, b.Bytes, randomOptions(r, img))
		})
	}
}

// sameAsModel holds Guest against the model.
func sameAsModel(t *testing.T, img *qcow2.Image, file []byte, o qcow2.GuestOptions) {
	t.Helper()
	m := newModel(t, img, file, o)
	unit := m.g.SubclusterSize
	if o.PerCluster {
		unit = m.g.ClusterSize
	}
	var got []qcow2.Mapping
	for p, err := range img.Guest(t.Context(), o) {
		if err == nil {
			got = append(got, split(*p, unit)...)
		}
	}
	if want := m.mappings(o); !slices.Equal(want, got) {
		t.Errorf("%+v (-want +got):\n%s", o, cmp.Diff(want, got))
	}
}

// randomImage describes a small image with runs of clusters of every kind.
func randomImage(r *rand.Rand) qcow2test.Image {
	im := qcow2test.Image{ClusterBits: 9 + r.UintN(3), Version: 2 + r.Uint32N(2), Size: r.Uint64N(100 << 10)}
	if im.Version == 3 {
		im.IncompatibleFeatures = r.Uint64N(2) << 2
	}
	if im.IncompatibleFeatures != 0 {
		im.Extensions = []qcow2test.Extension{{Type: uint32(qcow2.ExtDataFile), Data: []byte("data")}}
	}
	if im.Version == 3 && r.UintN(3) == 0 {
		im.IncompatibleFeatures |= 1 << 4
		im.ClusterBits, im.Size, im.Subclusters = 14, im.Size*32, map[uint64]uint64{}
	}
	clusters := im.Size>>im.ClusterBits + r.Uint64N(100)
	switch r.UintN(4) {
	case 0: // no L2 table under the end of the disk
		im.L1Size = uint32(im.Size>>(2*im.ClusterBits-4)) + 2
		return im
	case 1:
		im.L1Size = uint32((im.Size+200<<im.ClusterBits)>>(2*im.ClusterBits-4)) + 2
	}
	im.Clusters = randomClusters(r, im.Version, clusters)
	for guest := range im.Clusters {
		if im.Subclusters != nil && r.UintN(3) == 0 {
			im.Subclusters[guest] = r.Uint64() & r.Uint64() & r.Uint64()
		}
	}
	if im.IncompatibleFeatures&(1<<2) != 0 {
		return im
	}
	im.Compressed = map[uint64]qcow2test.Compressed{}
	for range r.UintN(5) {
		im.Compressed[r.Uint64N(clusters+1)] = qcow2test.Compressed{Offset: r.Uint64N(4096), Sectors: 1 + r.Uint64N(2)}
	}
	im.Snapshots = []qcow2test.Snapshot{{ID: "shared"}, {ID: "own", DiskSize: r.Uint64N(1 << 16), Clusters: randomClusters(r, im.Version, 200)}}
	return im
}

// randomClusters maps runs of clusters up to n.
func randomClusters(r *rand.Rand, version uint32, n uint64) map[uint64]qcow2test.Kind {
	all := map[uint64]qcow2test.Kind{}
	for c := r.Uint64N(20); c < n; c += r.Uint64N(20) {
		kind := qcow2test.Kind(r.IntN(3))
		if version == 2 {
			kind = qcow2test.Data
		}
		for range r.Uint64N(20) {
			all[c] = kind
			c++
		}
	}
	return all
}

// damage sets some entries of tables to what they should not be.
func damage(r *rand.Rand, b *qcow2test.Built) {
	var entries []qcow2test.Field
	for _, f := range b.Fields {
		if strings.Contains(f.Name, "l1[") || strings.Contains(f.Name, "l2[") {
			entries = append(entries, f)
		}
	}
	for range r.UintN(8) {
		if len(entries) == 0 {
			return
		}
		f := entries[r.IntN(len(entries))]
		was := b.Get(f.Name)
		values := []uint64{
			0, 1, 1 << 63, 1<<63 | 1, was ^ 1<<63, was ^ 1<<57, was ^ 1<<1, was ^ 1, was ^ 1<<9, was + 1<<40,
			uint64(len(b.Bytes)), b.Get("l1_table_offset"), b.Get("refcount_table_offset"), b.Get("snapshots_offset"),
			b.Get(entries[r.IntN(len(entries))].Name), 1<<62 | was, math.MaxUint64, r.Uint64(),
		}
		b.Set(f.Name, values[r.IntN(len(values))])
	}
	if r.UintN(4) == 0 {
		b.Truncate(512 + r.IntN(len(b.Bytes)-512))
	}
}

// randomOptions selects a range, which can be empty, and all the rest.
func randomOptions(r *rand.Rand, img *qcow2.Image) qcow2.GuestOptions {
	o := qcow2.GuestOptions{PerCluster: r.UintN(2) == 0, VMState: r.UintN(2) == 0}
	if r.UintN(2) == 0 {
		o.Offset, o.Length = r.Uint64N(1<<17), r.Uint64N(1<<r.UintN(17))
	}
	for s, err := range img.Snapshots() {
		if err == nil && len(s.Damage) == 0 && r.UintN(3) == 0 {
			o.Snapshot = &s
		}
	}
	return o
}
