package qcow2

import (
	"context"
	"errors"
)

// A diffSide is one of the two mappings that a diff compares. It holds the mappings
// of the next addresses, as many as maxDiffMappings.
type diffSide struct {
	mapper *Mapper // nil if the L1 table cannot be read at all
	disk   uint64  // where the disk ends, in bytes
	need   uint64  // L1 entries: those of the disk, and of VM state behind it
	// user and vmStateUser mark the host clusters of the disk and of VM state.
	user, vmStateUser uint8
	err               error  // why L1 entries cannot be read
	errEnd            uint64 // the first L1 entry to which err does not apply
	told              bool   // err was yielded

	mappings []Mapping
	next     int    // the first of them that is not merged yet
	covered  uint64 // guest offset up to which the mappings are known, in bytes
	repeated uint64 // file offset of an L1 entry whose errors were yielded, 0: none
	marks    bool   // host clusters count
	ok       bool   // yield returned true
	take     func(*Mapping, error) bool
}

// maxDiffMappings is how many mappings of each side are held.
const maxDiffMappings = 8192

func (d *differ) newSide(ctx context.Context, s *Snapshot, user, vmStateUser uint8) *diffSide {
	g := &d.img.geometry
	side := &diffSide{disk: g.VirtualSize, user: user, vmStateUser: vmStateUser}
	if s != nil {
		side.disk = s.DiskSize &^ 511
	}
	side.need = g.l1Entries(side.disk)
	if side.mapper, side.err = d.img.Mapper(ctx, GuestOptions{Snapshot: s, VMState: true}); side.err != nil {
		side.errEnd, side.told = side.need, true
		return side
	}
	// VM state ends where addresses do.
	side.need = max(side.need, min(side.mapper.walk.l1.entries, maxGuestOffset/d.perL1Entry))
	side.take = func(p *Mapping, err error) bool { return d.take(side, p, err) }
	return side
}

// l1 returns L1 entries from one index on and before another, as tableWalk.piece
// does. Past the last that is needed they are 0. isNews is whether an error is
// returned for the first time.
func (s *diffSide) l1(from, to uint64) (p piece, isNews bool) {
	if from >= s.need {
		return piece{n: to - from}, false
	}
	if s.err == nil || from >= s.errEnd {
		if p = s.mapper.walk.pieceOf(from, s.need); p.err == nil {
			return p, false
		}
		s.err, s.errEnd, s.told = p.err, from+p.n, false
	}
	isNews, s.told = !s.told, true
	return piece{n: s.errEnd - from, err: s.err}, isNews
}

// cover makes a side hold the mappings from one guest address on and before
// another, unless it does already. Where the L1 table cannot be read there are none.
// It returns false if yield did or the context is done.
func (d *differ) cover(s *diffSide, at, to uint64, readable bool) bool {
	if at < s.covered {
		return true
	}
	readable = readable && s.mapper != nil // it is nil also past the end of a disk whose L1 table is lost
	s.repeated = 0
	if per := d.perL1Entry; readable && at == s.covered && at%per != 0 {
		s.repeated = s.mapper.walk.l1.entryOffset(at / per)
	}
	s.mappings, s.next, s.covered, s.ok = s.mappings[:0], 0, to, true
	if readable {
		s.mapper.Map(at, to, s.take)
	}
	return s.ok
}

// take adds a mapping to those that a side holds, or yields an error.
func (d *differ) take(s *diffSide, m *Mapping, err error) bool {
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Section == SectionL1Table && e.Offset == s.repeated {
			return true
		}
		s.ok = d.fail(err) && d.ctx.Err() == nil
		return s.ok
	}
	d.totals.Incomplete = d.totals.Incomplete || m.Problems != 0
	if s.marks {
		user := s.user
		if m.Start>>d.img.geometry.ClusterBits >= s.mapper.vmState {
			user = s.vmStateUser
		}
		d.hosts.mark(m, user)
	}
	if s.mappings = append(s.mappings, *m); len(s.mappings) < maxDiffMappings {
		return true
	}
	s.covered = min(s.covered, m.end())
	return false
}

// end returns the guest offset after the mapping, in bytes. It saturates.
func (p *Mapping) end() uint64 {
	if end := p.Start + p.Length; end > p.Start {
		return end
	}
	return maxGuestOffset
}

// at returns the mapping that holds a guest address, nil if there is none, and
// where that ends: before to, in bytes.
func (s *diffSide) at(at, to uint64) (m *Mapping, end uint64) {
	if at >= s.disk {
		return nil, to
	}
	to = min(to, s.disk)
	for s.next < len(s.mappings) && s.mappings[s.next].end() <= at {
		s.next++
	}
	switch {
	case s.next == len(s.mappings):
		return nil, to
	case s.mappings[s.next].Start > at:
		return nil, min(to, s.mappings[s.next].Start)
	}
	return &s.mappings[s.next], min(to, s.mappings[s.next].end())
}
