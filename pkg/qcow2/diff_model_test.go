package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A diffModel compares two mappings in the plainest way: sector by sector.
type diffModel struct {
	from, to *model
	o        qcow2.DiffOptions
	backing  bool
	// The mapping of each sector, as far as it is known.
	fromSectors, toSectors map[uint64]qcow2.Mapping
	totals                 qcow2.DiffTotals
	rows                   []qcow2.Difference // sectors
}

func newDiffModel(t *testing.T, img *qcow2.Image, file []byte, o qcow2.DiffOptions) *diffModel {
	t.Helper()
	m := &diffModel{o: o}
	_, m.backing, _ = img.BackingFile()
	hosts := map[uint64]*[4]bool{} // by host cluster: in FROM's disk, its VM state, TO's disk, its VM state
	sectors := func(s *qcow2.Snapshot) (*model, map[uint64]qcow2.Mapping) {
		g := qcow2.GuestOptions{Snapshot: s, VMState: true, Offset: o.Offset, Length: o.Length}
		mo := newModel(t, img, file, g)
		all := map[uint64]qcow2.Mapping{}
		for _, p := range mo.mappings(g) {
			if p.Kind == qcow2.MappingUnallocated && p.Start >= mo.diskSize {
				continue // an L1 entry can reach far past the end of the disk
			}
			for _, q := range split(p, mo.g.SubclusterSize) {
				for at := q.Start; at < q.Start+q.Length; at += 512 {
					r := q
					if r.Start, r.Length = at, 512; r.HasHost && r.Kind != qcow2.MappingCompressed {
						r.HostOffset += at - q.Start
					}
					all[at] = r
				}
			}
		}
		return mo, all
	}
	m.from, m.fromSectors = sectors(o.From)
	m.to, m.toSectors = sectors(o.To)
	m.mark(hosts, m.from, o.From, m.fromSectors, 0)
	m.mark(hosts, m.to, o.To, m.toSectors, 2)
	size := m.from.g.ClusterSize
	for _, h := range hosts {
		switch {
		case (h[0] || h[1]) && (h[2] || h[3]):
		case h[2]:
			m.totals.Written += size
		case h[3]:
			m.totals.VMStateWritten += size
		case h[0]:
			m.totals.Dropped += size
		default:
			m.totals.VMStateDropped += size
		}
	}
	for at := uint64(0); at < max(m.from.diskSize, m.to.diskSize); at += 512 {
		m.sector(at)
	}
	return m
}

// mark adds the host clusters of one side, where the L2 tables differ.
func (m *diffModel) mark(hosts map[uint64]*[4]bool, side *model, s *qcow2.Snapshot, all map[uint64]qcow2.Mapping, user int) {
	size := side.h.Size // as stored
	if s != nil {
		size = s.DiskSize
	}
	perTable := m.from.g.ClusterSize * m.from.g.L2Entries
	vmState := (size + perTable - 1) / perTable * perTable
	for at, p := range all {
		if !p.HasHost || side.dataFile() || m.shared(at) {
			continue
		}
		first, end := p.HostOffset, p.HostOffset+1
		if p.Kind == qcow2.MappingCompressed {
			end = first/512*512 + p.Sectors*512
		} else if p.Problems&qcow2.Unaligned != 0 { // the whole cluster counts
			end = first + 512
		}
		use := user
		if at >= vmState {
			use++
		}
		for c := first / m.from.g.ClusterSize; c*m.from.g.ClusterSize < min(end, uint64(len(side.file))); c++ {
			if hosts[c] == nil {
				hosts[c] = new([4]bool)
			}
			hosts[c][use] = true
		}
	}
}

// word returns the L1 entry of a guest address, and whether the table has it.
func (m *model) word(at uint64) (uint64, bool) {
	i := at / (m.g.ClusterSize * m.g.L2Entries)
	if i >= m.n {
		return 0, at >= m.diskSize
	}
	if m.l1+i*8+8 > uint64(len(m.file)) {
		return 0, false
	}
	return binary.BigEndian.Uint64(m.file[m.l1+i*8:]), true
}

// shared reports whether the L2 table of a guest address is the same on both
// sides, and sound as far as the L1 entries tell.
func (m *diffModel) shared(at uint64) bool {
	const offset = 0x00fffffffffffe00
	perTable := m.from.g.ClusterSize * m.from.g.L2Entries
	start := at / perTable * perTable
	if a, b := m.from.diskSize, m.to.diskSize; a != b && start < max(a, b) && start+perTable > min(a, b) {
		return false // one of the disks ends in it, or before it
	}
	a, ok1 := m.from.word(at)
	b, ok2 := m.to.word(at)
	return ok1 && ok2 && a&offset == b&offset && (a|b)&^(offset|1<<63) == 0 &&
		a&offset%m.from.g.ClusterSize == 0 && a&offset < uint64(len(m.from.file))
}

// sector compares one sector.
func (m *diffModel) sector(at uint64) {
	if at < m.o.Offset || m.o.Length > 0 && at >= m.o.Offset+m.o.Length || m.shared(at) && !m.o.All {
		return
	}
	d := qcow2.Difference{Start: at, Length: 512}
	if at < m.from.diskSize {
		d.From, d.HasFrom = m.fromSectors[at]
	}
	if at < m.to.diskSize {
		d.To, d.HasTo = m.toSectors[at]
	}
	zeros := func(p qcow2.Mapping) bool {
		return p.Kind == qcow2.MappingZero || p.Kind == qcow2.MappingZeroAllocated || p.Kind == qcow2.MappingUnallocated && !m.backing
	}
	data := d.To.Kind == qcow2.MappingData || d.To.Kind == qcow2.MappingCompressed
	same := d.From.Kind == d.To.Kind && d.From.HostOffset == d.To.HostOffset && d.From.Sectors == d.To.Sectors
	switch {
	case !d.HasFrom && at < m.from.diskSize, !d.HasTo && at < m.to.diskSize, d.From.Problems|d.To.Problems != 0:
		d.Change = qcow2.ChangeUnknown
	case at >= m.from.diskSize:
		d.Change = qcow2.ChangeGrown
	case at >= m.to.diskSize:
		d.Change = qcow2.ChangeCut
	case zeros(d.From) && zeros(d.To):
	case d.From.Kind == qcow2.MappingUnallocated && d.To.Kind == qcow2.MappingUnallocated:
	case data && same:
	case data:
		d.Change = qcow2.ChangeWritten
	case zeros(d.To):
		d.Change = qcow2.ChangeZeroed
	default:
		d.Change = qcow2.ChangeDiscarded
	}
	if d.Change != qcow2.ChangeUnknown && d.HasTo {
		d.Data, d.Zero = data, zeros(d.To)
	}
	if d.Change == qcow2.ChangeSame && !m.o.All {
		return
	}
	m.count(&d)
	m.rows = append(m.rows, d)
}

// count adds a sector to the totals.
func (m *diffModel) count(d *qcow2.Difference) {
	if d.Change == qcow2.ChangeSame {
		return
	}
	m.totals.Changed += 512
	if d.Data {
		m.totals.Data += 512
	}
	if d.Zero {
		m.totals.Zero += 512
	}
	if d.Change == qcow2.ChangeUnknown {
		m.totals.Unknown += 512
	}
}

// joinable reports whether q continues p, so that both are one row.
func joinable(p, q qcow2.Difference) bool {
	goesOn := func(a, b qcow2.Mapping) bool {
		return a.Kind == b.Kind && a.Problems == b.Problems && a.HasHost == b.HasHost &&
			(a.Kind != qcow2.MappingCompressed && a.HostOffset+boolean(a.HasHost)*a.Length == b.HostOffset)
	}
	return p.Start+p.Length == q.Start && p.Change == q.Change && p.HasFrom == q.HasFrom && p.HasTo == q.HasTo &&
		goesOn(p.From, q.From) && goesOn(p.To, q.To)
}

func boolean(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// splitDifference splits a difference into sectors.
func splitDifference(d qcow2.Difference) []qcow2.Difference {
	var all []qcow2.Difference
	for at := uint64(0); at < d.Length; at += 512 {
		s := d
		s.Start, s.Length = d.Start+at, 512
		for _, p := range []*qcow2.Mapping{&s.From, &s.To} {
			if p.Length > 0 {
				p.Start, p.Length = s.Start, 512
			}
			if p.HasHost && p.Kind != qcow2.MappingCompressed {
				p.HostOffset += at
			}
		}
		all = append(all, s)
	}
	return all
}

// sameAsDiffModel holds Diff against the model.
func sameAsDiffModel(t *testing.T, img *qcow2.Image, file []byte, o qcow2.DiffOptions) {
	t.Helper()
	seq, totals := img.Diff(t.Context(), o)
	var rows, got []qcow2.Difference
	for d, err := range seq {
		if err == nil {
			rows = append(rows, *d)
			got = append(got, splitDifference(*d)...)
		}
	}
	m := newDiffModel(t, img, file, o)
	m.totals.Ranges, m.totals.Incomplete = ranges(t, rows), totals.Incomplete
	if m.totals.Unknown > 0 && !totals.Incomplete {
		t.Errorf("%+v: what is unknown leaves the totals complete", o)
	}
	if diff := cmp.Diff(m.totals, *totals); diff != "" {
		t.Errorf("%+v: totals (-model +Diff):\n%s", o, diff)
	}
	if !slices.Equal(m.rows, got) {
		t.Errorf("%+v (-model +Diff):\n%s", o, cmp.Diff(m.rows, got))
	}
}

// ranges returns how many rows are differences, of which no two could be one.
func ranges(t *testing.T, rows []qcow2.Difference) uint64 {
	t.Helper()
	n := uint64(0)
	for i, d := range rows {
		if d.Change != qcow2.ChangeSame {
			n++
		}
		if i > 0 && joinable(rows[i-1], d) {
			t.Errorf("%+v and %+v could be one", rows[i-1], d)
		}
	}
	return n
}

// TestDiffModel compares Diff with the model on small random images, healthy and
// damaged, with random options.
func TestDiffModel(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			im := randomImage(r)
			if r.UintN(3) == 0 {
				im.BackingFile = "base"
			}
			b := im.Build()
			shareTables(r, b)
			if seed%4 != 0 {
				damage(r, b)
			}
			img := open(t, b)
			sameAsDiffModel(t, img, b.Bytes, randomDiffOptions(r, img))
		})
	}
}

// shareTables gives the second snapshot some of the L2 tables of the active image.
func shareTables(r *rand.Rand, b *qcow2test.Built) {
	for _, f := range b.Fields {
		var i int
		if n, _ := fmt.Sscanf(f.Name, "l1[%d]", &i); n == 1 && r.UintN(2) == 0 {
			own := fmt.Sprintf("snapshot[1].l1[%d]", i)
			if slices.ContainsFunc(b.Fields, func(f qcow2test.Field) bool { return f.Name == own }) {
				b.Set(own, b.Get(f.Name)&^copied)
			}
		}
	}
}

// randomDiffOptions selects two mappings, and a range, which can be empty.
func randomDiffOptions(r *rand.Rand, img *qcow2.Image) qcow2.DiffOptions {
	o := qcow2.DiffOptions{All: r.UintN(2) == 0}
	if r.UintN(2) == 0 {
		o.Offset, o.Length = r.Uint64N(1<<8)*512, r.Uint64N(1<<r.UintN(8))*512
	}
	for s, err := range img.Snapshots() {
		if err != nil || len(s.Damage) > 0 {
			continue
		}
		switch r.UintN(4) {
		case 0:
			o.From = &s
		case 1:
			o.To = &s
		}
	}
	return o
}
