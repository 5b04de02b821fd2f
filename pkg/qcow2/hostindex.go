package qcow2

import (
	"context"
	"encoding/binary"
	"math/bits"
)

// A hostIndex knows the references to each host cluster: the first in a label,
// and the number of them all.
type hostIndex struct {
	ctx      context.Context
	img      *Image
	options  HostOptions
	yield    func(error) bool // takes errors
	clusters uint64           // of the file

	structures []structure
	bitmaps    *spans
	l1         *l1Tables

	layout   labelLayout
	labels   *clusterMap[label]
	problems *clusterMap[Problems]
	damaged  bool // there are problems
	// more counts the references that a label has no room for, and late those
	// to L2 tables that are no L1 entries.
	more, late map[uint64]uint64
	// hidden are the L2 tables in clusters that hold something else, too.
	hidden map[uint64]hiddenTable
	// firstOwner is the table of the snapshot whose guest data come first.
	firstOwner *ownedTable
	owners     *ownerList // every reference; nil: not wanted

	// single are data clusters that are still to be labelled: memory is slow
	// where they lie all over the file, but takes many requests at once.
	single []singleCluster

	progress progress
}

// A singleCluster is a cluster with the label of its first reference.
type singleCluster struct {
	cluster uint64
	label   label
}

// singles is how many clusters are labelled at once.
const singles = 512

// A label is what is kept of a cluster: the kind of its first reference, where
// that is, and how many there are. The zero label is that of a cluster to which
// nothing refers.
type label uint64

// A labelLayout says how many bits of a label have the number of references: as
// many as the size of the file leaves. Then come the place and the kind.
type labelLayout struct {
	countBits uint
}

const (
	labelKindBits  = 4
	labelPlaceBits = 64 - labelKindBits // at most

	// firstTable stands in labels for the kind of an L2 table that belongs to
	// the snapshot whose guest data come first.
	firstTable = HostCompressed + 1
)

// A hiddenTable is an L2 table in a cluster that has the label of something
// else.
type hiddenTable struct {
	label      label
	references uint64
}

func newLabelLayout(fileSize uint64) labelLayout {
	return labelLayout{countBits: uint(labelPlaceBits - bits.Len64(fileSize>>3))}
}

// label returns the label of a cluster with one kind of reference. Place is the
// file offset of the entry in units of 8 bytes, or the index of a structure.
func (y labelLayout) label(kind HostKind, place, count uint64) label {
	return label(uint64(kind+1)<<labelPlaceBits | place<<y.countBits | min(count, y.full()))
}

// full is the count that stands for itself and those in hostIndex.more.
func (y labelLayout) full() uint64 { return 1<<y.countBits - 1 }

func (y labelLayout) count(l label) uint64 { return uint64(l) & y.full() }
func (y labelLayout) place(l label) uint64 {
	return uint64(l) << labelKindBits >> labelKindBits >> y.countBits
}

func (l label) kind() HostKind {
	if k := HostKind(l>>labelPlaceBits) - 1; k != firstTable {
		return k
	}
	return HostL2Table
}

// first returns the label of an L2 table as that of a firstTable.
func (l label) first() label { return l&(1<<labelPlaceBits-1) | label(firstTable+1)<<labelPlaceBits }

func (l label) isFirst() bool { return HostKind(l>>labelPlaceBits)-1 == firstTable }

func newHostIndex(ctx context.Context, img *Image, o HostOptions, yield func(error) bool) *hostIndex {
	n := img.geometry.HostClusters
	x := &hostIndex{
		ctx: ctx, img: img, options: o, yield: yield, clusters: n,
		layout: newLabelLayout(img.src.size),
		labels: newClusterMap[label](n), problems: newClusterMap[Problems](n),
		more: map[uint64]uint64{}, late: map[uint64]uint64{}, hidden: map[uint64]hiddenTable{},
	}
	if o.Owners {
		x.owners = newOwnerList(img, o)
	}
	return x
}

// build walks all references. Those of metadata come first: what comes first
// gives a cluster its label. It returns false when yield did or the context is
// done.
func (x *hostIndex) build() bool {
	s := newStructures(x.img, x.yield)
	if !s.ok {
		return false
	}
	x.structures, x.l1 = s.all, newL1Tables(s.tables, x.img.src.size)
	x.progress = newProgress(x.options.Progress, x.l1)
	for i := range x.structures {
		x.addStructure(i)
	}
	ok := x.addRefcountBlocks() && x.addBitmapData() && x.addL2Tables() && x.markFirst() && x.addGuestData()
	x.addSingles()
	x.labels.seal()
	return ok
}

// addStructure adds the references to the clusters of a structure, as far as
// there are clusters.
func (x *hostIndex) addStructure(i int) {
	s := &x.structures[i]
	shift := x.img.geometry.ClusterBits
	first := s.offset >> shift
	if first >= x.clusters {
		return
	}
	n := min((s.length-1)>>shift+1, x.clusters-first)
	x.add(s.kind, first, n, uint64(i), 0, 1)
}

// addRefcountBlocks adds the references of the refcount table.
func (x *hostIndex) addRefcountBlocks() bool {
	r := newRefcounts(x.img)
	ok := r.blocks(x.ctx, func(i, offset uint64, err error) bool {
		return x.addTableEntry(HostRefcountBlock, r.offset+i*refcountEntrySize, offset, 1, err)
	})
	return x.alive() && ok
}

// addTableEntry adds the reference of an entry of the refcount table, or that of
// so many bitmap tables, to the cluster at an offset. An error is what is wrong
// with it.
func (x *hostIndex) addTableEntry(kind HostKind, at, offset, tables uint64, err error) bool {
	if err != nil && !x.yield(err) {
		return false
	}
	if size := x.img.geometry.ClusterSize; offset != 0 && offset%size == 0 && offset < x.img.src.size {
		x.add(kind, offset/size, 1, at/8, 0, tables)
	}
	return true
}

// addBitmapData adds the references of the bitmap tables, each entry of the file
// once.
func (x *hostIndex) addBitmapData() bool {
	var tables []span
	for _, s := range x.structures {
		if s.kind == HostBitmapTable {
			tables = append(tables, newSpan(s.offset, s.length/bitmapTableEntrySize, x.img.src.size))
		}
	}
	x.bitmaps = newSpans(tables)
	for _, g := range x.bitmaps.segments {
		c := newCursor(&x.img.src, SectionBitmapTable, g.from, g.to)
		for c.left() > 0 {
			at := c.off
			p, err := c.next(bitmapTableEntrySize, "entry")
			if err != nil {
				if !x.yield(err) {
					return false
				}
				break
			}
			entry := binary.BigEndian.Uint64(p)
			if entry > bitmapEntryOnes && !x.addTableEntry(HostBitmapData, at, entry&offsetMask, g.spans, x.bitmapEntryError(at, entry)) {
				return false
			}
		}
		if !x.alive() {
			return false
		}
	}
	return true
}

// bitmapEntryError returns what is wrong with an entry of a bitmap table.
func (x *hostIndex) bitmapEntryError(at, entry uint64) error {
	offset := entry & offsetMask
	switch {
	case entry&^(offsetMask|bitmapEntryOnes) != 0 || offset != 0 && entry&bitmapEntryOnes != 0:
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry %#x has reserved bits", entry)
	case offset%x.img.geometry.ClusterSize != 0:
		return errorf(SectionBitmapTable, at, ErrCorrupt, "the entry leads to %#x, not a multiple of the cluster size %#x", offset, x.img.geometry.ClusterSize)
	case offset >= x.img.src.size:
		return errorf(SectionBitmapTable, at, ErrTruncated, "the entry leads to %#x, but the file ends at %#x", offset, x.img.src.size)
	}
	return nil
}

// addL2Tables adds the references of the L1 tables.
func (x *hostIndex) addL2Tables() bool {
	return x.eachL1Entry(func(w *tableWalk, g *segment, i uint64, entries []byte) bool {
		entry := L1Entry(binary.BigEndian.Uint64(entries))
		if entry.L2Offset() == 0 {
			return entry.Reserved() == 0 || x.yield(w.reservedError(i, entry))
		}
		if err := w.entryError(i, entry); err != nil {
			return x.yield(err)
		}
		cluster := entry.L2Offset() >> x.img.geometry.ClusterBits
		x.add(HostL2Table, cluster, 1, (w.l1.offset+i*l1EntrySize)/8, 0, g.spans)
		if entry.Reserved() != 0 {
			x.problem(cluster, ReservedBits)
		}
		return true
	})
}

// eachL1Entry calls yield for the L1 entries that are not 0, each of the file
// once, those of the active image first. It hands them with the walk of their
// table, the segment, the index, and the entries that follow.
func (x *hostIndex) eachL1Entry(yield func(w *tableWalk, g *segment, i uint64, entries []byte) bool) bool {
	w := newTableWalk(x.ctx, x.img, l1Table{}, 0)
	for k := range x.l1.segments {
		g := &x.l1.segments[k]
		t := &x.l1.tables[g.first]
		w.l1 = t.l1Table
		if !x.eachEntryOf(w, t.indexOf(g.from), t.indexOf(g.to), func(i uint64, entries []byte) bool { return yield(w, g, i, entries) }) {
			return false
		}
	}
	return true
}

// eachEntryOf calls yield for the entries of an L1 table that are not 0, from
// one index up to another.
func (x *hostIndex) eachEntryOf(w *tableWalk, from, to uint64, yield func(i uint64, entries []byte) bool) bool {
	return w.pieces(from, to, func(i uint64, entries []byte, err error) bool {
		if err != nil {
			return x.yield(err)
		}
		for ; len(entries) > 0; entries = entries[l1EntrySize:] {
			n := uint64(runLength(entries, 0, 0))
			if i, entries = i+n, entries[n*l1EntrySize:]; len(entries) == 0 {
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

// tableLabel returns the label of an L2 table and how often it is referred to,
// also where its cluster holds something else, too; 0 where there is none.
func (x *hostIndex) tableLabel(cluster uint64) (l label, references uint64) {
	if cluster >= x.clusters {
		return 0, 0
	}
	if l = x.labels.word(cluster); l != 0 && l.kind() == HostL2Table {
		return l, x.counted(cluster, l)
	}
	h := x.hidden[cluster]
	return h.label, h.references
}

// alive reports whether the context is not done. If it is, yield takes its
// error.
func (x *hostIndex) alive() bool {
	if err := x.ctx.Err(); err != nil {
		x.yield(err)
		return false
	}
	return true
}

// add adds references to n clusters from first on. Their entries begin at
// place, each step after the one before. Each counts for weight references.
func (x *hostIndex) add(kind HostKind, first, n, place, step, weight uint64) {
	if x.owners != nil {
		x.addOwners(kind, first, n, place, step, weight)
	}
	x.addSingles()
	fresh := x.layout.label(kind, place, weight)
	grow := label(step << x.layout.countBits)
	large := weight > x.layout.full()
	for n > 0 {
		words := x.labels.run(first, n)
		for i, l := range words {
			if l != 0 || large {
				words[i] = x.addAgain(first+uint64(i), l, fresh, weight)
			} else {
				words[i] = fresh
			}
			fresh += grow
		}
		first, n = first+uint64(len(words)), n-uint64(len(words))
	}
}

// addSingle is add for a data cluster, sooner or later.
func (x *hostIndex) addSingle(cluster, place, weight uint64) {
	if x.owners != nil || weight > x.layout.full() {
		x.add(HostData, cluster, 1, place, 0, weight)
		return
	}
	x.single = append(x.single, singleCluster{cluster, x.layout.label(HostData, place, weight)})
	if len(x.single) == singles {
		x.addSingles()
	}
}

// addSingles adds the clusters that addSingle has put off.
func (x *hostIndex) addSingles() {
	for _, s := range x.single {
		if word := &x.labels.run(s.cluster, 1)[0]; *word == 0 {
			*word = s.label
		} else {
			*word = x.addAgain(s.cluster, *word, s.label, x.layout.count(s.label))
		}
	}
	x.single = x.single[:0]
}

// addAgain adds weight references to a cluster that has some already, or that
// are more than a label can count. Fresh is what its label would be without
// them. It returns the new label.
func (x *hostIndex) addAgain(cluster uint64, l, fresh label, weight uint64) label {
	kind := fresh.kind()
	if l == 0 {
		l = x.layout.label(kind, x.layout.place(fresh), 0)
	} else if old := l.kind(); old.metadata() && (old != HostL2Table || kind != HostL2Table) {
		x.problem(cluster, OverlapsMetadata)
		if kind == HostL2Table {
			h, ok := x.hidden[cluster]
			if !ok {
				h.label = fresh
			}
			x.hidden[cluster] = hiddenTable{h.label, h.references + weight}
		}
		if old == HostL2Table {
			x.late[cluster] += weight // the others say how often the table is walked
			return l
		}
	}
	room := x.layout.full() - x.layout.count(l)
	if weight > room {
		x.more[cluster] += weight - room
		weight = room
	}
	return l + label(weight)
}

// problem records what is wrong with a reference to a cluster.
func (x *hostIndex) problem(cluster uint64, p Problems) {
	x.problems.run(cluster, 1)[0] |= p
	x.damaged = true
}

// counted returns how many references there are to a cluster, of an L2 table
// only those of L1 entries.
func (x *hostIndex) counted(cluster uint64, l label) uint64 {
	n := x.layout.count(l)
	if n == x.layout.full() {
		n += x.more[cluster]
	}
	return n
}

// references returns how many references there are to a cluster.
func (x *hostIndex) references(cluster uint64, l label) uint64 {
	n := x.counted(cluster, l)
	if len(x.late) > 0 {
		n += x.late[cluster]
	}
	return n
}
