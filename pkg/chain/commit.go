package chain

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A Commit is what a commit of a layer into the one below takes, in bytes. The file
// of the layer below grows by Allocates and new tables at most, and by Allocates
// less Frees where clusters that are free, or become so, are used first.
type Commit struct {
	// Moves is the data of the layer.
	Moves uint64
	// Allocates is the whole clusters of the layer below that have to be new, where
	// data goes or zeros cover a part of a cluster: nothing is allocated there, it is
	// compressed, or a snapshot shares it.
	Allocates uint64
	// Frees is the whole clusters of the layer below that zeros of this one cover, and
	// that no snapshot shares.
	Frees uint64
}

// A committer works out a Commit from the mappings of a layer in their order. The
// nil committer knows nothing.
//
// QEMU writes in place where an entry has the COPIED flag: the refcount of the
// cluster is 1.
type committer struct {
	Commit
	lower    *qcow2.Mapper
	size     uint64 // bytes of a cluster of the layer below
	clusters uint64 // of its disk

	counted          uint64 // the clusters before this one have been asked whether they have to be new
	zeroFrom, zeroTo uint64 // guest bytes that are zeros up to the last mapping
	failed           bool   // a table of the layer below cannot be read
}

// newCommitter returns a committer of the i-th layer; nil if what a commit takes
// cannot be known.
func (c *Chain) newCommitter(ctx context.Context, i int) *committer {
	if i+1 >= len(c.Layers) {
		return nil
	}
	lower := c.Layers[i+1]
	if !lower.Readable() || lower.Image == nil || lower.Image.Header().IncompatibleFeatures&qcow2.ExternalDataFile != 0 {
		return nil
	}
	m, err := lower.Image.Mapper(ctx, qcow2.GuestOptions{Copied: true})
	if err != nil {
		return nil // its own holdings report it
	}
	g, _ := lower.Image.Geometry() // there is one: it was read
	return &committer{lower: m, size: g.ClusterSize, clusters: g.Clusters}
}

// take takes the next mapping of the layer.
func (c *committer) take(p *qcow2.Mapping) {
	switch {
	case c == nil:
	case isData(p):
		c.Moves += p.Length
		c.clear()
		c.overwrite(p.Start, p.Start+p.Length)
	case p.Kind == qcow2.MappingUnallocated:
	case p.Start == c.zeroTo:
		c.zeroTo += p.Length
	default:
		c.clear()
		c.zeroFrom, c.zeroTo = p.Start, p.Start+p.Length
	}
}

// finish returns the Commit; nil if it cannot be known.
func (c *committer) finish() *Commit {
	if c == nil {
		return nil
	}
	c.clear()
	if c.failed {
		return nil
	}
	return &c.Commit
}

// overwrite counts the clusters that data makes new.
func (c *committer) overwrite(from, to uint64) {
	first, end := max(from/c.size, c.counted), c.ceil(to)
	if first >= end {
		return
	}
	c.counted = end
	past := end - max(first, min(end, c.clusters)) // the end of the disk moves
	c.Allocates += past * c.size
	next := first
	c.read(first, end, func(p *qcow2.Mapping) {
		last := c.ceil(p.Start + p.Length) // of subclusters the same cluster can come again
		if !p.HasHost || p.Kind == qcow2.MappingCompressed || !p.Copied {
			c.Allocates += (last - min(last, max(next, p.Start/c.size))) * c.size
		}
		next = last
	})
}

// clear counts the clusters that the last zeros free, and those that QEMU writes
// zeros into as data, as they cover a part of them.
func (c *committer) clear() {
	from, to := c.zeroFrom, c.zeroTo
	if from == to {
		return
	}
	c.zeroFrom, c.zeroTo = to, to
	first, end := c.ceil(from), to/c.size
	if from < first*c.size {
		c.overwrite(from, min(to, first*c.size))
	}
	if end >= first && end*c.size < to {
		defer c.overwrite(end*c.size, to)
	}
	next := first
	c.read(first, end, func(p *qcow2.Mapping) {
		last := c.ceil(p.Start + p.Length)
		if p.HasHost && p.Kind != qcow2.MappingCompressed && p.Copied {
			c.Frees += (last - min(last, max(next, p.Start/c.size))) * c.size
		}
		next = last
	})
}

// read calls take with the mappings of clusters of the layer below.
func (c *committer) read(first, end uint64, take func(*qcow2.Mapping)) {
	if first >= min(end, c.clusters) {
		return
	}
	c.lower.Map(first*c.size, end*c.size, func(p *qcow2.Mapping, err error) bool {
		if err != nil {
			c.failed = true
			return false
		}
		take(p)
		return true
	})
}

// ceil returns the number of whole clusters that hold n bytes.
func (c *committer) ceil(n uint64) uint64 {
	if n%c.size != 0 {
		return n/c.size + 1
	}
	return n / c.size
}
