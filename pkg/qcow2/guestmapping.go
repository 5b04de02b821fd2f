package qcow2

import "math/bits"

// mappingOf returns the mapping of the first cluster of a run.
func (img *Image) mappingOf(r *l2Run) Mapping {
	g := &img.geometry
	p := Mapping{Start: g.guestOffset(r.guest), Length: g.ClusterSize}
	if r.entry.Compressed() {
		p.Kind, p.HasHost = MappingCompressed, true
		p.HostOffset, p.Sectors = g.Compressed(r.entry)
		return p
	}
	p.HostOffset = r.entry.HostOffset()
	p.HasHost = img.hasHost(r.entry)
	if g.L2EntrySize == 16 && r.at != 0 {
		p.SubclusterBitmap, p.HasSubclusterBitmap = r.bitmap, true
		p.Kind = subclusterKind(uint32(r.bitmap), uint32(r.bitmap>>32), p.HasHost)
		return p
	}
	zero := r.entry.Zero() && img.header.Version > 2
	switch {
	case zero && p.HasHost:
		p.Kind = MappingZeroAllocated
	case zero:
		p.Kind = MappingZero
	case p.HasHost:
		p.Kind = MappingData
	}
	return p
}

// subclusterKind returns the kind of a set of subclusters, given the bits of the
// allocated ones and of those that read as zeros: data if any of them is.
func subclusterKind(allocated, zero uint32, host bool) MappingKind {
	switch {
	case allocated != 0 && host:
		return MappingData
	case zero != 0 && host:
		return MappingZeroAllocated
	case zero != 0:
		return MappingZero
	}
	return MappingUnallocated
}

// uniform reports whether all subclusters of the cluster are alike.
func (p *Mapping) uniform() bool {
	allocated, zero := uint32(p.SubclusterBitmap), uint32(p.SubclusterBitmap>>32)
	return (allocated == 0 || ^allocated == 0) && (zero == 0 || ^zero == 0)
}

// alike returns how many bits from the lowest on are equal.
func alike(word uint32) int {
	if word&1 != 0 {
		word = ^word
	}
	return bits.TrailingZeros32(word)
}
