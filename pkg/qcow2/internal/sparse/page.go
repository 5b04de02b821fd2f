package sparse

import "slices"

const (
	pageBits     = 8
	pageClusters = 1 << pageBits // clusters of a page

	// A page gets a place for each of its clusters once it holds more than
	// compactWords words of its own, unless each is that of compactRun clusters on
	// average.
	compactWords = 16
	compactRun   = 8
)

// A page holds the words of those of pageClusters clusters that differ from the
// fill: a word for each run of clusters.
type page[W comparable] struct {
	words []W
	at    []extent // the clusters of each word, in their order
}

// An extent is neighbouring clusters of a page.
type extent struct{ first, last uint8 }

// find returns the place of the word that the i-th cluster has, or else would get.
func (p *page[W]) find(i uint64) (place int, found bool) {
	place, _ = slices.BinarySearchFunc(p.at, uint8(i), func(e extent, i uint8) int { return int(e.last) - int(i) })
	return place, place < len(p.at) && uint64(p.at[place].first) <= i
}

// fits reports whether a page stays compact with so many words more, for so many
// clusters.
func (p *page[W]) fits(words, clusters uint64) bool {
	if words += uint64(len(p.words)); words <= compactWords {
		return true
	}
	for _, e := range p.at {
		clusters += uint64(e.last-e.first) + 1
	}
	return clusters >= words*compactRun
}

// insert gives a word at a place to n clusters from the i-th on.
func (p *page[W]) insert(place int, i, n uint64, word W) {
	p.words = slices.Insert(p.words, place, word)
	p.at = slices.Insert(p.at, place, extent{uint8(i), uint8(i + n - 1)})
}
