package qcow2

// A holeFinder knows where the file has holes, as far as it was asked.
type holeFinder struct {
	src        *source
	hole, data span // around the places that it was asked about last
}

// in reports whether the n bytes at off lie in a hole, and so are zeros.
func (h *holeFinder) in(off, n uint64) bool {
	switch {
	case h.src.nextData == nil || off+n > h.src.size:
		return false
	case h.hole.from <= off && off+n <= h.hole.to:
		return true
	case h.data.from <= off && off < h.data.to:
		return false
	}
	data, hole := h.src.nextData(off)
	if data > off {
		h.hole = span{off, data}
	} else {
		h.data = span{off, hole}
	}
	return off+n <= data
}
