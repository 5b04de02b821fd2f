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
	// All yields what is clean, too: not what is not known to be dirty.
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
		u.ranges(m.levels[0].size, func(r qcow2.GuestRange, s dirtyState, err error) bool {
			if err != nil {
				return yield(nil, err)
			}
			return s == stateUnknown || list(r.Start, r.Start+r.Length, s == stateDirty)
		})
	}
}

// A dirtyState is what the bitmaps say of a range. The larger one counts.
type dirtyState int

const (
	stateClean   dirtyState = iota
	stateUnknown            // a bitmap cannot be read there, and no other is dirty
	stateDirty              // in any bitmap
)

// A union merges the dirty ranges of bitmaps, each in the order of its addresses.
type union struct{ sources []dirtySource }

// A dirtySource is the dirty ranges of one bitmap.
type dirtySource struct {
	layer *Layer
	next  func() (qcow2.GuestRange, error, bool)
	stop  func()
	cur   qcow2.GuestRange // the next range; none if its length is 0
	state dirtyState       // of cur
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

// ranges calls yield with the longest ranges of a disk of size bytes that have one
// state, and with errors. It returns false if yield did.
func (u *union) ranges(size uint64, yield func(qcow2.GuestRange, dirtyState, error) bool) bool {
	for i := range u.sources {
		if !u.sources[i].advance(yield) {
			return false
		}
	}
	var r qcow2.GuestRange // what can still grow
	state := stateClean
	for at := uint64(0); at < size; {
		to, next, ok := u.step(at, size, yield)
		if !ok {
			return false
		}
		if next != state {
			if r.Length > 0 && !yield(r, state, nil) {
				return false
			}
			r, state = qcow2.GuestRange{Start: at}, next
		}
		r.Length, at = to-r.Start, to
	}
	return r.Length == 0 || yield(r, state, nil)
}

// step returns the state from one address on, and the address before size up to
// which no source has another. ok is false if yield returned false.
func (u *union) step(at, size uint64, yield func(qcow2.GuestRange, dirtyState, error) bool) (to uint64, state dirtyState, ok bool) {
	to = size
	for i := range u.sources {
		s := &u.sources[i]
		for s.cur.Length > 0 && s.cur.Start+s.cur.Length <= at {
			if !s.advance(yield) {
				return 0, 0, false
			}
		}
		switch {
		case s.cur.Length == 0:
		case s.cur.Start > at:
			to = min(to, s.cur.Start)
		default:
			to, state = min(to, s.cur.Start+s.cur.Length), max(state, s.state)
		}
	}
	return to, state, true
}

// advance goes to the next range, and yields the error that it comes with. It
// returns false if yield did.
func (s *dirtySource) advance(yield func(qcow2.GuestRange, dirtyState, error) bool) bool {
	for {
		r, err, ok := s.next()
		if !ok {
			s.cur = qcow2.GuestRange{}
			return true
		}
		s.cur, s.state = r, stateDirty
		if err != nil {
			if s.state = stateUnknown; !yield(qcow2.GuestRange{}, stateUnknown, s.layer.wrong(err)) {
				return false
			}
		}
		if r.Length > 0 { // else the error is about no range
			return true
		}
	}
}
