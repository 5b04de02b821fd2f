package chain

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// holdings are what a layer holds by itself.
type holdings struct {
	inside   uint64 // data and zeros below a guest address, in bytes
	complete bool   // all tables could be read
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
		commit.take(p)
		return true
	})
	h.complete = h.complete && at >= l.VirtualSize
	if h.complete {
		h.commit = commit.finish()
	}
	return h
}
