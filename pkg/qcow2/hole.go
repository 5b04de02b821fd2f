package qcow2

import "github.com/qinspect/qinspect/pkg/qcow2/internal/interval"

// A holeFinder finds holes of the file. It remembers the last one.
type holeFinder struct {
	src        *source
	hole, data interval.Span // the last that were found
	unknown    bool          // the system does not report holes
}

// in reports whether the n bytes at off lie in a hole, and so are zeros.
func (h *holeFinder) in(off, n uint64) bool { return n <= h.length(off, off+n) }

// length returns how many bytes from off on, at most up to end, lie in a hole of
// the file.
func (h *holeFinder) length(off, end uint64) uint64 {
	if h.src.dataRange == nil || h.unknown || off >= h.src.size || h.data.From <= off && off < h.data.To {
		return 0
	}
	if off < h.hole.From || off >= h.hole.To {
		h.find(off)
	}
	if off < h.hole.From || off >= h.hole.To {
		return 0
	}
	return min(end, h.hole.To) - off
}

// find looks for the first data at or after off.
func (h *holeFinder) find(off uint64) {
	start, stop, err := h.src.dataRange(off)
	if err != nil {
		h.unknown = true
		return
	}
	h.data = interval.Span{From: start, To: stop}
	h.hole = interval.Span{From: off, To: min(start, h.src.size)}
}

// dataBytes returns how many bytes from one offset up to another are no holes; ok
// is false where the system does not tell. Ranges that follow each other cost a
// question for each hole of the file.
func (h *holeFinder) dataBytes(from, to uint64) (n uint64, ok bool) {
	for from < to {
		step := h.length(from, to)
		if step == 0 {
			end := min(to, h.data.To)
			if h.src.dataRange == nil || h.unknown || from < h.data.From || end <= from { // the last: the file has become shorter
				return 0, false
			}
			step = end - from
			n += step
		}
		from += step
	}
	return n, true
}
