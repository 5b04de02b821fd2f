package qcow2

import (
	"context"
	"errors"
)

// A diffSide is one of the two mappings that a diff compares. It holds the mappings
// of the next addresses, as many as maxDiffMappings.
type diffSide struct {
	mapper *Mapper
	need   uint64 // L1 entries: those of the disk, and of VM state behind it
	// user and vmStateUser mark the host clusters of the disk and of VM state.
	user, vmStateUser uint8
	broken            piece // the last L1 entries that could not be read, and are known to be

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

func (d *differ) newSide(ctx context.Context, s *Snapshot, user, vmStateUser uint8) (*diffSide, error) {
	m, err := d.img.Mapper(ctx, GuestOptions{Snapshot: s, VMState: true})
	if err != nil {
		return nil, err
	}
	// VM state ends where addresses do.
	entries := min(m.walk.l1.entries, maxGuestOffset/d.img.geometry.perL1Entry())
	side := &diffSide{mapper: m, need: max(m.walk.need, entries), user: user, vmStateUser: vmStateUser}
	side.take = func(p *Mapping, err error) bool { return d.take(side, p, err) }
	return side, nil
}

// size returns where the disk ends, in bytes.
func (s *diffSide) size() uint64 { return s.mapper.diskEnd }

// l1 returns L1 entries from one index on and before another, as tableWalk.piece
// does. Past the last that is needed they are 0. isNews is whether an error is
// returned for the first time.
func (s *diffSide) l1(from, to uint64) (p piece, isNews bool) {
	if from >= s.need {
		return piece{n: to - from}, false
	}
	walk := s.mapper.walk
	if end := walk.l1.indexOf(s.broken.offset) + s.broken.n; s.broken.err != nil && from < end {
		p = s.broken
		p.n = end - from
		return p, false
	}
	if p = walk.piece(from, s.need); p.err != nil {
		s.broken = p
	}
	return p, p.err != nil
}

// cover holds the mappings from a guest address on and before another, unless it
// does already. Where the L1 table cannot be read there are none. It returns false
// if yield did or the context is done.
func (s *diffSide) cover(at, to uint64, readable bool) bool {
	if at < s.covered {
		return true
	}
	s.repeated = 0
	if walk := s.mapper.walk; at == s.covered && at%walk.img.geometry.perL1Entry() != 0 {
		s.repeated = walk.l1.entryOffset(at / walk.img.geometry.perL1Entry())
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
		s.ok = d.yield(nil, err) && d.ctx.Err() == nil
		return s.ok
	}
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
	if at >= s.size() {
		return nil, to
	}
	to = min(to, s.size())
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
