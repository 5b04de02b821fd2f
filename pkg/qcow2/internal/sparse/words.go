package sparse

import (
	"math"
	"slices"
)

// words is what a Builder and the Map made of it share.
type words[W comparable] struct {
	flat  []W
	fills []fill[W] // in the order of the clusters
	pages *pages[W] // what was set after the fills; nil: flat is in use
}

// A fill is clusters that were set to one word together.
type fill[W comparable] struct {
	from, to uint64
	word     W
}

// Word returns the word of a cluster.
func (m *words[W]) Word(cluster uint64) W {
	if m.pages == nil {
		return m.flat[cluster]
	}
	i := cluster % pageClusters
	if p := m.pages.get(cluster >> pageBits); p != nil {
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

// filled returns the word that a cluster was filled with, and the first cluster
// after it that may have been filled with another.
func (m *words[W]) filled(cluster uint64) (word W, end uint64) {
	i, _ := slices.BinarySearchFunc(m.fills, cluster, func(f fill[W], cluster uint64) int {
		if f.to <= cluster {
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

// read expands a compact page: its own words, and between them those of the fills.
func (m *words[W]) read(p *page[W], number uint64, to *[pageClusters]W) {
	first := number << pageBits
	for i := uint64(0); i < pageClusters; {
		word, end := m.filled(first + i)
		for end = min(end-first, pageClusters); i < end; i++ {
			to[i] = word
		}
	}
	for place, i := range p.at {
		to[i] = p.words[place]
	}
}
