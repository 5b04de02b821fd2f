package qcow2

import "github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"

// usageWords holds the word of each cluster to which something refers. Without
// snapshots there are few different ones: a byte for each cluster then says which.
type usageWords struct {
	wide   *sparse.Builder[usageWord] // nil: narrow is in use
	narrow *sparse.Builder[uint8]     // positions in all
	all    []usageWord                // the first is 0
	join   func(w, fresh usageWord) usageWord
}

// newUsageWords returns words for an image. join returns the word of a cluster that
// has one after another reference.
func newUsageWords(img *Image, join func(w, fresh usageWord) usageWord) *usageWords {
	u := &usageWords{all: make([]usageWord, 1), join: join}
	if img.header.NbSnapshots == 0 {
		u.narrow = sparse.NewBuilder[uint8](img.geometry.HostClusters)
	} else {
		u.wide = sparse.NewBuilder[usageWord](img.geometry.HostClusters)
	}
	return u
}

// position returns where a word stands in all. There is room for each: a kind, two
// flags, and one of four sets, as the owner is the active image, with its disk or
// its VM state.
func (u *usageWords) position(w usageWord) uint8 {
	for i, other := range u.all {
		if other == w {
			return uint8(i)
		}
	}
	u.all = append(u.all, w)
	return uint8(len(u.all) - 1)
}

// fill sets the words of clusters of structures, which come first.
func (u *usageWords) fill(first, n uint64, w usageWord) {
	if u.wide != nil {
		u.wide.Fill(first, n, w)
		return
	}
	u.narrow.Fill(first, n, u.position(w))
}

// add adds a reference to clusters.
func (u *usageWords) add(first, n uint64, fresh usageWord) {
	if u.wide != nil {
		addToRun(u.wide, first, n, fresh, fresh.kind().Metadata(), u.join)
		return
	}
	addToRun(u.narrow, first, n, u.position(fresh), fresh.kind().Metadata(), u.joinNarrow)
}

// addData adds a reference to each of the clusters of a batch.
func (u *usageWords) addData(d *dataBatch, clusterBits uint, fresh usageWord) {
	if u.wide != nil {
		addToEach(u.wide, d, clusterBits, fresh, u.join)
		return
	}
	addToEach(u.narrow, d, clusterBits, u.position(fresh), u.joinNarrow)
}

// joinNarrow is join for positions.
func (u *usageWords) joinNarrow(w, fresh uint8) uint8 {
	return u.position(u.join(u.all[w], u.all[fresh]))
}

// addToRun adds a reference to the words of neighbouring clusters. Metadata overlap
// what has the same word.
func addToRun[W comparable](words *sparse.Builder[W], first, n uint64, fresh W, metadata bool, join func(w, fresh W) W) {
	var none W
	for n > 0 {
		run := words.Run(first, n)
		for i, w := range run {
			if w == none || w == fresh && !metadata { // the usual cases
				run[i] = fresh
			} else {
				run[i] = join(w, fresh)
			}
		}
		first, n = first+uint64(len(run)), n-uint64(len(run))
	}
}

// addToEach adds a reference to the words of the clusters of a batch.
func addToEach[W comparable](words *sparse.Builder[W], d *dataBatch, clusterBits uint, fresh W, join func(w, fresh W) W) {
	var none W
	toCluster := clusterBits & 63 // known to be less than 64, so that a shift is one instruction
	for _, e := range d.entries {
		word := words.At(e.entry.HostOffset() >> toCluster)
		if *word == none {
			*word = fresh
		} else if *word != fresh {
			*word = join(*word, fresh)
		}
	}
}
