package chain

import (
	"context"
	"errors"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A layerMap yields the mapping of the clusters of a layer that hold the guest
// addresses [from, to), as [qcow2.Mapper.Map] does.
type layerMap interface {
	Map(from, to uint64, yield func(*qcow2.Mapping, error) bool) bool
}

// mapper returns the mapping of a layer, nil if it was not read. The error is why it
// cannot be mapped.
func (l *Layer) mapper(ctx context.Context, o qcow2.GuestOptions) (layerMap, error) {
	switch {
	case !l.Readable():
		return nil, nil
	case l.raw != nil:
		return &rawMap{file: l.raw, fileSize: l.FileSize, diskSize: l.VirtualSize}, nil
	}
	m, err := l.Image.Mapper(ctx, o)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// A rawMap is the mapping of a raw file: every address is at its own offset, and
// holes read as zeros.
type rawMap struct {
	file               File
	fileSize, diskSize uint64 // bytes
	start, end         uint64 // the last range of data that was found
	known              uint64 // there is none between this offset and start
	noHoles            bool   // the system does not tell them
	out                qcow2.Mapping
}

// Map yields data, holes, and what the last sector has more than the file.
func (r *rawMap) Map(from, to uint64, yield func(*qcow2.Mapping, error) bool) bool {
	for to = min(to, r.diskSize); from < to; from = r.out.Start + r.out.Length {
		r.at(from, to)
		if !yield(&r.out, nil) {
			return false
		}
	}
	return true
}

// at sets out to the mapping that begins at an address, and ends at another at the
// latest.
func (r *rawMap) at(from, to uint64) {
	r.out = qcow2.Mapping{Start: from, Length: to - from, Kind: qcow2.MappingZeroAllocated, HostOffset: from, HasHost: true}
	if from >= r.fileSize {
		return
	}
	to = min(to, r.fileSize)
	if from < r.known || from >= r.end {
		r.find(from)
	}
	if r.start <= from {
		r.out.Kind, to = qcow2.MappingData, min(to, r.end)
	} else {
		to = min(to, r.start)
	}
	r.out.Length = to - from
}

// find finds the first data at or after an offset inside the file. Where the system
// does not tell, all is data.
func (r *rawMap) find(from uint64) {
	start, end := from, r.fileSize
	if !r.noHoles {
		s, e, err := r.file.DataRange(from)
		switch {
		case err != nil:
			r.noHoles = errors.Is(err, errors.ErrUnsupported)
		case s >= e: // the last hole
			start = r.fileSize
		case s >= from:
			start, end = s, e
		}
	}
	r.known, r.start, r.end = from, min(start, r.fileSize), min(end, r.fileSize)
}
