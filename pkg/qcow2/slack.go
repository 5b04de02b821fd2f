package qcow2

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
)

// A Slack is bytes in clusters of a structure that are not part of the structure:
// they mean nothing, and should be zeros.
type Slack struct {
	Kind           HostKind // of the structure
	Offset, Length uint64   // bytes
}

// Slacks yields the bytes of structures' clusters that mean nothing, as far as this
// package knows: header fields that it does not know, in the first cluster what is
// behind the header extensions and around the name of the backing file, and behind
// tables whose last cluster they do not fill. Structures that cannot be found
// have none; [Image.Check] says which. The error is that of [Image.Supported].
func (img *Image) Slacks() iter.Seq2[Slack, error] {
	return func(yield func(Slack, error) bool) {
		if err := img.Supported(); err != nil {
			yield(Slack{}, err)
			return
		}
		if !img.headerSlacks(func(from, to uint64) bool {
			to = min(to, img.src.size)
			return from >= to || yield(Slack{HostHeader, from, to - from}, nil)
		}) {
			return
		}
		mask := img.geometry.ClusterSize - 1
		for _, s := range findStructures(img, func(error) bool { return true }).all {
			from := s.offset + s.length
			to := min((from+mask)&^mask, img.src.size)
			if s.kind != HostHeader && from < to && !yield(Slack{s.kind, from, to - from}, nil) {
				return
			}
		}
	}
}

// headerSlacks calls yield with the ranges of the first cluster that mean nothing.
// It returns false if yield did.
func (img *Image) headerSlacks(yield func(from, to uint64) bool) bool {
	h := &img.header
	at := uint64(h.HeaderLength) // where the extensions end
	if at > KnownHeaderLength && !yield(KnownHeaderLength, at) {
		return false
	}
	for x, err := range img.Extensions() {
		if err != nil {
			return true // nobody can tell what follows
		}
		end := x.Offset + extensionHeaderLength + uint64(len(x.Data))
		if at = end + -end&7; !yield(end, at) {
			return false
		}
	}
	if end := img.extensionsEnd(); at+extensionHeaderLength <= end {
		at += extensionHeaderLength // the end marker
	}
	if name := h.BackingFileOffset; name >= at && name < img.geometry.ClusterSize {
		if !yield(at, name) {
			return false
		}
		at = name + uint64(h.BackingFileSize)
	}
	return yield(at, img.geometry.ClusterSize)
}

// NonZero returns the file offset of the first byte other than 0 in ranges of the
// file, each from one offset up to another, and whether there is one. What lies in a
// hole of the file is not read. The error is that of the reader, or of a cancelled
// context.
func (img *Image) NonZero(ctx context.Context, ranges iter.Seq2[uint64, uint64]) (at uint64, found bool, err error) {
	holes := holeFinder{src: &img.src}
	var buf []byte
	for from, to := range ranges {
		for to = min(to, img.src.size); from < to; {
			if err := ctx.Err(); err != nil {
				return 0, false, err
			}
			if n := holes.length(from, to); n > 0 {
				from += n
				continue
			}
			n := min(to-from, windowBytes)
			if uint64(cap(buf)) < n {
				buf = make([]byte, n)
			}
			if got, err := img.src.r.ReadAt(buf[:n], int64(from)); uint64(got) < n {
				return 0, false, fmt.Errorf("reading %d bytes at %#x: %w", n, from, cmp.Or(err, io.ErrUnexpectedEOF))
			}
			if i := slices.IndexFunc(buf[:n], func(b byte) bool { return b != 0 }); i >= 0 {
				return from + uint64(i), true, nil
			}
			from += n
		}
	}
	return 0, false, nil
}
