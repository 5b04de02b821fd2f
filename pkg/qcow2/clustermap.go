package qcow2

import (
	"maps"
	"math"
	"reflect"
	"slices"
)

const (
	pageBits     = 8
	pageClusters = 1 << pageBits // clusters of a page

	// compactWords is how many words a page holds without a place for each of
	// its clusters.
	compactWords = 16

	// flatBytes is how large a map can be that has a place for every cluster:
	// that of labels for 192 GiB of clusters of 64 KiB.
	flatBytes = 24 << 20

	// viewClusters is the most clusters of a view.
	viewClusters = 4096
)

// A clusterMap holds a word for each host cluster, 0 where there is none. Its
// memory follows the words: beyond a small file, which has a place for every
// cluster, it is one word for each cluster where they lie side by side, and some
// ten where one lies alone. A file can claim any size with holes, and structures
// of any size in them: what fill puts in takes no memory for each cluster.
type clusterMap[W comparable] struct {
	flat  []W
	fills []wordRun[W]               // in order
	pages map[uint64]*clusterPage[W] // what was put in after them, by number; nil: flat is in use
	order []uint64                   // their numbers, sorted; see seal
}

// A wordRun is clusters with the same word.
type wordRun[W comparable] struct {
	from, to uint64
	word     W
}

// A clusterPage holds the words of pageClusters clusters: a word for each, or in
// order those that are not what the map was filled with.
type clusterPage[W comparable] struct {
	words []W
	at    []uint8 // of a compact page: the clusters that have the words
}

// newClusterMap returns an empty map for a file of so many clusters.
func newClusterMap[W comparable](clusters uint64) *clusterMap[W] {
	if clusters <= flatBytes/uint64(reflect.TypeFor[W]().Size()) {
		return &clusterMap[W]{flat: make([]W, clusters)} // pages of it that are not used take no memory
	}
	return newScatteredMap[W]()
}

// newScatteredMap returns an empty map that takes memory only for its words.
func newScatteredMap[W comparable]() *clusterMap[W] {
	return &clusterMap[W]{pages: map[uint64]*clusterPage[W]{}}
}

// fill sets the words of n clusters. It comes before all other changes, in the
// order of the clusters.
func (m *clusterMap[W]) fill(first, n uint64, word W) {
	if m.pages != nil {
		m.fills = append(m.fills, wordRun[W]{first, first + n, word})
		return
	}
	for i := range n {
		m.flat[first+i] = word
	}
}

// filled returns the word with which a cluster was filled, and the first cluster
// after it that may have been filled with another.
func (m *clusterMap[W]) filled(cluster uint64) (word W, end uint64) {
	i, _ := slices.BinarySearchFunc(m.fills, cluster, func(r wordRun[W], cluster uint64) int {
		if r.to <= cluster {
			return -1
		}
		return 1
	})
	switch {
	case i == len(m.fills):
		return word, math.MaxUint64
	case cluster < m.fills[i].from:
		return word, m.fills[i].from
	}
	return m.fills[i].word, m.fills[i].to
}

// run returns the words of n clusters from cluster on, to be changed: those on
// the same page at most, and at least one.
func (m *clusterMap[W]) run(cluster, n uint64) []W {
	if m.pages == nil {
		return m.flat[cluster : cluster+n]
	}
	number, i := cluster>>pageBits, cluster%pageClusters
	p := m.pages[number]
	if p == nil {
		p = &clusterPage[W]{}
		m.pages[number] = p
	}
	n = min(n, pageClusters-i)
	if !p.compact(i, n) {
		m.spread(p, number)
		return p.words[i : i+n]
	}
	place, found := slices.BinarySearch(p.at, uint8(i))
	if !found {
		word, _ := m.filled(cluster)
		p.at = slices.Insert(p.at, place, uint8(i))
		p.words = slices.Insert(p.words, place, word)
	}
	return p.words[place : place+1]
}

// at returns the word of a cluster, to be changed.
func (m *clusterMap[W]) at(cluster uint64) *W {
	if m.pages == nil {
		return &m.flat[cluster]
	}
	return &m.run(cluster, 1)[0]
}

// compact reports whether a page has no place for every word, nor needs one for
// the n words from the i-th on.
func (p *clusterPage[W]) compact(i, n uint64) bool {
	if len(p.words) == pageClusters {
		return false
	}
	_, found := slices.BinarySearch(p.at, uint8(i))
	return uint64(len(p.words))+n <= compactWords || n == 1 && found
}

// spread gives a page a place for every word.
func (m *clusterMap[W]) spread(p *clusterPage[W], number uint64) {
	if len(p.words) < pageClusters {
		words := make([]W, pageClusters)
		m.read(p, number, (*[pageClusters]W)(words))
		p.words, p.at = words, nil
	}
}

// read copies the words of a compact page to their places, between those that it
// was filled with.
func (m *clusterMap[W]) read(p *clusterPage[W], number uint64, words *[pageClusters]W) {
	first := number << pageBits
	for i := uint64(0); i < pageClusters; {
		word, end := m.filled(first + i)
		for end = min(end-first, pageClusters); i < end; i++ {
			words[i] = word
		}
	}
	for place, i := range p.at {
		words[i] = p.words[place]
	}
}

// word returns the word of a cluster.
func (m *clusterMap[W]) word(cluster uint64) W {
	if m.pages == nil {
		return m.flat[cluster]
	}
	i := cluster % pageClusters
	if p := m.pages[cluster>>pageBits]; p != nil {
		if len(p.words) == pageClusters {
			return p.words[i]
		}
		if place, found := slices.BinarySearch(p.at, uint8(i)); found {
			return p.words[place]
		}
	}
	word, _ := m.filled(cluster)
	return word
}

// seal ends the changes. Then view and alike can be called.
func (m *clusterMap[W]) seal() { m.order = slices.Sorted(maps.Keys(m.pages)) }

// view returns the words of n clusters from one on, before end. Where they are
// all the same it can return nil, and that word. The words of a compact page are
// put into scratch.
func (m *clusterMap[W]) view(cluster, end uint64, scratch *[pageClusters]W) (words []W, word W, n uint64) {
	if m.pages == nil {
		n = min(end-cluster, viewClusters)
		return m.flat[cluster : cluster+n], word, n
	}
	number, i := cluster>>pageBits, cluster%pageClusters
	p := m.pages[number]
	if p == nil {
		word, n = m.filled(cluster)
		return nil, word, min(n, m.next(number, end)) - cluster
	}
	words = p.words
	if len(words) < pageClusters {
		m.read(p, number, scratch)
		words = scratch[:]
	}
	n = min(end-cluster, pageClusters-i)
	return words[i : i+n], word, n
}

// alike returns how many of n clusters from one on have the same word, at least
// as far as they were filled with it.
func (m *clusterMap[W]) alike(cluster, n uint64) uint64 {
	if m.pages == nil {
		k := uint64(1)
		for k < n && m.flat[cluster+k] == m.flat[cluster] {
			k++
		}
		return k
	}
	number := cluster >> pageBits
	if m.pages[number] != nil {
		return 1
	}
	_, end := m.filled(cluster)
	return min(end, m.next(number, cluster+n)) - cluster
}

// next returns the first cluster of the first page after the given one, or end
// if that comes before.
func (m *clusterMap[W]) next(number, end uint64) uint64 {
	i, _ := slices.BinarySearch(m.order, number)
	if i == len(m.order) {
		return end
	}
	return min(m.order[i]<<pageBits, end)
}
