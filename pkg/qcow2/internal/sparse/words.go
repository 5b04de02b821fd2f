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
	// after returns the word n clusters after one in a run. It is nil if all runs
	// are of one cluster.
	after func(word W, n uint64) W
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
	all, p := m.pages.get(cluster >> pageBits)
	if all != nil {
		return all[i]
	}
	if p != nil {
		if place, found := p.find(i); found {
			return m.inRun(p.words[place], i-uint64(p.at[place].first))
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

// inRun returns the word n clusters after the first of a run, whose word is given.
func (m *words[W]) inRun(word W, n uint64) W {
	if n == 0 {
		return word
	}
	return m.after(word, n)
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
	for place, e := range p.at {
		run := to[e.first : uint64(e.last)+1]
		for i := range run {
			run[i] = m.inRun(p.words[place], uint64(i))
		}
	}
}
