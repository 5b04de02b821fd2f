package chain

import (
	"context"
	"iter"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A DirtyExtent is a range of guest addresses that is dirty or not, and that one
// layer decides about.
type DirtyExtent struct {
	Extent
	Dirty bool
}

// DirtyOptions select what [Chain.Dirty] yields.
type DirtyOptions struct {
	Checkpoint *Checkpoint
	// All yields what is clean, too.
	All bool
}

// Dirty yields what is dirty in any bitmap of a checkpoint, with its mapping through
// all layers, in the order of the addresses. A DirtyExtent is valid until the next
// is yielded. Errors are those of [Chain.Map] and of the bitmaps, with a nil
// DirtyExtent, and the sequence goes on after them.
func (c *Chain) Dirty(ctx context.Context, o DirtyOptions) iter.Seq2[*DirtyExtent, error] {
	return func(yield func(*DirtyExtent, error) bool) {
		var out DirtyExtent
		m, errs := newMerger(ctx, c, &MapOptions{}, func(e *Extent, err error) bool {
			if err != nil {
				return yield(nil, err)
			}
			out.Extent = *e
			return yield(&out, nil)
		})
		for _, err := range errs {
			if !yield(nil, err) {
				return
			}
		}
		list := func(from, to uint64, dirty bool) bool {
			if from >= to || !dirty && !o.All {
				return true
			}
			out.Dirty = dirty
			return m.merge(0, from, to, 0) && m.flush()
		}
		u := newUnion(ctx, o.Checkpoint)
		defer u.stop()
		at, size := uint64(0), m.levels[0].size
		for r, err := range u.ranges(size) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
				continue
			}
			if !list(at, r.Start, false) || !list(r.Start, r.Start+r.Length, true) {
				return
			}
			at = r.Start + r.Length
		}
		list(at, size, false)
	}
}

// A union merges the dirty ranges of bitmaps, each in the order of its addresses.
type union struct{ sources []dirtySource }

// A dirtySource is the dirty ranges of one bitmap.
type dirtySource struct {
	layer *Layer
	next  func() (qcow2.GuestRange, error, bool)
	stop  func()
	cur   qcow2.GuestRange // the next range; none if its length is 0
}

func newUnion(ctx context.Context, p *Checkpoint) *union {
	u := &union{sources: make([]dirtySource, len(p.Bitmaps))}
	for i, b := range p.Bitmaps {
		next, stop := iter.Pull2(b.Layer.Image.DirtyRanges(ctx, b.Bitmap))
		u.sources[i] = dirtySource{layer: b.Layer, next: next, stop: stop}
	}
	return u
}

func (u *union) stop() {
	for i := range u.sources {
		u.sources[i].stop()
	}
}

// ranges yields the longest ranges that are dirty in any bitmap, of a disk of size
// bytes.
func (u *union) ranges(size uint64) iter.Seq2[qcow2.GuestRange, error] {
	return func(yield func(qcow2.GuestRange, error) bool) {
		for i := range u.sources {
			if !u.sources[i].advance(yield) {
				return
			}
		}
		var from, to uint64 // the range that can still grow
		for {
			s := u.first()
			if s == nil || s.cur.Start > to {
				if from < min(to, size) && !yield(qcow2.GuestRange{Start: from, Length: min(to, size) - from}, nil) {
					return
				}
				if s == nil || s.cur.Start >= size {
					return
				}
				from = s.cur.Start
			}
			to = max(to, s.cur.Start+s.cur.Length)
			if !s.advance(yield) {
				return
			}
		}
	}
}

// first returns the source whose next range begins first, nil if there is none.
func (u *union) first() *dirtySource {
	var first *dirtySource
	for i := range u.sources {
		s := &u.sources[i]
		if s.cur.Length > 0 && (first == nil || s.cur.Start < first.cur.Start) {
			first = s
		}
	}
	return first
}

// advance goes to the next range, and yields the errors before it. It returns false
// if yield did.
func (s *dirtySource) advance(yield func(qcow2.GuestRange, error) bool) bool {
	for {
		r, err, ok := s.next()
		if !ok {
			s.cur = qcow2.GuestRange{}
			return true
		}
		if err == nil {
			s.cur = r
			return true
		}
		if !yield(qcow2.GuestRange{}, s.layer.wrong(err)) {
			return false
		}
	}
}
