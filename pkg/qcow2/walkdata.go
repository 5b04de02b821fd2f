package qcow2

import (
	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// chosenTables are the L2 tables of a snapshot whose guest data come first.
type chosenTables struct {
	owner *ownedTable
	first *sparse.Builder[uint32] // the first L1 entry that points to the table in a cluster, + 1
}

// addGuestData adds the references of the L2 tables, each table once: those of
// the given snapshot first, if there is one.
func (w *referenceWalk) addGuestData(first *Snapshot) bool {
	if first == nil {
		return w.addTables(func(uint64) bool { return true })
	}
	return w.choose(first) && w.addTables(w.isChosen) && w.addTables(func(cluster uint64) bool { return !w.isChosen(cluster) })
}

// choose looks up the L2 tables of a snapshot.
func (w *referenceWalk) choose(s *Snapshot) bool {
	for k := range w.l1.tables {
		t := &w.l1.tables[k]
		if t.owner != Owner(s.Index) {
			continue
		}
		w.chosen = &chosenTables{owner: t, first: sparse.NewScattered[uint32](w.clusters)}
		l1 := newTableWalk(w.ctx, w.img, t.entryTable, t.diskSize)
		return eachEntryOf(l1, 0, t.indexOf(t.span(w.img.src.size).To), w.reported, func(i uint64, entries []byte) bool {
			cluster, ok := w.img.tableCluster(L1Entry(be64(entries)))
			if ok && w.chosen.first.Word(cluster) == 0 {
				*w.chosen.first.At(cluster) = uint32(i) + 1
			}
			return true
		})
	}
	return true
}

// isChosen reports whether the L2 table in a cluster is one of those whose guest
// data come first.
func (w *referenceWalk) isChosen(cluster uint64) bool {
	return w.chosen != nil && w.chosen.first.Word(cluster) != 0
}

// addTables adds the references of the wanted L2 tables. Each is read for the first
// L1 entry that points there.
func (w *referenceWalk) addTables(wanted func(cluster uint64) bool) bool {
	per := w.img.geometry.L2Entries
	read := func(at, cluster uint64) bool { return w.isFirst(at, cluster) && wanted(cluster) }
	return w.eachL1Entry(w.reported, func(t *tableWalk, g *interval.Segment, i uint64, entries []byte) bool {
		at := t.l1.entryOffset(i)
		w.tick.table(g, at)
		cluster, ok := w.img.tableCluster(L1Entry(be64(entries)))
		if !ok || !read(at, cluster) {
			return true
		}
		table := cluster << w.img.geometry.ClusterBits
		if t.inHole(table) {
			return w.alive()
		}
		w.data.owner, w.data.weight = &w.l1.tables[g.First], w.tables.references(cluster)
		p, err := t.l2Table(i, entries, read)
		if err == nil {
			return w.addTable(table, p, i*per, per) && w.alive()
		}
		return t.l2Pieces(table, 0, per, func(j, n uint64, p []byte, err error) bool {
			if err != nil {
				return w.sink.fail(err)
			}
			return w.addTable(table+j*w.img.geometry.L2EntrySize, p, i*per+j, n)
		}) && w.alive()
	})
}

// A dataBatch is entries of one L2 table that each point to a plain data cluster,
// and do not continue each other: most entries of an image that has been in use.
// Sinks take a batch, because each entry costs a cache miss in the cluster map and
// the processor can wait for many misses at once.
type dataBatch struct {
	owner   *ownedTable
	weight  uint64 // as in a reference
	entries []dataEntry
}

// A dataEntry is an L2 entry and where it lies.
type dataEntry struct {
	entry L2Entry
	place place
}

// batchEntries is how many entries a batch holds.
const batchEntries = 512

// addTable adds the references of n entries of an L2 table, whose bytes are p. The
// first is that of the guest cluster first.
func (w *referenceWalk) addTable(table uint64, p []byte, first, n uint64) bool {
	size := w.img.geometry.L2EntrySize
	for j := uint64(0); j < n; {
		rest := p[min(j*size, uint64(len(p))):]
		if uint64(len(rest)) < size {
			return w.flush() && w.sink.fail(w.img.tableTruncated(table))
		}
		at := table + j*size
		if k := w.addSingles(rest[:min((n-j)*size, uint64(len(rest)))], at); k > 0 {
			if j += k; len(w.data.entries) == batchEntries && !w.flush() {
				return false
			}
			continue
		}
		r := &w.entries
		*r = l2Run{guest: first + j, at: at}
		w.img.decodeRun(rest, r)
		if j += r.n; !w.flush() || w.run != nil && !w.run(w.data.owner, r) || !w.addRun(r, w.data.weight) {
			return false
		}
	}
	return w.flush()
}

// addSingles adds the entries at the start of p, which lie at a file offset, to the
// batch, as long as each points to a plain data cluster, the next does not continue
// it, and there is room. It returns how many it added.
func (w *referenceWalk) addSingles(p []byte, at uint64) uint64 {
	if w.single == 0 {
		return 0
	}
	entries, single, size, step := w.data.entries, w.single, w.img.src.size, L2Entry(w.img.geometry.ClusterSize)
	before := len(entries)
	for len(p) >= 8 && len(entries) < batchEntries {
		e := L2Entry(be64(p))
		host := e.HostOffset()
		if e&^single != 0 || host == 0 || host >= size || len(p) >= 16 && L2Entry(be64(p[8:])) == e+step {
			break
		}
		entries = append(entries, dataEntry{e, placeOf(at)})
		p, at = p[8:], at+8
	}
	w.data.entries = entries
	return uint64(len(entries) - before)
}

// flush hands the sink the batch.
func (w *referenceWalk) flush() bool {
	ok := len(w.data.entries) == 0 || w.sink.addData(&w.data)
	w.data.entries = w.data.entries[:0]
	return ok
}

// addRun adds the references of a run of L2 entries.
func (w *referenceWalk) addRun(r *l2Run, weight uint64) bool {
	if r.entry.Compressed() {
		return w.addEntry(r, weight)
	}
	step, shift := w.img.geometry.L2EntrySize/8, w.img.geometry.ClusterBits
	host, ok := w.img.plainHost(r)
	if ok { // the usual case
		return w.add(HostData, host>>shift, r.n, placeOf(r.at), step, weight)
	}
	if host == 0 || w.img.hasDataFile() {
		return true // no cluster of this file
	}
	m := w.img.mappingOf(r)
	if w.img.entryProblems(r, &m) == 0 && host+(r.n-1)<<shift < w.img.src.size {
		return w.add(hostKindOf(&m), host>>shift, r.n, placeOf(r.at), step, weight)
	}
	for rest := *r; rest.n > 0; w.img.advance(&rest, 1) {
		one := rest.head(1)
		if !w.addEntry(&one, weight) {
			return false
		}
	}
	return true
}

// hostKindOf returns the kind of the clusters that a mapping points to. A cluster
// with no allocated subcluster is reserved for data.
func hostKindOf(m *Mapping) HostKind {
	switch m.Kind {
	case MappingCompressed:
		return HostCompressed
	case MappingZeroAllocated:
		return HostZeroAllocated
	}
	return HostData
}

// addEntry adds the reference of one entry, which may have problems, to all
// clusters that it touches.
func (w *referenceWalk) addEntry(r *l2Run, weight uint64) bool {
	m := w.img.mappingOf(r)
	end := m.HostOffset + w.img.geometry.ClusterSize
	if m.Kind == MappingCompressed {
		end = CompressedEnd(m.HostOffset, m.Sectors)
	}
	w.ref = reference{
		kind: hostKindOf(&m), place: placeOf(r.at), weight: weight,
		problems: w.img.entryProblems(r, &m), offset: m.HostOffset, guest: m.Start,
	}
	shift := w.img.geometry.ClusterBits
	if first, last := m.HostOffset>>shift, (end-1)>>shift; w.ref.problems&NotAllowed == 0 && first < w.clusters {
		w.ref.first, w.ref.n = first, min(last, w.clusters-1)-first+1
	}
	return w.sink.add(&w.ref)
}
