package sparse

import "slices"

const (
	pageBits     = 8
	pageClusters = 1 << pageBits // clusters of a page

	// compactWords is how many words a page holds before it gets a place for each
	// of its clusters.
	compactWords = 16

	// directoryPages is the most pages that a directory has a place for: those of
	// 64 TiB of clusters of 64 KiB. It then takes 16 MiB, as far as it is written to.
	directoryPages = 4 << 20
)

// A page holds the words of pageClusters clusters. A compact one holds those
// alone that differ from the fill, and in at the clusters that they belong to.
type page[W comparable] struct {
	words []W
	at    []uint8
}

// fits reports whether a page can stay compact when the n words from the i-th on
// are set.
func (p *page[W]) fits(i, n uint64) bool {
	if len(p.words) == pageClusters {
		return false
	}
	_, found := slices.BinarySearch(p.at, uint8(i))
	return uint64(len(p.words))+n <= compactWords || n == 1 && found
}

// pages finds pages by their number: the clusters that they are for, divided by
// pageClusters. It looks into an array, which clusters at random need, or where
// there can be too many pages for that, into a Go map.
type pages[W comparable] struct {
	directory []uint32          // by number: the index in all, + 1
	byNumber  map[uint64]uint32 // the same where there is no directory
	all       []*page[W]
	numbers   []uint64 // of all, in the same order
}

// newPages returns pages for n clusters.
func newPages[W comparable](n uint64) *pages[W] {
	if count := n>>pageBits + 1; count <= directoryPages {
		return &pages[W]{directory: make([]uint32, count)}
	}
	return &pages[W]{byNumber: map[uint64]uint32{}}
}

// get returns the page with a number, nil if there is none.
func (p *pages[W]) get(number uint64) *page[W] {
	i := uint32(0)
	if number < uint64(len(p.directory)) {
		i = p.directory[number]
	} else {
		i = p.byNumber[number]
	}
	if i == 0 {
		return nil
	}
	return p.all[i-1]
}

// add adds an empty page.
func (p *pages[W]) add(number uint64) *page[W] {
	p.all, p.numbers = append(p.all, &page[W]{}), append(p.numbers, number)
	i := uint32(len(p.all))
	if number < uint64(len(p.directory)) {
		p.directory[number] = i
	} else {
		p.byNumber[number] = i
	}
	return p.all[i-1]
}
