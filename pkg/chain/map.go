package chain

import (
	"context"
	"iter"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// An Extent is a range of guest addresses that one layer decides about.
type Extent struct {
	// Mapping is that of the layer. Unallocated is what no layer holds: it reads as
	// zeros.
	qcow2.Mapping
	// Depth is that of the layer: of what is unallocated the last that reaches there,
	// of what is unknown the first that could not be read.
	Depth int
	// Unknown reports whether it is unknown what the range holds: the layer, or a table
	// of it, could not be read. Nothing but Start and Length is then meaningful.
	Unknown bool
}

// MapOptions select what [Chain.Map] yields.
type MapOptions struct {
	// Snapshot is the snapshot of the image whose mapping is wanted, over the current
	// layers below it; nil: the active image.
	Snapshot *qcow2.Snapshot
	// Offset and Length select a range of guest addresses, in bytes; a Length of 0
	// goes to the end. The range is widened to whole clusters, of extended L2 entries
	// subclusters, of the image, and to sectors if that is a raw file.
	Offset, Length uint64
	// Mapped leaves out what is unallocated.
	Mapped bool
}

// Map yields the mapping of the disk through all layers in the order of its
// addresses, each Extent where the one before ends, unless Mapped left something
// out. An Extent is valid until the next is yielded.
//
// What cannot be read is an [*Error] with a nil Extent, of the image itself the
// error alone; the range that it hides is Unknown. When ctx is done the sequence
// ends with its error. It takes as much memory as the layers have windows on their
// tables, and is linear in what they map.
func (c *Chain) Map(ctx context.Context, o MapOptions) iter.Seq2[*Extent, error] {
	return func(yield func(*Extent, error) bool) {
		m, errs := newMerger(ctx, c, &o, yield)
		for _, err := range errs {
			if !yield(nil, err) {
				return
			}
		}
		if from, to := c.window(&o, m.levels[0].size); from < to && m.merge(0, from, to, 0) {
			m.flush()
		}
	}
}

// window returns the guest addresses that are wanted, in bytes.
func (c *Chain) window(o *MapOptions, size uint64) (from, to uint64) {
	unit := uint64(sectorSize)
	if img := c.Layers[0].Image; img != nil {
		g, err := img.Geometry()
		if err != nil {
			return 0, 0
		}
		unit = g.SubclusterSize
	}
	from, to = o.Offset&^(unit-1), size
	if end := o.Offset + o.Length; o.Length > 0 && end >= o.Offset && end < size {
		to = min(size, (end+unit-1)&^(unit-1))
	}
	return from, to
}
