package sparse

import "slices"

// A Map is a sealed Builder: its words no longer change. It must not be used by
// several goroutines at once.
type Map[W comparable] struct {
	words[W]
	order   []uint64 // the numbers of the pages, sorted
	scratch [pageClusters]W
}

// Seal ends the changes. The Builder must not be used after it.
func (b *Builder[W]) Seal() *Map[W] {
	return &Map[W]{words: b.words, order: b.order()}
}

// order returns the numbers of the pages, sorted.
func (b *Builder[W]) order() []uint64 {
	if b.pages == nil {
		return nil
	}
	return slices.Sorted(slices.Values(b.pages.numbers))
}

// viewClusters is the most clusters of a view of a flat map.
const viewClusters = 4096

// A View is the words of neighbouring clusters.
type View[W comparable] struct {
	Cluster uint64 // the first
	N       uint64 // clusters
	// Words has the word of each. It is nil if all have the same, which is then
	// Word.
	Words []W
	Word  W
}

// View returns the words of at least one cluster from one on, and before end. It is
// valid until the next call.
func (m *Map[W]) View(cluster, end uint64) View[W] {
	v := View[W]{Cluster: cluster}
	if m.pages == nil {
		v.N = min(end-cluster, viewClusters)
		v.Words = m.flat[cluster : cluster+v.N]
		return v
	}
	number, i := cluster>>pageBits, cluster%pageClusters
	all, p := m.pages.get(number)
	switch {
	case p != nil:
		m.read(p, number, &m.scratch)
		all = m.scratch[:]
	case all == nil:
		v.Word, v.N = m.filled(cluster)
		v.N = min(v.N, m.nextPage(number, end)) - cluster
		return v
	}
	v.N = min(end-cluster, pageClusters-i)
	v.Words = all[i : i+v.N]
	return v
}

// First returns the word of the first cluster.
func (v *View[W]) First() W {
	if v.Words != nil {
		return v.Words[0]
	}
	return v.Word
}

// Alike returns how many clusters have the word of the first, from it on.
func (v *View[W]) Alike() uint64 {
	for i, w := range v.Words {
		if w != v.Words[0] {
			return uint64(i)
		}
	}
	return v.N
}

// Head returns the first n clusters of a view.
func (v *View[W]) Head(n uint64) View[W] {
	h := *v
	h.N = n
	if h.Words != nil {
		h.Words = h.Words[:n]
	}
	return h
}

// Advance removes the first n clusters of a view.
func (v *View[W]) Advance(n uint64) {
	v.Cluster, v.N = v.Cluster+n, v.N-n
	if v.Words != nil {
		v.Words = v.Words[n:]
	}
}

// Alike returns how many of n clusters from one on are known to have the same word:
// at least one, and all of a fill in which no word was changed.
func (m *Map[W]) Alike(cluster, n uint64) uint64 {
	if m.pages == nil {
		k := uint64(1)
		for k < n && m.flat[cluster+k] == m.flat[cluster] {
			k++
		}
		return k
	}
	number := cluster >> pageBits
	if m.pages.slot(number) != 0 {
		return 1
	}
	_, end := m.filled(cluster)
	return min(end, m.nextPage(number, cluster+n)) - cluster
}

// nextPage returns the first cluster of the first page after the given one, or
// end if that comes before.
func (m *Map[W]) nextPage(number, end uint64) uint64 {
	i, _ := slices.BinarySearch(m.order, number)
	if i == len(m.order) {
		return end
	}
	return min(m.order[i]<<pageBits, end)
}
