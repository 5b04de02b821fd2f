package qcow2

import (
	"math/bits"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// A usageSum adds up the clusters of the file in their order.
type usageSum struct {
	usage     *Usage
	counter   *usageCounter
	refcounts *refcounts
	holes     holeFinder
	sets      *sparse.Builder[setUsage] // by the number of the set
	without   []Snapshot

	reclaim reclaimable
	gap     usageRun     // the free clusters right before the current one
	gaps    [64]FreeRuns // by the binary logarithm of Min
}

// A usageRun is some clusters.
type usageRun struct{ clusters, bytes, onDisk uint64 }

// add adds other clusters.
func (r *usageRun) add(other usageRun) {
	r.clusters += other.clusters
	r.bytes += other.bytes
	r.onDisk += other.onDisk
}

func newUsageSum(c *usageCounter, without []Snapshot) *usageSum {
	img := c.img
	s := &usageSum{
		usage: &Usage{FileSize: img.src.size, Mapped: c.mapped.sum, HasOnDisk: true}, counter: c,
		refcounts: newRefcounts(img), holes: holeFinder{src: &img.src}, without: without,
		sets: sparse.NewScattered[setUsage](c.owners.sets.Bound()),
	}
	for k := range HostUnknown + 1 {
		s.usage.Kinds = append(s.usage.Kinds, KindUsage{Kind: k})
	}
	return s
}

// addClusters adds all clusters of the file. It returns false if the context is
// done.
func (s *usageSum) addClusters() bool {
	words := s.counter.words
	if words.wide != nil {
		return addWords(s, words.wide.Seal(), func(w usageWord) usageWord { return w })
	}
	return addWords(s, words.narrow.Seal(), func(i uint8) usageWord { return words.all[i] })
}

// addWords adds all clusters; word returns the word of one.
func addWords[W comparable](s *usageSum, words *sparse.Map[W], word func(W) usageWord) bool {
	clusters := s.counter.img.geometry.HostClusters
	for c := uint64(0); c < clusters; {
		v := words.View(c, clusters)
		c += v.N
		if !addView(s, &v, word) {
			return false
		}
	}
	return s.counter.walk.ctx.Err() == nil
}

// alive reports the progress, and whether the context is not done.
func (s *usageSum) alive(cluster uint64) bool {
	w := s.counter.walk
	w.tick.cluster(cluster, w.clusters)
	return w.ctx.Err() == nil
}

// addView adds clusters by their words.
func addView[W comparable](s *usageSum, v *sparse.View[W], word func(W) usageWord) bool {
	for steps := 0; v.N > 0; steps++ {
		if steps%aliveEvery == 0 && !s.alive(v.Cluster) {
			return false
		}
		refcount, n, err := s.refcounts.run(v.Cluster, v.N)
		if err != nil && !s.counter.fail(err) {
			return false
		}
		for alike := v.Head(n); alike.N > 0; {
			k := alike.Alike()
			s.add(alike.Cluster, k, word(alike.First()), refcount)
			alike.Advance(k)
		}
		v.Advance(n)
	}
	return true
}

// add adds n clusters that have the same word and the same refcount.
func (s *usageSum) add(cluster, n uint64, w usageWord, refcount refcount) {
	run := s.run(cluster, n)
	kind := unusedKind(refcount)
	if w != 0 {
		kind = w.kind()
		s.addUsed(kind, w, run)
		switch {
		case !refcount.known:
		case refcount.value == 0:
			s.usage.TakenForFree += n
		case refcount.value < s.owners(w):
			s.usage.TooLow += n
		}
	}
	k := &s.usage.Kinds[kind]
	k.Clusters += n
	k.Bytes += run.bytes
	k.OnDisk += run.onDisk
	if kind == HostFree {
		s.gap.add(run)
		return
	}
	s.endGap(ReclaimFree)
	if kind == HostLeaked {
		s.reclaim.add(ReclaimLeaked, run)
	}
	s.usage.ImageEndOffset = (cluster + n) << s.counter.img.geometry.ClusterBits
}

// owners returns how many owners refer to clusters with a word, 0 where that cannot
// be counted.
func (s *usageSum) owners(w usageWord) uint64 {
	sets := s.counter.owners
	if sets.sets.Full() {
		return 0
	}
	set := s.sets.At(uint64(w.owners()))
	if set.owners == 0 {
		set.owners = 1
		for _, r := range sets.of(w.owners()) {
			set.owners += uint64(r.End - r.First)
		}
	}
	return set.owners - 1
}

// run returns the sizes of n clusters.
func (s *usageSum) run(cluster, n uint64) usageRun {
	g := &s.counter.img.geometry
	from := cluster << g.ClusterBits
	to := from + min(n<<g.ClusterBits, s.usage.FileSize-from)
	r := usageRun{clusters: n, bytes: to - from}
	if s.usage.HasOnDisk {
		r.onDisk, s.usage.HasOnDisk = s.holes.dataBytes(from, to)
	}
	return r
}

// addUsed adds clusters to which something refers to their owners.
func (s *usageSum) addUsed(kind HostKind, w usageWord, r usageRun) {
	if w.damaged() {
		s.usage.DamagedClusters += r.clusters
	}
	set := s.sets.At(uint64(w.owners()))
	set.add(r)
	if !kind.Metadata() {
		set.guest += r.bytes
	}
	if w.readsZero() {
		s.reclaim.add(ReclaimZeroAllocated, r)
	}
}

// endGap ends a run of free clusters, and counts it as a kind of space to reclaim.
func (s *usageSum) endGap(kind ReclaimKind) {
	if s.gap.clusters == 0 {
		return
	}
	s.reclaim.add(kind, s.gap)
	s.usage.Free.LargestRun = max(s.usage.Free.LargestRun, s.gap.bytes)
	h := &s.gaps[bits.Len64(s.gap.clusters)-1]
	h.Runs++
	h.Clusters += s.gap.clusters
	s.gap = usageRun{}
}

// finish returns the sums.
func (s *usageSum) finish() *Usage {
	u := s.usage
	u.Tail = s.gap.bytes
	s.endGap(ReclaimTail)
	for i, h := range s.gaps {
		if h.Runs > 0 {
			h.Min = 1 << i
			u.Free.Histogram = append(u.Free.Histogram, h)
		}
	}
	u.Free.Clusters, u.Free.Bytes = u.Kinds[HostFree].Clusters, u.Kinds[HostFree].Bytes
	if !s.counter.owners.sets.Full() {
		s.reclaim.add(ReclaimSnapshots, u.addOwners(s.counter.owners, s.sets.Seal(), s.without))
	}
	if !u.HasOnDisk {
		u.forgetOnDisk(&s.reclaim)
	}
	u.addReclaim(&s.reclaim)
	u.addCompact(s.counter.img, &s.counter.mapped.copy)
	return u
}

// forgetOnDisk resets what was counted before the system failed to report holes.
func (u *Usage) forgetOnDisk(r *reclaimable) {
	for i := range u.Kinds {
		u.Kinds[i].OnDisk = 0
	}
	for i := range r {
		r[i].OnDisk = 0
	}
}
