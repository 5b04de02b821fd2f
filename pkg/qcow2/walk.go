package qcow2

import (
	"context"
	"encoding/binary"
)

// A reference is an entry of a table, or several neighbours, and the host
// clusters that they point to: as many neighbours, or those that one entry
// touches.
type reference struct {
	kind   HostKind
	first  uint64 // cluster
	n      uint64 // clusters
	place  uint64 // file offset of the first entry in units of 8 bytes; of structures the lowest index
	step   uint64 // from one entry to the next, in the same units
	weight uint64 // how often each counts: an L2 table for every L1 entry that points there; how many structures

	problems Problems // of an entry, which is then alone, or of structures
	offset   uint64   // where a damaged entry points to, in bytes
	guest    uint64   // its guest offset, in bytes
}

// A referenceSink takes the references of an image.
type referenceSink interface {
	// addStructures takes clusters that structures share. They come before all
	// others, in their order.
	addStructures(*reference) bool
	// add takes a reference of another kind. One that points to no cluster of the file has n 0,
	// and problems. The sink does not keep it.
	add(*reference) bool
	// addData takes data clusters by themselves.
	addData(*dataBatch) bool
	// fail takes what hides references: what cannot be read.
	fail(error) bool
}

// A referenceWalk finds everything that refers to host clusters: each structure,
// and each entry of each table once, however many L1 tables point there.
type referenceWalk struct {
	ctx      context.Context
	img      *Image
	sink     referenceSink
	clusters uint64 // of the file

	structures []structure
	shared     *spans // the clusters of the structures
	bitmaps    *spans // the bitmap tables
	l1         *l1Tables
	tables     *labelMap     // of the L2 tables: the first L1 entry, and how many there are
	chosen     *chosenTables // those whose guest data come first; nil: those of the active image
	tick       progress

	ref  reference // what the sink is given
	data dataBatch // the same
	// dataBits are those that the entry of a data cluster can have; 0 where it
	// has more to it.
	dataBits L2Entry
	// run, if not nil, takes every run of L2 entries before its references, and
	// the L1 table that it belongs to.
	run func(*ownedTable, *l2Run) bool
	// entry, if not nil, takes every L1 entry that is not 0, its file offset, and
	// the segment that it is in.
	entry func(g *segment, at uint64, e L1Entry) bool
}

func newReferenceWalk(ctx context.Context, img *Image, sink referenceSink) *referenceWalk {
	w := &referenceWalk{ctx: ctx, img: img, sink: sink, clusters: img.geometry.HostClusters, tables: newLabelMap(img, newScatteredMap[label]())}
	if img.geometry.L2EntrySize == 8 && !img.hasDataFile() {
		w.dataBits = L2Entry(copiedBit | offsetMask&^(img.geometry.ClusterSize-1))
	}
	return w
}

// walk calls the sink for all references, those of metadata first. Of guest data
// those come first that belong to the given snapshot, if there is one. It
// returns false if the sink did or the context is done.
func (w *referenceWalk) walk(first *Snapshot, report func(done, total uint64)) bool {
	return w.begin(first, report) && w.follow(first)
}

// begin is the first part of walk: the structures.
func (w *referenceWalk) begin(first *Snapshot, report func(done, total uint64)) bool {
	s := newStructures(w.img, w.sink.fail)
	if !s.ok {
		return false
	}
	w.structures, w.l1 = s.all, newL1Tables(s.tables, w.img.src.size)
	times := uint64(1)
	if first != nil {
		times = 2
	}
	w.tick = newProgress(report, w.l1, times)
	return w.addStructures()
}

// follow is the rest of walk: what the structures point to.
func (w *referenceWalk) follow(first *Snapshot) bool {
	return w.addRefcountBlocks() && w.addBitmapData() && w.addL2Tables() && w.addGuestData(first)
}

// add hands the sink a reference.
func (w *referenceWalk) add(kind HostKind, first, n, place, step, weight uint64) bool {
	w.ref = reference{kind: kind, first: first, n: n, place: place, step: step, weight: weight}
	return w.sink.add(&w.ref)
}

// addStructures adds the references to the clusters of structures, as far as
// there are clusters. Those that several structures share it adds once: an image
// can claim any number of L1 tables in one place.
func (w *referenceWalk) addStructures() bool {
	shift := w.img.geometry.ClusterBits
	all := make([]span, len(w.structures))
	for i, s := range w.structures {
		first := min(s.offset>>shift, w.clusters)
		n := min((s.length-1)>>shift+1, w.clusters-first)
		all[i] = span{first << shift, (first + n) << shift}
	}
	w.shared = newSpans(all)
	for _, g := range w.shared.byOffset {
		w.ref = reference{kind: w.structures[g.first].kind, first: g.from >> shift, n: (g.to - g.from) >> shift, place: uint64(g.first), weight: g.spans}
		if g.spans > 1 {
			w.ref.problems = OverlapsMetadata
		}
		if !w.sink.addStructures(&w.ref) {
			return false
		}
	}
	return true
}

// sharing calls yield for the structures in a cluster that has some, with their
// index. It returns false if yield did.
func (w *referenceWalk) sharing(cluster uint64, yield func(i int, s *structure) bool) bool {
	return w.shared.each(cluster<<w.img.geometry.ClusterBits, func(i int) bool { return yield(i, &w.structures[i]) })
}

// addRefcountBlocks adds the references of the refcount table.
func (w *referenceWalk) addRefcountBlocks() bool {
	r := newRefcounts(w.img)
	return r.blocks(w.ctx, func(i, offset uint64, err error) bool {
		return w.addTableEntry(HostRefcountBlock, r.offset+i*entrySize, offset, 1, err)
	})
}

// addTableEntry adds the reference of an entry of the refcount table, or that of
// so many bitmap tables, to the cluster at an offset. An error is what is wrong
// with it.
func (w *referenceWalk) addTableEntry(kind HostKind, at, offset, tables uint64, err error) bool {
	if err != nil && !w.sink.fail(err) {
		return false
	}
	if size := w.img.geometry.ClusterSize; offset == 0 || offset%size != 0 || offset >= w.img.src.size {
		return true
	}
	return w.add(kind, offset>>w.img.geometry.ClusterBits, 1, at/8, 0, tables)
}

// addBitmapData adds the references of the bitmap tables, each entry of the file
// once.
func (w *referenceWalk) addBitmapData() bool {
	var tables []span
	for _, s := range w.structures {
		if s.kind == HostBitmapTable {
			tables = append(tables, newSpan(s.offset, s.length/entrySize, w.img.src.size))
		}
	}
	w.bitmaps = newSpans(tables)
	r := newEntryReader(&w.img.src, SectionBitmapTable)
	for _, g := range w.bitmaps.segments {
		if !r.pieces(w.ctx, g.from, g.to, nil, func(at uint64, entries []byte, err error) bool {
			return w.addBitmapEntries(at, entries, g.spans, err)
		}) {
			return false
		}
	}
	return true
}

// addBitmapEntries adds the references of entries that so many bitmap tables have,
// the first of them at a file offset, or takes the error that hides them.
func (w *referenceWalk) addBitmapEntries(at uint64, entries []byte, tables uint64, err error) bool {
	if err != nil {
		return w.sink.fail(err)
	}
	for ; len(entries) > 0; at, entries = at+entrySize, entries[entrySize:] {
		entry := binary.BigEndian.Uint64(entries)
		if entry > bitmapEntryOnes && !w.addTableEntry(HostBitmapData, at, entry&offsetMask, tables, w.bitmapEntryError(at, entry)) {
			return false
		}
	}
	return true
}

// bitmapEntryError returns what is wrong with an entry of a bitmap table.
func (w *referenceWalk) bitmapEntryError(at, entry uint64) error {
	offset := entry & offsetMask
	switch {
	case entry&^(offsetMask|bitmapEntryOnes) != 0 || offset != 0 && entry&bitmapEntryOnes != 0:
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry %#x has reserved bits", entry)
	case offset%w.img.geometry.ClusterSize != 0:
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry points to %#x, not a multiple of the cluster size %#x", offset, w.img.geometry.ClusterSize)
	case offset >= w.img.src.size:
		return errorf(SectionBitmapTable, at, ErrTruncated, "the entry points to %#x, but the file ends at %#x", offset, w.img.src.size)
	}
	return nil
}

// addL2Tables adds the references of the L1 tables.
func (w *referenceWalk) addL2Tables() bool {
	return w.eachL1Entry(w.sink.fail, func(t *tableWalk, g *segment, i uint64, entries []byte) bool {
		entry, at := L1Entry(binary.BigEndian.Uint64(entries)), t.l1.offset+i*entrySize
		if w.entry != nil && !w.entry(g, at, entry) {
			return false
		}
		if entry.L2Offset() == 0 {
			return entry.Reserved() == 0 || w.sink.fail(t.reservedError(i, entry))
		}
		w.ref = reference{kind: HostL2Table, first: entry.L2Offset() >> w.img.geometry.ClusterBits, n: 1, place: at / 8, weight: g.spans, offset: entry.L2Offset()}
		switch err := t.entryError(i, entry); {
		case err == nil:
			w.tables.add(&w.ref, func(uint64) {}) // L2 tables do not overlap each other
		case !w.sink.fail(err):
			return false
		case entry.L2Offset() >= w.img.src.size:
			return true
		default: // it touches two clusters
			w.ref.problems = Unaligned
			w.ref.n = min(2, w.clusters-w.ref.first)
		}
		if entry.Reserved() != 0 {
			w.ref.problems |= ReservedBits
		}
		return w.sink.add(&w.ref)
	})
}

// eachL1Entry calls yield for the L1 entries that are not 0, each of the file
// once, those of the active image first. It hands them with the walk of their
// table, the segment, the index, and the entries that follow. Fail takes what
// cannot be read.
func (w *referenceWalk) eachL1Entry(fail func(error) bool, yield func(t *tableWalk, g *segment, i uint64, entries []byte) bool) bool {
	t := newTableWalk(w.ctx, w.img, l1Table{}, 0)
	for k := range w.l1.segments {
		g := &w.l1.segments[k]
		o := &w.l1.tables[g.first]
		t.l1 = o.l1Table
		if !w.eachEntryOf(t, o.indexOf(g.from), o.indexOf(g.to), fail, func(i uint64, entries []byte) bool { return yield(t, g, i, entries) }) {
			return false
		}
	}
	return true
}

// eachEntryOf calls yield for the entries of an L1 table that are not 0, from
// one index up to another. Fail takes what cannot be read.
func (w *referenceWalk) eachEntryOf(t *tableWalk, from, to uint64, fail func(error) bool, yield func(i uint64, entries []byte) bool) bool {
	return t.pieces(from, to, nil, func(i uint64, entries []byte, err error) bool {
		if err != nil {
			return fail(err)
		}
		for ; len(entries) > 0; entries = entries[entrySize:] {
			n := uint64(runLength(entries, 0, 0))
			if i, entries = i+n, entries[n*entrySize:]; len(entries) == 0 {
				break
			}
			if !yield(i, entries) {
				return false
			}
			i++
		}
		return true
	})
}

// told takes what cannot be read of a table that is read again: the sink has it
// already.
func (w *referenceWalk) told(error) bool { return w.alive() }

// aliveEvery is how many steps of a loop there are between two looks at the
// context, where a step is short.
const aliveEvery = 1 << 12

// alive reports whether the context is not done. If it is, the sink takes its
// error.
func (w *referenceWalk) alive() bool {
	if err := w.ctx.Err(); err != nil {
		w.sink.fail(err)
		return false
	}
	return true
}
