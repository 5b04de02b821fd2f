package qcow2

import (
	"math/bits"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// A place says where a reference comes from: the file offset of a table entry in
// units of 8 bytes, or the index of a structure.
type place uint64

// placeOf returns the place of the entry at a file offset.
func placeOf(offset uint64) place { return place(offset / 8) }

// offset returns the file offset of an entry, in bytes.
func (p place) offset() uint64 { return uint64(p) * 8 }

// A label sums up the references to a cluster: kind and place of the first, and how
// many there are. It is 0 if nothing refers to the cluster.
type label uint64

const (
	labelKindBits  = 4
	labelPlaceBits = 64 - labelKindBits // at most
)

func (l label) kind() HostKind { return HostKind(l>>labelPlaceBits) - 1 }

// A labelLayout is how the bits of a label are used: the lowest, as many as the
// size of the file leaves, for the number of references, then come the place and
// the kind.
type labelLayout struct {
	countBits uint
}

func newLabelLayout(fileSize uint64) labelLayout {
	return labelLayout{countBits: uint(labelPlaceBits - bits.Len64(fileSize>>3))}
}

// label returns the label of a cluster with count references of a kind, the first
// at p.
func (y labelLayout) label(kind HostKind, p place, count uint64) label {
	return label(uint64(kind+1)<<labelPlaceBits | uint64(p)<<y.countBits | min(count, y.full()))
}

// full returns the largest count that a label has room for.
func (y labelLayout) full() uint64 { return 1<<y.countBits - 1 }

func (y labelLayout) count(l label) uint64 { return uint64(l) & y.full() }

func (y labelLayout) place(l label) place {
	return place(l << labelKindBits >> labelKindBits >> y.countBits)
}

// next returns l with a place that is n further on.
func (y labelLayout) next(l label, n uint64) label { return l + label(n<<y.countBits) }

// A labelMap collects the labels of host clusters.
type labelMap struct {
	labelLayout
	words *sparse.Builder[label]
	step  uint64 // places from one entry of an L2 table to the next
	// more counts the references that a label has no room for.
	more *sparse.Builder[uint64]
}

// newLabelMap returns an empty map for labels of an image.
func newLabelMap(img *Image, words *sparse.Builder[label]) *labelMap {
	m := &labelMap{
		labelLayout: newLabelLayout(img.src.size), words: words, step: img.geometry.L2EntrySize / 8,
		more: sparse.NewScattered[uint64](img.geometry.HostClusters),
	}
	words.KeepRuns(func(l label, n uint64) label { return m.next(l, n*m.step) })
	return m
}

// addStructures labels clusters of structures.
func (m *labelMap) addStructures(r *reference) {
	m.words.Fill(r.first, r.n, m.label(r.kind, r.place, r.weight))
	if full := m.full(); r.weight > full {
		m.more.Fill(r.first, r.n, r.weight-full)
	}
}

// add adds references to clusters. A cluster that has a label keeps its kind and
// place; overlap takes clusters that hold metadata, and the label of what else
// refers to them.
func (m *labelMap) add(r *reference, overlap func(cluster uint64, intruder label)) {
	fresh := m.label(r.kind, r.place, r.weight)
	large := r.weight > m.full()
	for first, n := r.first, r.n; n > 0; {
		if r.step == m.step && !large {
			if k := m.words.SetRun(first, n, fresh); k > 0 {
				first, n, fresh = first+k, n-k, m.next(fresh, k*m.step)
				continue
			}
		}
		words := m.words.Run(first, n)
		for i, l := range words {
			if l != 0 || large {
				words[i] = m.again(first+uint64(i), l, fresh, r.weight, overlap)
			} else {
				words[i] = fresh
			}
			fresh = m.next(fresh, r.step)
		}
		first, n = first+uint64(len(words)), n-uint64(len(words))
	}
}

// addData is add for a batch. It waits for memory: the shorter the loop, the more
// loads are under way.
func (m *labelMap) addData(d *dataBatch, clusterBits uint, overlap func(cluster uint64, intruder label)) {
	first, large := m.label(HostData, 0, d.weight), d.weight > m.full()
	toCluster, toPlace := clusterBits&63, m.countBits&63 // known to be less than 64, so that a shift is one instruction
	for _, e := range d.entries {
		cluster := e.entry.HostOffset() >> toCluster
		fresh := first | label(uint64(e.place)<<toPlace)
		if word := m.words.At(cluster); *word == 0 && !large {
			*word = fresh
		} else {
			*word = m.again(cluster, *word, fresh, d.weight, overlap)
		}
	}
}

// again adds weight references to the label l of a cluster that already has some,
// or if a label cannot count them. fresh is the label for a cluster that has none.
func (m *labelMap) again(cluster uint64, l, fresh label, weight uint64, overlap func(cluster uint64, intruder label)) label {
	if l == 0 {
		l = fresh &^ label(m.full())
	} else if l.kind().overlaps(fresh.kind()) {
		overlap(cluster, fresh)
	}
	if room := m.full() - m.count(l); weight > room {
		*m.more.At(cluster) += weight - room
		weight = room
	}
	return l + label(weight)
}

// of returns the label of a cluster.
func (m *labelMap) of(cluster uint64) label { return m.words.Word(cluster) }

// references returns how many references there are to a cluster.
func (m *labelMap) references(cluster uint64) uint64 {
	return m.countReferences(m.of(cluster), cluster, m.more)
}

// seal returns the labels, which no longer change.
func (m *labelMap) seal() *labels {
	return &labels{labelLayout: m.labelLayout, words: m.words.Seal(), more: m.more.Seal()}
}

// labels are the labels of host clusters after the walk.
type labels struct {
	labelLayout
	words *sparse.Map[label]
	more  *sparse.Map[uint64]
}

// A labelView is the labels of neighbouring clusters.
type labelView = sparse.View[label]

// of returns the label of a cluster.
func (m *labels) of(cluster uint64) label { return m.words.Word(cluster) }

// references returns how many references there are to a cluster with a label.
func (m *labels) references(cluster uint64, l label) uint64 {
	return m.countReferences(l, cluster, m.more)
}

// countReferences returns how many references there are to a cluster with a label;
// more counts those that the label has no room for.
func (y labelLayout) countReferences(l label, cluster uint64, more interface{ Word(cluster uint64) uint64 }) uint64 {
	n := y.count(l)
	if n == y.full() {
		n += more.Word(cluster)
	}
	return n
}
