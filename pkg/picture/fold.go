package picture

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// MaxSquares is the most squares that a picture has.
const MaxSquares = 60_000

// Options selects what [Fold] folds.
type Options struct {
	// Squares is the most squares wanted; 0 and more than [MaxSquares] are these.
	Squares int
	// Offset and Length select a range of host addresses, as in
	// [qcow2.HostOptions].
	Offset, Length uint64
	// Damage, if not nil, takes the errors that hide what clusters hold; see
	// [qcow2.Image.Host].
	Damage func(error)
	// Progress, if not nil, is called now and then: done of total is the part of
	// the work that is done.
	Progress func(done, total uint64)
}

// A Picture is an image file folded into squares.
type Picture struct {
	FileSize    uint64 // bytes
	GuestSize   uint64 // of the active disk, in bytes
	ClusterSize uint64 // bytes
	SquareSize  uint64 // bytes, a multiple of the cluster size; the last square is cut at the end of the file
	Squares     []Square
	// Ranges has what the clusters hold, as [qcow2.Image.Host] yields it, if a
	// square is one cluster; else it is nil.
	Ranges  []qcow2.HostRange
	Scatter Scatter
	// GuestRuns is how many contiguous runs hold guest data.
	GuestRuns uint64
}

// Fold folds the host clusters of an image into squares of equal size. The error is
// that of [qcow2.Image.Supported], or that of a cancelled context.
//
// Memory is that of [qcow2.Image.Host], and some 140 bytes for each square.
func Fold(ctx context.Context, img *qcow2.Image, o Options) (*Picture, error) {
	if err := img.Supported(); err != nil {
		return nil, err
	}
	p, err := newPicture(img, o)
	if err != nil {
		return nil, err
	}
	host := qcow2.HostOptions{Offset: o.Offset, Length: o.Length, Sharing: true, Progress: o.Progress}
	for r, err := range img.Host(ctx, host) {
		switch {
		case err == nil:
			p.add(r)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case o.Damage != nil:
			o.Damage(err)
		}
	}
	return p, ctx.Err()
}

// newPicture returns a picture with empty squares.
func newPicture(img *qcow2.Image, o Options) (*Picture, error) {
	g, err := img.Geometry()
	if err != nil {
		return nil, err
	}
	size := uint64(img.Size())
	p := &Picture{FileSize: size, GuestSize: g.VirtualSize, ClusterSize: g.ClusterSize}
	first, end := o.Offset>>g.ClusterBits, g.HostClusters
	if o.Length > 0 && o.Length < size && o.Offset < size-o.Length {
		end = (o.Offset+o.Length-1)>>g.ClusterBits + 1
	}
	if first >= end {
		p.SquareSize = g.ClusterSize
		return p, nil
	}
	wanted := o.Squares
	if wanted < 1 || wanted > MaxSquares {
		wanted = MaxSquares
	}
	per := (end-first-1)/uint64(wanted) + 1 // clusters
	p.SquareSize = per << g.ClusterBits
	p.Squares = make([]Square, (end-first-1)/per+1)
	for i := range p.Squares {
		p.Squares[i].Offset = (first + uint64(i)*per) << g.ClusterBits
	}
	p.Scatter = newScatter(p.GuestSize, size)
	return p, nil
}

// add adds a range of host clusters.
func (p *Picture) add(r *qcow2.HostRange) {
	class := classOf(r)
	if p.SquareSize == p.ClusterSize {
		p.Ranges = append(p.Ranges, *r)
	}
	if class.contents() {
		p.GuestRuns++
	}
	i := p.at(r.Offset)
	p.Squares[i].Runs++
	for at, end := r.Offset, r.Offset+r.Length; at < end; i++ {
		s := &p.Squares[i]
		n := min(end, s.Offset+p.SquareSize) - at
		s.Bytes[class] += n
		s.RunLength = max(s.RunLength, r.Length)
		at += n
	}
	if r.HasReference && class.contents() && class != VMState {
		p.Scatter.add(class, r.Reference.GuestOffset, r.Offset, r.Length)
	}
}

// at returns the index of the square with a host offset.
func (p *Picture) at(offset uint64) int { return int((offset - p.Squares[0].Offset) / p.SquareSize) }

// Bytes returns the bytes of each class. They add up to the size of the file, or
// of the range that was folded.
func (p *Picture) Bytes() (all [Classes]uint64) {
	for i := range p.Squares {
		for c, n := range p.Squares[i].Bytes {
			all[c] += n
		}
	}
	return all
}

// Shown returns the class that a square is painted with. One leaked cluster, or one
// whose references have problems, paints it; other classes paint their shares of an
// area.
func (p *Picture) Shown(i int) Class { return p.Squares[i].shown(i) }

// Run returns how long the runs in a square are on average, in bytes: the length
// of the longest that touches it, if no more than one begins there.
func (p *Picture) Run(i int) uint64 {
	s := &p.Squares[i]
	if s.Runs > 1 {
		return s.Length() / s.Runs
	}
	return s.RunLength
}
