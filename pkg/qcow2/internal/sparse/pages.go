package sparse

const (
	// directoryPages is the most pages that a directory has a place for: those of
	// 64 TiB of clusters of 64 KiB. It then takes 16 MiB, as far as it is written to.
	directoryPages = 4 << 20

	// slabPages is how many spread pages are allocated together.
	slabPages = 32
)

// pages finds pages by their number: the clusters that they are for, divided by
// pageClusters. It looks into an array, which clusters at random need, or where
// there can be too many pages for that, into a Go map.
type pages[W comparable] struct {
	directory []slot          // by number
	byNumber  map[uint64]slot // the same where there is no directory
	numbers   []uint64        // of all pages, in the order in which they were added
	compact   []*page[W]      // nil once it is spread
	slabs     [][]W           // the words of the spread pages
	spreads   uint32          // how many there are
}

// A slot says where a page is: 0 if there is none, else the index of a compact page
// + 1, or the index of a spread one and slotSpread.
type slot uint32

const slotSpread slot = 1 << 31

// newPages returns pages for n clusters.
func newPages[W comparable](n uint64) *pages[W] {
	if count := n>>pageBits + 1; count <= directoryPages {
		return &pages[W]{directory: make([]slot, count)}
	}
	return &pages[W]{byNumber: map[uint64]slot{}}
}

// slot returns the slot of the page with a number.
func (p *pages[W]) slot(number uint64) slot {
	if number < uint64(len(p.directory)) {
		return p.directory[number]
	}
	return p.byNumber[number]
}

// setSlot sets the slot of the page with a number.
func (p *pages[W]) setSlot(number uint64, s slot) {
	if number < uint64(len(p.directory)) {
		p.directory[number] = s
	} else {
		p.byNumber[number] = s
	}
}

// get returns the words of a page that is spread, or the page if it is compact, or
// neither if there is none.
func (p *pages[W]) get(number uint64) (all []W, compact *page[W]) {
	switch s := p.slot(number); {
	case s == 0:
		return nil, nil
	case s&slotSpread == 0:
		return nil, p.compact[s-1]
	default:
		return p.spread(s), nil
	}
}

// spread returns the words of a spread page.
func (p *pages[W]) spread(s slot) []W {
	i := uint64(s &^ slotSpread)
	return p.slabs[i/slabPages][i%slabPages<<pageBits:][:pageClusters]
}

// open is get, and adds a page if there is none.
func (p *pages[W]) open(number uint64) (all []W, compact *page[W]) {
	if p.slot(number) == 0 {
		p.compact, p.numbers = append(p.compact, &page[W]{}), append(p.numbers, number)
		p.setSlot(number, slot(len(p.compact)))
	}
	return p.get(number)
}

// addSpread puts an empty page that has a place for each cluster where a compact one
// was.
func (p *pages[W]) addSpread(number uint64) []W {
	if p.spreads%slabPages == 0 {
		p.slabs = append(p.slabs, make([]W, slabPages<<pageBits))
	}
	s := slotSpread | slot(p.spreads)
	p.spreads++
	p.compact[p.slot(number)-1] = nil
	p.setSlot(number, s)
	return p.spread(s)
}
