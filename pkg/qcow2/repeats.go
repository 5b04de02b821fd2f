package qcow2

import (
	"cmp"
	"context"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/rangeset"
	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// Repeats is what one L1 table leads to more than once. Snapshots share clusters
// through L1 tables of their own, so in an image that QEMU wrote there are none; but
// no check finds them where the refcounts agree, and a small file can so become any
// number of guest bytes.
type Repeats struct {
	// Clusters are L2 tables, and host clusters of guest data that are not
	// compressed.
	Clusters Repeat
	// Compressed are compressed clusters, told apart by the offset of their data.
	Compressed Repeat
}

// A Repeat is the references to what an earlier one from the same L1 table refers
// to.
type Repeat struct {
	Count  uint64 // how many references there are after the first of each
	Offset uint64 // of what one of them refers to, in bytes; meaningful when Count is not 0
}

// add counts a reference to what lies at an offset.
func (r *Repeat) add(offset uint64) {
	if r.Count == 0 {
		r.Offset = offset
	}
	r.Count++
}

// Repeats finds what one L1 table leads to more than once. Damage hides what lies
// behind it: [Image.Check] finds that. The error is that of [Image.Supported], of a
// cancelled context, or of kind [ErrLimit] if snapshots share clusters in more ways
// than can be counted.
//
// Memory is 4 bytes for each host cluster of guest data, and 16 for each compressed
// cluster.
func (img *Image) Repeats(ctx context.Context) (Repeats, error) {
	if err := img.Supported(); err != nil {
		return Repeats{}, err
	}
	f := &repeatFinder{
		img: img, tables: sparse.NewScattered[uint32](img.geometry.HostClusters),
		clusters: sparse.NewBuilder[uint32](img.geometry.HostClusters), ofSegment: map[uint64]uint32{},
	}
	f.walk = newReferenceWalk(ctx, img)
	f.walk.sink = f
	f.walk.run = f.addRun
	f.walk.walk(nil, nil)
	f.compare()
	if err := ctx.Err(); err != nil {
		return Repeats{}, err
	}
	if f.sets != nil && f.sets.Full() {
		return Repeats{}, errorf(SectionL1Table, fieldOffset("nb_snapshots"), ErrLimit, "snapshots share clusters in more ways than can be counted")
	}
	return f.found, nil
}

// A repeatFinder keeps, for each L2 table and each cluster, the set of the L1 tables
// that lead there, by their indexes. It is the sink of a walk.
type repeatFinder struct {
	img   *Image
	walk  *referenceWalk
	found Repeats

	sets      *rangeset.Sets    // once the L1 tables are known
	ofSegment map[uint64]uint32 // of the entries of a segment of L1 tables, by where it begins
	tables    *sparse.Builder[uint32]
	clusters  *sparse.Builder[uint32]
	last      joinedSets
	data      []compressedData
}

// A joinedSets remembers two sets, whether they have a number in common, and what
// they are together: clusters that follow each other mostly ask the same.
type joinedSets struct {
	a, b, union uint32
	meet        bool
}

// A compressedData is where the data of a compressed cluster begins, and the set of
// the L1 tables that lead there.
type compressedData struct {
	offset uint64
	set    uint32
}

// fail implements referenceSink.
func (f *repeatFinder) fail(error) bool { return f.walk.ctx.Err() == nil }

// addStructures implements referenceSink.
func (f *repeatFinder) addStructures(*reference) bool { return true }

// add implements referenceSink.
func (f *repeatFinder) add(r *reference) bool {
	switch {
	case r.kind == HostL2Table && r.problems&Unaligned == 0:
		set := f.ofEntry(r.place.offset())
		f.join(f.tables.At(r.first), set, r.first)
	case r.kind.Metadata(), r.kind == HostCompressed:
	default:
		set := f.ofTable(r.place.offset())
		for cluster := r.first; cluster < r.first+r.n; cluster++ {
			f.join(f.clusters.At(cluster), set, cluster)
		}
	}
	return !f.full()
}

// addData implements referenceSink.
func (f *repeatFinder) addData(d *dataBatch) bool {
	set := f.ofTable(d.entries[0].place.offset())
	for _, e := range d.entries {
		cluster := e.entry.HostOffset() >> f.img.geometry.ClusterBits
		f.join(f.clusters.At(cluster), set, cluster)
	}
	return !f.full()
}

// addRun takes a run of L2 entries from the walk, which hands on the references to
// compressed clusters without where their data begin.
func (f *repeatFinder) addRun(_ *ownedTable, r *l2Run) bool {
	if r.entry.Compressed() && !f.img.hasDataFile() {
		offset, _ := f.img.geometry.Compressed(r.entry)
		f.data = append(f.data, compressedData{offset, f.ofTable(r.at)})
	}
	return true
}

// compare finds the compressed clusters whose data begin at one offset.
func (f *repeatFinder) compare() {
	slices.SortFunc(f.data, func(a, b compressedData) int { return cmp.Compare(a.offset, b.offset) })
	set := uint32(0)
	for i, d := range f.data {
		if i > 0 && d.offset != f.data[i-1].offset {
			set = 0
		}
		if f.meets(set, d.set) {
			f.found.Compressed.add(d.offset)
		}
		set = f.last.union
	}
}

// join adds a set to that of a cluster, and counts the cluster if they have an L1
// table in common.
func (f *repeatFinder) join(word *uint32, set uint32, cluster uint64) {
	if *word == 0 { // the usual case
		*word = set
		return
	}
	if f.meets(*word, set) {
		f.found.Clusters.add(cluster << f.img.geometry.ClusterBits)
	}
	*word = f.last.union
}

// meets reports whether two sets have an L1 table in common, and leaves their union
// in last.
func (f *repeatFinder) meets(a, b uint32) bool {
	if f.sets == nil {
		f.last = joinedSets{}
		return false // no table was read
	}
	if l := &f.last; l.a != a || l.b != b || l.union == 0 {
		f.last = joinedSets{a, b, f.sets.Union(a, b), rangesMeet(f.sets.Ranges(a), f.sets.Ranges(b))}
	}
	return f.last.meet
}

// rangesMeet reports whether two lists of sorted ranges have a number in common.
func rangesMeet(a, b []rangeset.Range) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].End <= b[0].First:
			a = a[1:]
		case b[0].End <= a[0].First:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}

// ofTable returns the set of the L2 table that holds the entry at a file offset.
func (f *repeatFinder) ofTable(at uint64) uint32 {
	return f.tables.Word(at >> f.img.geometry.ClusterBits)
}

// ofEntry returns the set of the L1 tables that hold the entry at a file offset.
func (f *repeatFinder) ofEntry(at uint64) uint32 {
	l1 := f.walk.l1
	if f.sets == nil {
		f.sets = rangeset.New(uint32(len(l1.tables)))
	}
	g := l1.At(at)
	set, ok := f.ofSegment[g.From]
	if !ok {
		set = f.makeSet(g)
		f.ofSegment[g.From] = set
	}
	return set
}

// makeSet returns the set of the L1 tables that a segment is in.
func (f *repeatFinder) makeSet(g *interval.Segment) uint32 {
	if !f.sets.Spend(g.Spans) {
		return 0
	}
	var ranges []rangeset.Range
	f.walk.l1.Each(g.From, func(i int) bool {
		ranges = append(ranges, rangeset.Range{First: uint32(i), End: uint32(i) + 1})
		return true
	})
	return f.sets.Of(ranges)
}

// full reports whether there are more sets than can be counted.
func (f *repeatFinder) full() bool { return f.sets != nil && f.sets.Full() }
