// Package sparse holds a word for each of any number of clusters, in memory
// proportional to the words that are not zero. A cluster is a number here, below
// 1<<63: the package knows nothing of images.
package sparse

import (
	"reflect"
	"slices"
)

// flatBytes is the largest size of a map that has a slot for every cluster: 8-byte
// words for 192 GiB of clusters of 64 KiB.
const flatBytes = 24 << 20

// A Builder holds a word for each cluster, 0 if none was set. Fill comes first,
// then any number of changes by At and Run, then Seal.
//
// Memory is proportional to the words stored: one word per cluster in dense areas,
// about ten for an isolated one, a few for each Fill. A small number of clusters
// gets a flat array instead.
type Builder[W comparable] struct{ words[W] }

// NewBuilder returns a Builder for n clusters.
func NewBuilder[W comparable](n uint64) *Builder[W] {
	if n <= flatBytes/uint64(reflect.TypeFor[W]().Size()) {
		return &Builder[W]{words[W]{flat: make([]W, n)}} // the system allocates memory when it is written to
	}
	return NewScattered[W](n)
}

// NewScattered returns a Builder for n clusters, few of which will have a word: it
// never has a place for every cluster.
func NewScattered[W comparable](n uint64) *Builder[W] {
	return &Builder[W]{words[W]{pages: newPages[W](n)}}
}

// Fill sets the words of n clusters. All fills come before all other changes, in
// the order of the clusters, and none overlaps another.
func (b *Builder[W]) Fill(first, n uint64, word W) {
	if b.pages != nil {
		b.fills = append(b.fills, fill[W]{first, first + n, word})
		return
	}
	for i := range n {
		b.flat[first+i] = word
	}
}

// Run returns the words of clusters from one on, to be changed: at least one and
// at most n of them. They can be changed until the next call of Run or At.
func (b *Builder[W]) Run(cluster, n uint64) []W {
	if b.pages == nil {
		return b.flat[cluster : cluster+n]
	}
	number, i := cluster>>pageBits, cluster%pageClusters
	p := b.pages.get(number)
	if p == nil {
		p = b.pages.add(number)
	}
	n = min(n, pageClusters-i)
	if !p.fits(i, n) {
		b.spread(p, number)
		return p.words[i : i+n]
	}
	place, found := slices.BinarySearch(p.at, uint8(i))
	if !found {
		word, _ := b.filled(cluster)
		p.at = slices.Insert(p.at, place, uint8(i))
		p.words = slices.Insert(p.words, place, word)
	}
	return p.words[place : place+1]
}

// At returns the word of a cluster, to be changed until the next call of Run or
// At. It is short enough for the compiler to put it into the loops that call it.
func (b *Builder[W]) At(cluster uint64) *W {
	if b.pages == nil {
		return &b.flat[cluster]
	}
	return b.atPage(cluster)
}

// atPage is At where there are pages. Inlined, it would make At too long to be.
//
//go:noinline
func (b *Builder[W]) atPage(cluster uint64) *W {
	if p := b.pages.get(cluster >> pageBits); p != nil && len(p.words) == pageClusters {
		return &p.words[cluster%pageClusters]
	}
	return &b.Run(cluster, 1)[0]
}

// spread gives a page a slot for every word.
func (b *Builder[W]) spread(p *page[W], number uint64) {
	if len(p.words) < pageClusters {
		all := make([]W, pageClusters)
		b.read(p, number, (*[pageClusters]W)(all))
		p.words, p.at = all, nil
	}
}
