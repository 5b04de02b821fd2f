package chain

import (
	"context"
	"errors"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// holdings are what a layer holds by itself.
type holdings struct {
	inside   uint64 // data and zeros below a guest address, in bytes
	complete bool   // all tables could be read, and no entry is damaged
	commit   *Commit
}

// holdings returns what the i-th layer holds, and inside of its disk before the
// given address.
func (c *Chain) holdings(ctx context.Context, i int, before uint64, damage func(error)) holdings {
	l := c.Layers[i]
	tables, err := l.mapper(ctx, qcow2.GuestOptions{})
	if err != nil {
		damage(l.wrong(err))
		return holdings{}
	}
	h := holdings{complete: true}
	commit := c.newCommitter(ctx, i)
	at := uint64(0)
	damaged := l.newDamage()
	tables.Map(0, l.VirtualSize, func(p *qcow2.Mapping, err error) bool {
		if err != nil {
			damage(l.wrong(err))
			return true
		}
		h.complete = h.complete && p.Start == at
		at = p.Start + p.Length
		if p.Kind != qcow2.MappingUnallocated {
			h.inside += min(at, before) - min(p.Start, before)
		}
		damaged.count(p)
		commit.take(p)
		return true
	})
	if damaged.entries > 0 {
		damage(l.wrong(damaged.err()))
	}
	h.complete = h.complete && at >= l.VirtualSize && damaged.entries == 0
	if h.complete {
		h.commit = commit.finish()
	}
	return h
}

// A damageCount counts the entries of L2 tables that have problems.
type damageCount struct {
	entries uint64
	bits    uint   // of the size of a cluster
	next    uint64 // the first cluster that was not counted
}

func (l *Layer) newDamage() damageCount {
	if l.Image == nil {
		return damageCount{}
	}
	g, _ := l.Image.Geometry() // there is one: it was read
	return damageCount{bits: g.ClusterBits}
}

// count counts a mapping with problems; several can be of subclusters of one
// cluster.
func (d *damageCount) count(p *qcow2.Mapping) {
	if p.Problems == 0 {
		return
	}
	first, end := max(p.Start>>d.bits, d.next), (p.Start+(p.Length-1))>>d.bits+1
	d.entries += end - min(first, end)
	d.next = end
}

func (d *damageCount) err() error {
	if d.entries == 1 {
		return errors.New("1 damaged entry")
	}
	return fmt.Errorf("%d damaged entries", d.entries)
}
