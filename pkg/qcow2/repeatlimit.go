package qcow2

import (
	"math"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// A repeatLimit ends the walk through a table whose entries lead to the same clusters
// again and again: a small file would make it as long as the table has entries. It is
// [Limits].RepeatedTableBytes. Entries are taken in their order; one before the last
// that was taken is free, also if it was passed over.
type repeatLimit struct {
	img      *Image
	next     uint64 // the entry after the last that was taken
	stop     uint64 // the first entry that is not followed any more
	repeated uint64 // bytes of clusters that entries led to again
	// seen has a bit for each cluster that an entry led to, 64 to a word; nil: none yet.
	seen *sparse.Builder[uint64]
}

func newRepeatLimit(img *Image) repeatLimit { return repeatLimit{img: img, stop: math.MaxUint64} }

// follow reports whether to follow the i-th entry, which leads to a cluster of the
// file.
func (l *repeatLimit) follow(i, cluster uint64) bool {
	if i < l.next || i >= l.stop {
		return i < l.stop
	}
	l.next = i + 1
	if l.seen == nil {
		l.seen = sparse.NewScattered[uint64](ceilDiv(l.img.geometry.HostClusters, 64))
	}
	word, bit := l.seen.At(cluster/64), uint64(1)<<(cluster%64)
	if *word&bit == 0 {
		*word |= bit
		return true
	}
	if l.repeated += l.img.geometry.ClusterSize; l.repeated > l.img.limits.RepeatedTableBytes {
		l.stop = i
	}
	return i < l.stop
}

// exceeded returns the error for the entries from stop on, the first of which lies at
// an offset of a table.
func (l *repeatLimit) exceeded(sec Section, at uint64) error {
	return errorf(sec, at, ErrLimit, "from entry %d on the table is not followed: it leads to the same clusters again, %d bytes of them, above the limit of %d (RepeatedTableBytes)",
		l.stop, l.repeated, l.img.limits.RepeatedTableBytes)
}
