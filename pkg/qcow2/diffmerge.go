package qcow2

// merge adds the differences of the guest addresses from one up to another, for
// which both sides hold their mappings.
func (d *differ) merge(at, end uint64) bool {
	for at < end {
		from, fromEnd := d.from.at(at, end)
		to, toEnd := d.to.at(at, end)
		n := min(fromEnd, toEnd) - at
		if !d.add(at, n, from, to) {
			return false
		}
		at += n
	}
	return true
}

// add adds n bytes of guest addresses, and their mappings on both sides, nil if
// there are none.
func (d *differ) add(at, n uint64, from, to *Mapping) bool {
	change := d.change(at, from, to)
	if change == ChangeSame && !d.all {
		return true
	}
	p := Difference{Start: at, Length: n, Change: change}
	if from != nil {
		p.From, p.HasFrom = from.part(at, n), true
	}
	if to != nil {
		p.To, p.HasTo = to.part(at, n), true
		if change != ChangeUnknown {
			p.Data, p.Zero = to.Kind == MappingData || to.Kind == MappingCompressed, d.readsZeros(to)
		}
	}
	joins := d.cur.joins(&p)
	d.count(&p, joins)
	if joins {
		d.cur.Length += n
		d.cur.From.Length, d.cur.To.Length = d.cur.From.Length+p.From.Length, d.cur.To.Length+p.To.Length
		return true
	}
	ok := d.flush()
	d.cur = p
	return ok
}

// change returns what may have happened to the byte at a guest address.
func (d *differ) change(at uint64, from, to *Mapping) Change {
	grown, cut := at >= d.from.disk, at >= d.to.disk
	switch {
	case from == nil && !grown, to == nil && !cut, from != nil && from.Problems != 0, to != nil && to.Problems != 0:
		return ChangeUnknown
	case grown:
		return ChangeGrown
	case cut:
		return ChangeCut
	case d.same(from, to, at):
		return ChangeSame
	case to.Kind == MappingData || to.Kind == MappingCompressed:
		return ChangeWritten
	case d.readsZeros(to):
		return ChangeZeroed
	}
	return ChangeDiscarded
}

// same reports whether two mappings without problems certainly read the same at a
// guest address. The kinds come first: a cluster that is zeroed can keep its host
// cluster, which a snapshot still reads.
func (d *differ) same(from, to *Mapping, at uint64) bool {
	switch {
	case d.readsZeros(from) || d.readsZeros(to):
		return d.readsZeros(from) && d.readsZeros(to)
	case from.Kind != to.Kind:
		return false
	case from.Kind == MappingData:
		return from.HostOffset+(at-from.Start) == to.HostOffset+(at-to.Start)
	case from.Kind == MappingCompressed:
		return from.HostOffset == to.HostOffset && from.Sectors == to.Sectors
	}
	return true // both read the backing file
}

// readsZeros reports whether a mapping certainly reads as zeros.
func (d *differ) readsZeros(m *Mapping) bool {
	switch m.Kind {
	case MappingZero, MappingZeroAllocated:
		return true
	case MappingUnallocated:
		return !d.backing
	}
	return false
}

// part returns the mapping of n bytes of m.
func (p *Mapping) part(at, n uint64) Mapping {
	q := *p
	if q.HasHost && q.Kind != MappingCompressed {
		q.HostOffset += at - p.Start
	}
	q.Start, q.Length = at, n
	q.SubclusterBitmap = 0 // of no meaning
	return q
}

// joins reports whether p continues a difference.
func (c *Difference) joins(p *Difference) bool {
	return c.Length > 0 && c.Start+c.Length == p.Start && c.Change == p.Change &&
		c.HasFrom == p.HasFrom && c.HasTo == p.HasTo && c.From.continues(&p.From) && c.To.continues(&p.To)
}

// continues reports whether q, which begins where p ends, continues it, or both are
// none.
func (p *Mapping) continues(q *Mapping) bool {
	return p.Kind == q.Kind && p.Kind != MappingCompressed && p.Problems == q.Problems &&
		p.HasHost == q.HasHost && (!p.HasHost || p.HostOffset+p.Length == q.HostOffset)
}

// count adds a difference to the totals.
func (d *differ) count(p *Difference, joins bool) {
	t := &d.totals
	if p.Change == ChangeSame {
		return
	}
	t.Changed += p.Length
	if p.Data {
		t.Data += p.Length
	}
	if p.Zero {
		t.Zero += p.Length
	}
	if p.Change == ChangeUnknown {
		t.Unknown += p.Length
	}
	if !joins {
		t.Ranges++
	}
}

// flush yields the current difference.
func (d *differ) flush() bool {
	if d.cur.Length == 0 {
		return true
	}
	ok := d.yield(&d.cur, nil)
	d.cur.Length = 0
	return ok
}
