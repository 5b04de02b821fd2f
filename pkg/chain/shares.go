package chain

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// Shares are what the layers contribute to the disk, in bytes of guest addresses.
// Visible and VisibleZero of all layers, Unallocated and Unknown add up to the
// virtual size of the image.
type Shares struct {
	Layers []Share // in the order of the layers
	// Unallocated is what no layer holds: it reads as zeros.
	Unallocated uint64
	// Unknown is what layers or tables hold that could not be read.
	Unknown uint64
	// Flatten is what the image holds more when everything below it has been copied
	// into it; meaningful if HasFlatten is true: nothing is unknown.
	Flatten    uint64
	HasFlatten bool
}

// A Share is what one layer contributes, in bytes of guest addresses.
type Share struct {
	Visible     uint64 // data of this layer that the disk shows
	VisibleZero uint64 // zeros that this layer holds, and the disk shows
	// Hidden is what the layer holds inside the smallest disk above it, and a layer
	// above covers. Meaningful if Known is true.
	Hidden uint64
	// Beyond is how far the disk of the layer goes past the end of the smallest disk
	// above it.
	Beyond uint64
	// Known reports whether the layer and all above were read, with all their tables,
	// and no entry of them is damaged.
	Known bool
	// Commit is what a commit into the layer below takes; nil if that is not known:
	// there is none, it is a raw file or has a data file, a table could not be read, or an
	// entry is damaged.
	Commit *Commit
}

// Shares adds up what the layers contribute. damage, if not nil, is called with what
// cannot be read; see [Chain.Map]. The error is that of ctx.
func (c *Chain) Shares(ctx context.Context, damage func(error)) (*Shares, error) {
	if damage == nil {
		damage = func(error) {}
	}
	s := &Shares{Layers: make([]Share, len(c.Layers))}
	for e, err := range c.Map(ctx, MapOptions{}) {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			damage(err)
		default:
			s.count(e)
		}
	}
	known := true
	smallest := ^uint64(0) // of the disks above
	for i, l := range c.Layers {
		if !l.Readable() {
			break
		}
		h := c.holdings(ctx, i, smallest, damage)
		share := &s.Layers[i]
		share.Commit = h.commit
		known = known && h.complete
		share.Known = known
		share.Hidden = h.inside - min(h.inside, share.Visible+share.VisibleZero)
		share.Beyond = l.VirtualSize - min(l.VirtualSize, smallest)
		smallest = min(smallest, l.VirtualSize)
	}
	for _, share := range s.Layers[1:] {
		s.Flatten += share.Visible
	}
	s.HasFlatten = s.Unknown == 0
	return s, ctx.Err()
}

// count adds an extent of the merged mapping.
func (s *Shares) count(e *Extent) {
	share := &s.Layers[e.Depth]
	switch {
	case e.Unknown:
		s.Unknown += e.Length
	case e.Kind == qcow2.MappingUnallocated:
		s.Unallocated += e.Length
	case isData(&e.Mapping):
		share.Visible += e.Length
	default:
		share.VisibleZero += e.Length
	}
}

// isData reports whether a mapping is of data, not of zeros and not unallocated.
func isData(p *qcow2.Mapping) bool {
	return p.Kind == qcow2.MappingData || p.Kind == qcow2.MappingCompressed
}
