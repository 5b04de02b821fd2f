package qcow2

import (
	"maps"
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
// ten where one lies alone. A file can claim any size with holes.
type clusterMap[W comparable] struct {
	flat  []W
	pages map[uint64]*clusterPage[W] // by number; nil: flat is in use
	order []uint64                   // their numbers, sorted; see seal
}

// A clusterPage holds the words of pageClusters clusters: a word for each, or
// only those that there are, in order.
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
	if !p.spread(i, n) {
		place := p.insert(i)
		return p.words[place : place+1]
	}
	return p.words[i : i+n]
}

// at returns the word of a cluster, to be changed.
func (m *clusterMap[W]) at(cluster uint64) *W {
	if m.pages == nil {
		return &m.flat[cluster]
	}
	return &m.run(cluster, 1)[0]
}

// spread reports whether there is a place for every word, and makes one where
// the n words from the i-th on are too many for a compact page.
func (p *clusterPage[W]) spread(i, n uint64) bool {
	if len(p.words) == pageClusters {
		return true
	}
	if _, found := slices.BinarySearch(p.at, uint8(i)); uint64(len(p.words))+n <= compactWords || n == 1 && found {
		return false
	}
	words := make([]W, pageClusters)
	p.read((*[pageClusters]W)(words))
	p.words, p.at = words, nil
	return true
}

// insert returns the place of the i-th word in a compact page.
func (p *clusterPage[W]) insert(i uint64) int {
	place, found := slices.BinarySearch(p.at, uint8(i))
	if !found {
		var none W
		p.at = slices.Insert(p.at, place, uint8(i))
		p.words = slices.Insert(p.words, place, none)
	}
	return place
}

// read copies the words of a compact page to their places.
func (p *clusterPage[W]) read(words *[pageClusters]W) {
	for place, i := range p.at {
		words[i] = p.words[place]
	}
}

// word returns the word of a cluster.
func (m *clusterMap[W]) word(cluster uint64) W {
	if m.pages == nil {
		return m.flat[cluster]
	}
	var none W
	p := m.pages[cluster>>pageBits]
	if p == nil {
		return none
	}
	i := cluster % pageClusters
	if len(p.words) == pageClusters {
		return p.words[i]
	}
	if place, found := slices.BinarySearch(p.at, uint8(i)); found {
		return p.words[place]
	}
	return none
}

// seal ends the changes. Then view can be called.
func (m *clusterMap[W]) seal() { m.order = slices.Sorted(maps.Keys(m.pages)) }

// view returns the words from cluster on, some of those before end. Where there
// are none it returns nil, and how many clusters follow without one. The words
// of a compact page are put into scratch.
func (m *clusterMap[W]) view(cluster, end uint64, scratch *[pageClusters]W) ([]W, uint64) {
	if m.pages == nil {
		n := min(end-cluster, viewClusters)
		return m.flat[cluster : cluster+n], n
	}
	number, i := cluster>>pageBits, cluster%pageClusters
	p := m.pages[number]
	if p == nil {
		return nil, m.next(number, end) - cluster
	}
	words := p.words
	if len(words) < pageClusters {
		clear(scratch[:])
		p.read(scratch)
		words = scratch[:]
	}
	n := min(end-cluster, pageClusters-i)
	return words[i : i+n], n
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
