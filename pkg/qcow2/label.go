package qcow2

import "math/bits"

// A label is what is kept of a cluster: the kind of its first reference, where
// that is, and how many there are. The zero label is that of a cluster to which
// nothing refers.
type label uint64

const (
	labelKindBits  = 4
	labelPlaceBits = 64 - labelKindBits // at most
)

func (l label) kind() HostKind { return HostKind(l>>labelPlaceBits) - 1 }

// A labelLayout says how many bits of a label have the number of references: as
// many as the size of the file leaves. Then come the place and the kind.
type labelLayout struct {
	countBits uint
}

func newLabelLayout(fileSize uint64) labelLayout {
	return labelLayout{countBits: uint(labelPlaceBits - bits.Len64(fileSize>>3))}
}

// label returns the label of a cluster with one kind of reference. Place is the
// file offset of the entry in units of 8 bytes, or the index of a structure.
func (y labelLayout) label(kind HostKind, place, count uint64) label {
	return label(uint64(kind+1)<<labelPlaceBits | place<<y.countBits | min(count, y.full()))
}

// full is the largest count that a label has room for.
func (y labelLayout) full() uint64 { return 1<<y.countBits - 1 }

func (y labelLayout) count(l label) uint64 { return uint64(l) & y.full() }

func (y labelLayout) place(l label) uint64 {
	return uint64(l) << labelKindBits >> labelKindBits >> y.countBits
}

// A labelMap holds the labels of host clusters.
type labelMap struct {
	labelLayout
	words *clusterMap[label]
	// more counts the references that a label has no room for.
	more *clusterMap[uint64]
}

// newLabelMap returns an empty map for labels of an image.
func newLabelMap(img *Image, words *clusterMap[label]) *labelMap {
	return &labelMap{labelLayout: newLabelLayout(img.src.size), words: words, more: newScatteredMap[uint64]()}
}

// addStructures labels clusters of structures.
func (m *labelMap) addStructures(r *reference) {
	m.words.fill(r.first, r.n, m.label(r.kind, r.place, r.weight))
	if full := m.full(); r.weight > full {
		m.more.fill(r.first, r.n, r.weight-full)
	}
}

// add adds references to clusters. A cluster that has a label keeps its kind and
// place; overlap is called with one that has metadata, and something else.
func (m *labelMap) add(r *reference, overlap func(cluster uint64)) {
	fresh := m.label(r.kind, r.place, r.weight)
	grow := label(r.step << m.countBits)
	large := r.weight > m.full()
	for first, n := r.first, r.n; n > 0; {
		words := m.words.run(first, n)
		for i, l := range words {
			if l != 0 || large {
				words[i] = m.again(first+uint64(i), l, fresh, r.weight, overlap)
			} else {
				words[i] = fresh
			}
			fresh += grow
		}
		first, n = first+uint64(len(words)), n-uint64(len(words))
	}
}

// addData is add for data clusters by themselves. What it waits for is memory:
// the shorter the loop, the more requests are under way.
func (m *labelMap) addData(d *dataBatch, clusterBits uint, overlap func(cluster uint64)) {
	first, large := m.label(HostData, 0, d.weight), d.weight > m.full()
	toCluster, toPlace := clusterBits&63, m.countBits&63 // plainly less than 64: a shift is one instruction
	for _, e := range d.entries {
		cluster := e.entry.HostOffset() >> toCluster
		fresh := first | label(e.place<<toPlace)
		if word := m.words.at(cluster); *word == 0 && !large {
			*word = fresh
		} else {
			*word = m.again(cluster, *word, fresh, d.weight, overlap)
		}
	}
}

// again adds weight references to a cluster that has some already, or that are
// more than a label can count. Fresh is what its label would be without them.
func (m *labelMap) again(cluster uint64, l, fresh label, weight uint64, overlap func(cluster uint64)) label {
	if l == 0 {
		l = fresh &^ label(m.full())
	} else if l.kind().Metadata() && (l.kind() != HostL2Table || fresh.kind() != HostL2Table) {
		overlap(cluster)
	}
	if room := m.full() - m.count(l); weight > room {
		*m.more.at(cluster) += weight - room
		weight = room
	}
	return l + label(weight)
}

// references returns how many references there are to a cluster with a label.
func (m *labelMap) references(cluster uint64, l label) uint64 {
	n := m.count(l)
	if n == m.full() {
		n += m.more.word(cluster)
	}
	return n
}
