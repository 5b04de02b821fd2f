package chain

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A merger maps a disk through the layers. It goes through the mapping of the image,
// and where that holds nothing through the same range of the layer below, and so
// on: ranges only get narrower, and each layer is asked for them in their order.
type merger struct {
	levels []level
	mapped bool // what is unallocated is left out
	yield  func(*Extent, error) bool
	cur    Extent // what can still grow; none if its length is 0
}

// A level is a layer, and the range that is being mapped there.
type level struct {
	*merger
	layer  *Layer
	tables layerMap // nil: the layer cannot be mapped
	size   uint64   // of the disk, in bytes
	take   func(*qcow2.Mapping, error) bool

	at, to   uint64         // what of the range is left
	problems qcow2.Problems // of the entries above that led here
	reported errorSet
}

// newMerger returns a merger, and what keeps layers from being mapped.
func newMerger(ctx context.Context, c *Chain, o *MapOptions, yield func(*Extent, error) bool) (*merger, []error) {
	m := &merger{levels: make([]level, len(c.Layers)), mapped: o.Mapped, yield: yield}
	var errs []error
	for i, layer := range c.Layers {
		l := &m.levels[i]
		*l = level{merger: m, layer: layer, size: layer.VirtualSize}
		l.take = l.takeMapping
		var s *qcow2.Snapshot
		if i == 0 && o.Snapshot != nil {
			s, l.size = o.Snapshot, o.Snapshot.DiskSize&^(sectorSize-1)
		}
		var err error
		if l.tables, err = layer.mapper(ctx, qcow2.GuestOptions{Snapshot: s}); err != nil {
			errs = append(errs, layer.wrong(err))
		}
	}
	return m, errs
}

// merge maps a range of guest addresses of a level that lie on its disk. problems
// are those of the entries that led there. It returns false when no more is wanted.
func (m *merger) merge(depth int, from, to uint64, problems qcow2.Problems) bool {
	l := &m.levels[depth]
	l.at, l.to, l.problems = from, to, problems
	if l.tables == nil {
		return l.unknown(to)
	}
	return l.tables.Map(from, to, l.take) && l.unknown(to)
}

// takeMapping takes a mapping of the level, or an error.
func (l *level) takeMapping(p *qcow2.Mapping, err error) bool {
	if err != nil {
		return !l.reported.add(err) || l.flush() && l.yield(nil, l.layer.wrong(err))
	}
	start, end := max(p.Start, l.at), min(p.Start+p.Length, l.to)
	if start >= end {
		return true
	}
	if !l.unknown(start) {
		return false
	}
	l.at = end
	if p.Kind == qcow2.MappingUnallocated && l.layer.Depth+1 < len(l.levels) {
		return l.below(p, start, end)
	}
	return l.put(p, start, end)
}

// below maps what the level does not hold: on the level below as far as its disk
// reaches, else as the level's own.
func (l *level) below(p *qcow2.Mapping, start, end uint64) bool {
	lower := &l.levels[l.layer.Depth+1]
	border := max(start, min(end, lower.size))
	if !lower.layer.Readable() {
		border = end
	}
	if start < border && !l.merge(lower.layer.Depth, start, border, l.problems|p.Problems) {
		return false
	}
	return border == end || l.put(p, border, end)
}

// unknown adds what lies between the last mapping and the next.
func (l *level) unknown(to uint64) bool {
	if l.at >= to {
		return true
	}
	e := Extent{Mapping: qcow2.Mapping{Start: l.at, Length: to - l.at, Problems: l.problems}, Depth: l.layer.Depth, Unknown: true}
	l.at = to
	return l.add(&e)
}

// put adds the part of a mapping between two guest addresses.
func (l *level) put(p *qcow2.Mapping, start, end uint64) bool {
	e := Extent{Mapping: *p, Depth: l.layer.Depth}
	if p.HasHost && p.Kind != qcow2.MappingCompressed {
		e.HostOffset += start - p.Start
	}
	e.Start, e.Length = start, end-start
	e.Problems |= l.problems
	return l.add(&e)
}

// add lets the current extent grow by e, or yields it and keeps e.
func (m *merger) add(e *Extent) bool {
	if m.mapped && !e.Unknown && e.Kind == qcow2.MappingUnallocated && e.Problems == 0 {
		return true
	}
	if m.cur.goesOn(e) {
		m.cur.Length += e.Length
		return true
	}
	ok := m.flush()
	m.cur = *e
	return ok
}

// goesOn reports whether next is more of the same after e.
func (e *Extent) goesOn(next *Extent) bool {
	return e.Length > 0 && e.Start+e.Length == next.Start && e.Kind == next.Kind && e.Depth == next.Depth &&
		e.Unknown == next.Unknown && e.Problems == next.Problems && e.Kind != qcow2.MappingCompressed &&
		e.HasHost == next.HasHost && (!e.HasHost || e.HostOffset+e.Length == next.HostOffset)
}

// flush yields the current extent.
func (m *merger) flush() bool {
	if m.cur.Length == 0 {
		return true
	}
	ok := m.yield(&m.cur, nil)
	m.cur.Length = 0
	return ok
}
