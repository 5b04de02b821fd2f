package qcow2

// A holeFinder knows where the file has holes, as far as it was asked.
type holeFinder struct {
	src        *source
	hole, data span // around the places that it was asked about last
}

// in reports whether the n bytes at off lie in a hole, and so are zeros.
func (h *holeFinder) in(off, n uint64) bool { return n <= h.length(off, off+n) }

// length returns how many bytes from off on, at most up to end, lie in a hole of
// the file.
func (h *holeFinder) length(off, end uint64) uint64 {
	if h.src.nextData == nil || off >= h.src.size || h.data.from <= off && off < h.data.to {
		return 0
	}
	if off < h.hole.from || off >= h.hole.to {
		data, hole := h.src.nextData(off)
		if data <= off {
			h.data = span{off, hole}
			return 0
		}
		h.hole = span{off, min(data, h.src.size)}
	}
	return min(end, h.hole.to) - off
}
