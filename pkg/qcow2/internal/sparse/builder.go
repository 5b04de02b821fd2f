// Package sparse holds a word for each of any number of clusters, in memory
// proportional to the words that are not zero. A cluster is a number here, below
// 1<<63: the package knows nothing of images.
package sparse

import "reflect"

// flatBytes is the largest size of a map that has a slot for every cluster: 8-byte
// words for 192 GiB of clusters of 64 KiB.
const flatBytes = 24 << 20

// A Builder holds a word for each cluster, 0 if none was set. Fill comes first,
// then any number of changes by At, Run and SetRun, then Seal.
//
// Memory is proportional to the words stored: one word per cluster in dense areas,
// a few for each SetRun or Fill, about ten for an isolated one. A small number of
// clusters gets a flat array instead.
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

// KeepRuns lets SetRun keep a run of clusters as the word of the first: after
// returns the word of the cluster that is n further on.
func (b *Builder[W]) KeepRuns(after func(word W, n uint64) W) { b.after = after }

// SetRun gives a run of clusters, none of which has a word, the given word and those
// that come after it. It returns to how many of n clusters from one on it did. That
// can be none, also if none has a word: what Run returns has to be set then.
func (b *Builder[W]) SetRun(cluster, n uint64, word W) uint64 {
	if b.pages == nil || b.after == nil {
		return 0
	}
	i := cluster % pageClusters
	_, p := b.pages.open(cluster >> pageBits)
	if p == nil {
		return 0
	}
	place, found := p.find(i)
	end := uint64(pageClusters)
	if place < len(p.at) {
		end = uint64(p.at[place].first)
	}
	var none W
	before, filled := b.filled(cluster)
	n = min(n, end-i, filled-cluster)
	if found || before != none || !p.fits(1, n) {
		return 0
	}
	p.insert(place, i, n, word)
	return n
}

// Run returns the words of clusters from one on, to be changed: at least one and
// at most n of them. They can be changed until the next call of SetRun, Run or At.
func (b *Builder[W]) Run(cluster, n uint64) []W {
	if b.pages == nil {
		return b.flat[cluster : cluster+n]
	}
	number, i := cluster>>pageBits, cluster%pageClusters
	n = min(n, pageClusters-i)
	all, p := b.pages.open(number)
	if p == nil {
		return all[i : i+n]
	}
	place, found := p.find(i)
	inRun := found && p.at[place].first < p.at[place].last
	if inRun || !p.fits(n, n) && (n > 1 || !found) {
		return b.spread(p, number)[i : i+n]
	}
	if !found {
		word, _ := b.filled(cluster)
		p.insert(place, i, 1, word)
	}
	return p.words[place : place+1]
}

// At returns the word of a cluster, to be changed until the next call of SetRun, Run
// or At. It is short enough for the compiler to put it into the loops that call it.
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
	if s := b.pages.slot(cluster >> pageBits); s&slotSpread != 0 {
		return &b.pages.spread(s)[cluster%pageClusters]
	}
	return &b.Run(cluster, 1)[0]
}

// spread gives a compact page a place for every word.
func (b *Builder[W]) spread(p *page[W], number uint64) []W {
	all := b.pages.addSpread(number)
	b.read(p, number, (*[pageClusters]W)(all))
	return all
}
