package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// A reference is one or more neighbouring entries of a table, and the host clusters
// that they point to: one for each entry, or all that a single entry touches.
type reference struct {
	kind   HostKind
	first  uint64 // cluster
	n      uint64 // clusters
	place  place  // of the first entry, or of the first structure
	step   uint64 // places from one entry to the next
	weight uint64 // how many references each entry is, as tables can be shared; how many structures there are

	problems Problems // of a single entry, or of structures
	offset   uint64   // where a damaged entry points to, in bytes
	guest    uint64   // its guest offset, in bytes
}

// A referenceSink takes the references of an image.
type referenceSink interface {
	// addStructures takes clusters of one or more structures. They come first, in
	// the order of the clusters.
	addStructures(*reference) bool
	// add takes a reference of another kind. One that points to no cluster of the
	// file has problems, and n is 0. The sink must not keep it.
	add(*reference) bool
	// addData takes entries that each point to a data cluster.
	addData(*dataBatch) bool
	// fail takes an error that hides references, such as a table that cannot be
	// read.
	fail(error) bool
}

// A referenceWalk finds everything that refers to host clusters: each structure,
// and each entry of each table once, however many L1 entries lead to it.
type referenceWalk struct {
	ctx      context.Context
	img      *Image
	sink     referenceSink
	clusters uint64 // of the file

	structures []structure
	shared     *interval.Cover // the clusters of the structures
	bitmaps    *interval.Cover // the bitmap tables
	bitmapOf   []int           // the positions of their bitmaps in the directory
	l1         *l1Tables
	tables     *labelMap     // of the L2 tables: the first L1 entry that points there, and how many do
	chosen     *chosenTables // the tables whose guest data come first; nil: those of the active image
	tick       progress

	ref     reference // the argument of the sink
	data    dataBatch // likewise
	entries l2Run     // the argument of run
	// single is what plainBits returns, but 0 if entries have a second word.
	single L2Entry
	// run, if not nil, takes every run of L2 entries and its L1 table, before the
	// sink takes its references. It does not take what addData does.
	run func(*ownedTable, *l2Run) bool
	// entry, if not nil, takes every L1 entry that is not 0, with its file offset
	// and segment.
	entry func(g *interval.Segment, at uint64, e L1Entry) bool
	// beyond, if not nil, takes where the entries of the refcount table and of
	// bitmap tables point to past the end of the file, in bytes.
	beyond func(offset uint64)
}

// newReferenceWalk returns a walk whose sink is still to be set.
func newReferenceWalk(ctx context.Context, img *Image) *referenceWalk {
	w := &referenceWalk{ctx: ctx, img: img, clusters: img.geometry.HostClusters, tables: newLabelMap(img, sparse.NewScattered[label](img.geometry.HostClusters))}
	if img.geometry.L2EntrySize == 8 {
		w.single = img.plainBits()
	}
	return w
}

// walk calls the sink for all references: first metadata, then guest data, that of
// the given snapshot, if any, before the rest. It returns false if the sink did or
// the context is done.
func (w *referenceWalk) walk(first *Snapshot, report func(done, total uint64)) bool {
	return w.begin(first, report) && w.follow(first)
}

// begin is the first part of walk: the structures.
func (w *referenceWalk) begin(first *Snapshot, report func(done, total uint64)) bool {
	s := findStructures(w.img, w.sink.fail)
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
func (w *referenceWalk) add(kind HostKind, first, n uint64, at place, step, weight uint64) bool {
	w.ref = reference{kind: kind, first: first, n: n, place: at, step: step, weight: weight}
	return w.sink.add(&w.ref)
}

// addStructures adds the references to the clusters of structures inside the file.
// It adds clusters that several structures share once: an image can claim any
// number of L1 tables at one offset.
func (w *referenceWalk) addStructures() bool {
	shift := w.img.geometry.ClusterBits
	all := make([]interval.Span, len(w.structures))
	for i, s := range w.structures {
		first := min(s.offset>>shift, w.clusters)
		n := min((s.length-1)>>shift+1, w.clusters-first)
		all[i] = interval.Span{From: first << shift, To: (first + n) << shift}
	}
	w.shared = interval.NewCover(all)
	for _, g := range w.shared.ByOffset {
		w.ref = reference{kind: w.structures[g.First].kind, first: g.From >> shift, n: (g.To - g.From) >> shift, place: place(g.First), weight: g.Spans}
		if g.Spans > 1 {
			w.ref.problems = OverlapsMetadata
		}
		if !w.sink.addStructures(&w.ref) {
			return false
		}
	}
	return true
}

// sharing calls yield with each structure in a cluster that has some, and its
// index. It returns false if yield did.
func (w *referenceWalk) sharing(cluster uint64, yield func(i int, s *structure) bool) bool {
	return w.shared.Each(cluster<<w.img.geometry.ClusterBits, func(i int) bool { return yield(i, &w.structures[i]) })
}

// addRefcountBlocks adds the references of the refcount table.
func (w *referenceWalk) addRefcountBlocks() bool {
	r := newRefcounts(w.img)
	return r.blocks(w.ctx, func(i, offset uint64, err error) bool {
		return w.addTableEntry(HostRefcountBlock, r.table.entryOffset(i), offset, 1, err)
	})
}

// addTableEntry adds the reference to the cluster at an offset of an entry at file
// offset at, which lies in the refcount table, or in a number of bitmap tables. err
// is what is wrong with the entry.
func (w *referenceWalk) addTableEntry(kind HostKind, at, offset, tables uint64, err error) bool {
	if err != nil && !w.sink.fail(err) {
		return false
	}
	if offset >= w.img.src.size {
		if w.beyond != nil {
			w.beyond(offset)
		}
		return true
	}
	if offset == 0 || offset%w.img.geometry.ClusterSize != 0 {
		return true
	}
	return w.add(kind, offset>>w.img.geometry.ClusterBits, 1, placeOf(at), 0, tables)
}

// addBitmapData adds the references of the bitmap tables, each entry once even if
// tables share it.
func (w *referenceWalk) addBitmapData() bool {
	var tables []interval.Span
	for _, s := range w.structures {
		if s.kind == HostBitmapTable {
			w.bitmapOf = append(w.bitmapOf, s.bitmap)
			tables = append(tables, entryTable{s.offset, s.length / entrySize}.span(w.img.src.size))
		}
	}
	w.bitmaps = interval.NewCover(tables)
	for _, g := range w.bitmaps.BySpan {
		if !w.img.eachBitmapEntry(w.ctx, g.From, g.To, func(at uint64, e bitmapEntry, _ uint64, err error) bool {
			switch {
			case err != nil:
				return w.sink.fail(err)
			case !e.stored():
				return true
			}
			return w.addTableEntry(HostBitmapData, at, e.offset(), g.Spans, w.img.bitmapEntryError(at, e))
		}) {
			return false
		}
	}
	return true
}

// addL2Tables adds the references of the L1 tables.
func (w *referenceWalk) addL2Tables() bool {
	return w.eachL1Entry(w.sink.fail, func(t *tableWalk, g *interval.Segment, i uint64, entries []byte) bool {
		entry, at := L1Entry(be64(entries)), t.l1.entryOffset(i)
		if w.entry != nil && !w.entry(g, at, entry) {
			return false
		}
		if entry.L2Offset() == 0 {
			return entry.Reserved() == 0 || w.sink.fail(t.reservedError(i, entry))
		}
		w.ref = reference{kind: HostL2Table, first: entry.L2Offset() >> w.img.geometry.ClusterBits, n: 1, place: placeOf(at), weight: g.Spans, offset: entry.L2Offset()}
		switch err := t.entryError(i, entry); {
		case err == nil:
			w.tables.add(&w.ref, func(uint64, label) {}) // L2 tables do not overlap each other
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

// eachL1Entry calls yield for the L1 entries that are not 0, each once even if
// tables share it, those of the active image first. yield takes the walk of the
// table, the segment, the index, and the bytes of the entry and those after it;
// fail takes what cannot be read.
func (w *referenceWalk) eachL1Entry(fail func(error) bool, yield func(t *tableWalk, g *interval.Segment, i uint64, entries []byte) bool) bool {
	t := newTableWalk(w.ctx, w.img, entryTable{}, 0)
	for k := range w.l1.BySpan {
		g := &w.l1.BySpan[k]
		o := &w.l1.tables[g.First]
		t.l1 = o.entryTable
		if !eachEntryOf(t, o.indexOf(g.From), o.indexOf(g.To), fail, func(i uint64, entries []byte) bool { return yield(t, g, i, entries) }) {
			return false
		}
	}
	return true
}

// eachEntryOf calls yield for the entries of an L1 table that are not 0, from one
// index up to another; fail takes what cannot be read.
func eachEntryOf(t *tableWalk, from, to uint64, fail func(error) bool, yield func(i uint64, entries []byte) bool) bool {
	return t.pieces(from, to, func(p *piece) bool {
		if p.err != nil {
			return fail(p.err)
		}
		i := t.l1.indexOf(p.offset)
		for rest := p.bytes; len(rest) > 0; rest = rest[entrySize:] {
			n := uint64(runLength(rest, 0, 0))
			if i, rest = i+n, rest[n*entrySize:]; len(rest) == 0 {
				break
			}
			if !yield(i, rest) {
				return false
			}
			i++
		}
		return true
	})
}

// reported takes the errors of a table that is read again: the sink already has
// them.
func (w *referenceWalk) reported(error) bool { return w.alive() }

// aliveEvery is how many short steps a loop makes between two checks of the
// context.
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

// isFirst reports whether the L1 entry at a file offset is the first that points
// to the L2 table in a cluster, as far as the walk has come.
func (w *referenceWalk) isFirst(at, cluster uint64) bool {
	l := w.tables.of(cluster)
	return l != 0 && w.tables.place(l) == placeOf(at)
}

// tableOwner returns the L1 table that the L2 table in a cluster is listed under
// (that of the chosen snapshot, else the first that points to it), and the index
// of the L1 entry.
func (w *referenceWalk) tableOwner(cluster uint64) (owner *ownedTable, l1Index uint64) {
	if w.isChosen(cluster) {
		return w.chosen.owner, uint64(w.chosen.first.Word(cluster)) - 1
	}
	at := w.tables.place(w.tables.of(cluster)).offset()
	owner = w.l1.first(at)
	return owner, owner.indexOf(at)
}
