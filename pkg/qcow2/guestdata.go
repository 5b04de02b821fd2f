package qcow2

import "encoding/binary"

// markFirst marks the L2 tables of the snapshot whose data come first.
func (x *hostIndex) markFirst() bool {
	for k := range x.l1.tables {
		t := &x.l1.tables[k]
		if s := x.options.Snapshot; s == nil || t.owner != Owner(s.Index) {
			continue
		}
		x.firstOwner = t
		span := t.span(x.img.src.size)
		w := newTableWalk(x.ctx, x.img, t.l1Table, t.diskSize)
		return x.eachEntryOf(w, 0, t.indexOf(span.to), func(_ uint64, entries []byte) bool {
			cluster := L1Entry(binary.BigEndian.Uint64(entries)).L2Offset() >> x.img.geometry.ClusterBits
			if h, ok := x.hidden[cluster]; ok {
				x.hidden[cluster] = hiddenTable{h.label.first(), h.references}
			} else if l, _ := x.tableLabel(cluster); l != 0 {
				x.labels.run(cluster, 1)[0] = l.first()
			}
			return true
		})
	}
	return true
}

// addGuestData adds the references of the L2 tables, each table once.
func (x *hostIndex) addGuestData() bool {
	if x.options.Snapshot != nil && !x.addTables(label.isFirst) {
		return false
	}
	return x.addTables(func(l label) bool { return !l.isFirst() })
}

// addTables adds the references of the wanted L2 tables. Each is read when the
// L1 entry comes that its label has.
func (x *hostIndex) addTables(wanted func(label) bool) bool {
	per := x.img.geometry.L2Entries
	return x.eachL1Entry(func(w *tableWalk, g *segment, i uint64, entries []byte) bool {
		x.progress.table(g, w.l1.offset+i*l1EntrySize)
		table := L1Entry(binary.BigEndian.Uint64(entries)).L2Offset()
		if table%x.img.geometry.ClusterSize != 0 {
			return true
		}
		l, weight := x.tableLabel(table >> x.img.geometry.ClusterBits)
		if l == 0 || x.layout.place(l) != (w.l1.offset+i*l1EntrySize)/8 || !wanted(l) {
			return true
		}
		p, err := w.l2Table(entries)
		if err != nil {
			return x.yield(err) && x.alive()
		}
		return w.runs(table, p, i*per, i*per, (i+1)*per, func(r *l2Run, err error) bool {
			if err != nil {
				return x.yield(err)
			}
			return x.addRun(r, weight)
		}) && x.alive()
	})
}

// addRun adds the references of a run of L2 entries.
func (x *hostIndex) addRun(r *l2Run, weight uint64) bool {
	if r.entry.Compressed() {
		return x.addCompressed(r, weight)
	}
	host := r.entry.HostOffset()
	if host == 0 || x.img.hasDataFile() {
		return true // no cluster of this file
	}
	shift := x.img.geometry.ClusterBits
	if r.n == 1 && uint64(r.entry)&^copiedBit == host>>shift<<shift && r.bitmap == 0 && host < x.img.src.size { // the usual case
		x.addSingle(host>>shift, r.at/8, weight)
		return true
	}
	m := x.img.mappingOf(r)
	bad := x.img.entryProblems(r, &m)
	size := x.img.geometry.ClusterSize
	if end := host + (r.n-1)*size; bad == 0 && end < x.img.src.size {
		x.add(hostKindOf(&m), host>>shift, r.n, r.at/8, x.img.geometry.L2EntrySize/8, weight)
		return true
	}
	one := *r
	one.n = 1
	for range r.n {
		m = x.img.mappingOf(&one)
		if !x.addDamaged(&one, &m, m.HostOffset+size, weight) {
			return false
		}
		one.entry += L2Entry(size)
		one.guest++
		one.at += x.img.geometry.L2EntrySize
	}
	return true
}

// hostKindOf returns the kind of the cluster that a mapping leads to. One whose
// subclusters are all unallocated is reserved for data.
func hostKindOf(m *Mapping) HostKind {
	if m.Kind == MappingZeroAllocated {
		return HostZeroAllocated
	}
	return HostData
}

// addCompressed adds the references of a compressed cluster.
func (x *hostIndex) addCompressed(r *l2Run, weight uint64) bool {
	m := x.img.mappingOf(r)
	return x.addDamaged(r, &m, CompressedEnd(m.HostOffset, m.Sectors), weight)
}

// addDamaged adds the references of an entry that may have problems: to all
// clusters before end that it touches. It yields an error for one that leads
// nowhere.
func (x *hostIndex) addDamaged(r *l2Run, m *Mapping, end, weight uint64) bool {
	kind, step := hostKindOf(m), uint64(0)
	if m.Kind == MappingCompressed {
		kind = HostCompressed
	}
	bad := x.img.entryProblems(r, m)
	if bad&(BeyondEOF|NotAllowed) != 0 && !x.yield(errorf(SectionL2Table, r.at, ErrCorrupt, "the entry of guest offset %#x leads to %#x: %s", m.Start, m.HostOffset, bad)) {
		return false
	}
	shift := x.img.geometry.ClusterBits
	first, last := m.HostOffset>>shift, (end-1)>>shift
	if bad&NotAllowed != 0 || first >= x.clusters {
		return true
	}
	n := min(last, x.clusters-1) - first + 1
	x.add(kind, first, n, r.at/8, step, weight)
	if bad != 0 {
		for i := range n {
			x.problem(first+i, bad)
		}
	}
	return true
}
