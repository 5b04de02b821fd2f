package qcow2

import (
	"context"
	"errors"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A dirtyMapper maps dirty ranges of the active image, one after the other, exactly:
// it cuts clusters, and says what is not known.
type dirtyMapper struct {
	// found takes each part of a range with its mapping, nil if that is not known, or
	// an error.
	found  func(r interval.Span, m *Mapping, err error) bool
	mapper *Mapper // nil: nothing is known
	wanted interval.Span
	at     uint64 // how far the range in hand is mapped
	last   Error  // the one that was passed on last: ranges can share a table
	take   func(*Mapping, error) bool
}

// open makes the mapper ready. The error is why no mapping is known.
func (d *dirtyMapper) open(ctx context.Context, img *Image) (err error) {
	d.take = d.mapped
	d.mapper, err = img.Mapper(ctx, GuestOptions{})
	return err
}

// each calls found for each part of a range. It returns false if found did.
func (d *dirtyMapper) each(r interval.Span) bool {
	d.wanted, d.at = r, r.From
	if d.mapper != nil && r.From < r.To && !d.mapper.Map(r.From, r.To, d.take) {
		return false
	}
	return d.gap(r.To)
}

// mapped takes what the Mapper yields.
func (d *dirtyMapper) mapped(m *Mapping, err error) bool {
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			if e.Section == d.last.Section && e.Offset == d.last.Offset && e.Detail == d.last.Detail {
				return true
			}
			d.last = *e
		}
		return d.found(interval.Span{}, nil, err)
	}
	r := interval.Span{From: max(m.Start, d.at), To: min(m.Start+m.Length, d.wanted.To)}
	if r.From >= r.To {
		return true
	}
	if !d.gap(r.From) {
		return false
	}
	d.at = r.To
	return d.found(r, m, nil)
}

// gap calls found for what is not mapped before an address.
func (d *dirtyMapper) gap(to uint64) bool {
	r := interval.Span{From: d.at, To: to}
	d.at = max(d.at, to)
	return r.From >= r.To || d.found(r, nil, nil)
}
