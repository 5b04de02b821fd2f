package main

import (
	"errors"
	"math/bits"
)

// wanted is what the command line asks for.
type wanted struct {
	size        uint64 // virtual size in bytes
	clusterBits uint
	run         uint64 // guest clusters in sequence, 0: all
	snapshots   uint64
	changed     uint64 // L2 tables that are written to after each snapshot
}

// A layout is where the structures lie, in clusters: metadata in front, data after.
type layout struct {
	wanted
	clusterSize, tableSize, blockSize uint64 // bytes, entries of an L2 table, of a refcount block
	data, tables, steps, l1Clusters   uint64 // steps is how many L2 tables snapshots made to be written anew
	refcountTable, block0             uint64
	l1                                uint64 // the active L1 table, then those of the snapshots
	snapshotTable                     uint64
	l2                                uint64 // L2 tables, then those that were written anew
	data0                             uint64 // data clusters, then those that were written anew
	end                               uint64
	refcounts                         map[uint64]uint16 // of the clusters that some of the snapshots have
}

// snapshotBytes is the length of an entry of the snapshot table.
const snapshotBytes = 40 + 16 + 8

func newLayout(w wanted) (layout, error) {
	if w.size == 0 || w.clusterBits < 9 || w.clusterBits > 21 || w.snapshots > 65534 {
		return layout{}, errors.New("size, cluster bits or number of snapshots out of range")
	}
	l := layout{wanted: w, clusterSize: 1 << w.clusterBits}
	l.tableSize, l.blockSize = l.clusterSize/8, l.clusterSize/2
	l.data = ceilDiv(w.size, l.clusterSize)
	l.tables = ceilDiv(l.data, l.tableSize)
	l.steps = w.snapshots * w.changed
	if w.changed > l.tables || l.steps > l.tables*l.tableSize {
		return layout{}, errors.New("more tables are to change than there are")
	}
	l.l1Clusters = ceilDiv(l.tables*8, l.clusterSize)
	snapshotClusters := ceilDiv(w.snapshots*snapshotBytes, l.clusterSize)
	rest := l.l1Clusters*(1+w.snapshots) + snapshotClusters + l.tables + l.data + 2*l.steps
	var blocks, tableClusters uint64
	for blocks*l.blockSize < 1+tableClusters+blocks+rest { // each block counts itself too
		blocks = ceilDiv(1+tableClusters+blocks+rest, l.blockSize)
		tableClusters = ceilDiv(blocks*8, l.clusterSize)
	}
	l.refcountTable = 1
	l.block0 = l.refcountTable + tableClusters
	l.l1 = l.block0 + blocks
	l.snapshotTable = l.l1 + l.l1Clusters*(1+w.snapshots)
	l.l2 = l.snapshotTable + snapshotClusters
	l.data0 = l.l2 + l.tables + l.steps
	l.end = l.data0 + l.data + l.steps
	l.share()
	return l, nil
}

// share fills refcounts. After each snapshot, a cluster is written in each of the
// next L2 tables: step i writes to table i mod tables, to the entry that follows the
// one written there before. The table and the cluster are then no longer those of
// the snapshots so far.
func (l *layout) share() {
	l.refcounts = map[uint64]uint16{}
	for i := range l.steps {
		taken := i/l.changed + 1 // snapshots before the step
		t, entry := i%l.tables, i/l.tables
		if i < l.tables {
			l.refcounts[l.l2+t] = uint16(taken)
		} else {
			l.refcounts[l.l2+i] -= uint16(l.snapshots + 1 - taken) // what was written at step i - tables
		}
		l.refcounts[l.l2+l.tables+i] = uint16(l.snapshots + 1 - taken)
		l.refcounts[l.data0+l.data+i] = uint16(l.snapshots + 1 - taken)
		l.refcounts[l.place(t*l.tableSize+entry)] = uint16(taken)
	}
}

// refcount is the refcount of a cluster.
func (l *layout) refcount(cluster uint64) uint16 {
	if len(l.refcounts) > 0 {
		if n, ok := l.refcounts[cluster]; ok {
			return n
		}
	}
	if cluster < l.l2 {
		return 1
	}
	return uint16(l.snapshots + 1)
}

// table is the L2 table number t that the L1 table has which was current when n
// snapshots were there.
func (l *layout) table(t, n uint64) uint64 {
	if n*l.changed <= t {
		return l.l2 + t
	}
	before := (n*l.changed - 1 - t) / l.tables // steps on this table before the last one
	return l.l2 + l.tables + t + before*l.tables
}

// place is the host cluster of a guest cluster before any step.
func (l *layout) place(guest uint64) uint64 {
	if l.run == 0 || guest >= l.data/l.run*l.run {
		return l.data0 + guest
	}
	return l.data0 + permute(guest/l.run, l.data/l.run)*l.run + guest%l.run
}

// permute gives each number below n another one below n, as if at random: it mixes
// the bits of the number, each step of which can be undone, until it is below n.
func permute(x, n uint64) uint64 {
	width := bits.Len64(n - 1)
	mask := uint64(1)<<width - 1
	for {
		for _, factor := range [...]uint64{0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb} {
			x = (x*factor + factor>>32) & mask
			x ^= x >> (width/2 + 1)
		}
		if x < n {
			return x
		}
	}
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }
