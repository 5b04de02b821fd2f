package qcow2

import (
	"context"
	"fmt"
	"iter"
	"math/bits"
)

// A refcounts reads refcounts in the order of the clusters.
type refcounts struct {
	img     *Image
	table   entryTable
	reader  entryReader // of the table
	block   clusterReader
	piece   window // of a block, for near
	known   bool   // the table was read to its end
	repeats repeatLimit
	broken  uint64 // the offset of the last block that cannot be read as a whole, + 1
	failed  uint64 // the offset of what the last error was about, + 1

	cur   []byte // the block in hand, or a piece of it
	at    uint64 // its offset, in bytes
	first uint64 // the cluster of its first refcount
	there uint64 // refcounts in it
}

// newRefcounts returns a reader. If refcountTable returns an error, the refcounts
// that it hides are unknown.
func newRefcounts(img *Image) *refcounts {
	table, err := img.refcountTable()
	return &refcounts{
		img: img, table: table, reader: newEntryReader(&img.src, SectionRefcountTable), known: err == nil, repeats: newRepeatLimit(img),
		block: clusterReader{window: window{src: &img.src}, sec: SectionRefcountBlock, size: img.geometry.ClusterSize},
		piece: window{src: &img.src},
	}
}

// blocks calls yield for every entry of the refcount table that is not 0, with its
// index and the offset of the block that it points to. The error is what is wrong
// with this entry, or hides entries from the index on.
func (r *refcounts) blocks(ctx context.Context, yield func(i, offset uint64, err error) bool) bool {
	return r.reader.pieces(ctx, r.table.offset, r.table.entryOffset(r.table.entries), func(p *piece) bool {
		i := r.table.indexOf(p.offset)
		if p.err != nil {
			return yield(i, 0, p.err)
		}
		for rest := p.bytes; len(rest) > 0; rest = rest[entrySize:] {
			if n := runLength(rest, 0, 0); n > 0 {
				i, rest = i+uint64(n), rest[(n-1)*entrySize:]
				continue
			}
			e := refcountEntry(be64(rest))
			if !yield(i, e.block(), r.entryError(i, e)) {
				return false
			}
			i++
		}
		return true
	})
}

// entriesFrom returns entries of the refcount table, from the i-th on.
func (r *refcounts) entriesFrom(i uint64) ([]byte, error) {
	return r.reader.read(r.table.entryOffset(i), r.table.entryOffset(r.table.entries))
}

// entryAt returns the i-th entry of the refcount table. It reads the piece of the
// table that the entry is in, so that going back and forth is cheap.
func (r *refcounts) entryAt(i uint64) (refcountEntry, error) {
	at, end := r.table.entryOffset(i), r.table.entryOffset(r.table.entries)
	from := max(at&^(pieceBytes-1), r.table.offset)
	p, err := r.reader.window.bytes(SectionRefcountTable, from, min(pieceBytes, end-from), 0)
	if err != nil {
		return 0, err
	}
	return refcountEntry(be64(p[at-from:])), nil
}

// isBlock reports whether a refcount block can be read at an offset.
func (img *Image) isBlock(offset uint64) bool {
	return offset%img.geometry.ClusterSize == 0 && offset < img.src.size
}

// entryError returns what is wrong with the i-th entry of the refcount table.
// Unless it is about reserved bits, the block cannot be read.
func (r *refcounts) entryError(i uint64, e refcountEntry) error {
	at, block := r.table.entryOffset(i), e.block()
	switch {
	case block%r.img.geometry.ClusterSize != 0:
		return errorf(SectionRefcountTable, at, ErrCorrupt, "entry %d points to a refcount block at %#x, not a multiple of the cluster size %#x",
			i, block, r.img.geometry.ClusterSize)
	case block >= r.img.src.size && r.img.isBlock(block&offsetMask) && block&offsetMask != 0:
		return errorf(SectionRefcountTable, at, ErrCorrupt, "entry %d is %#x, an offset past the end of the file; with %s clear it would be %#x, inside the file",
			i, uint64(e), namedBits(block&^offsetMask), block&offsetMask)
	case block >= r.img.src.size:
		return errorf(SectionRefcountTable, at, ErrTruncated, "entry %d points to a refcount block at %#x, but the file ends at %#x", i, block, r.img.src.size)
	case e&refcountReserved != 0:
		return errorf(SectionRefcountTable, at, ErrReadable, "entry %d has reserved bits %#x", i, uint64(e&refcountReserved))
	}
	return nil
}

// namedBits names the bits of a word that are set.
func namedBits(word uint64) string {
	if word&(word-1) == 0 {
		return fmt.Sprintf("bit %d", bits.TrailingZeros64(word))
	}
	return fmt.Sprintf("the bits of %#x", word)
}

// A refcount is the refcount of a cluster, if it is known.
type refcount struct {
	value uint64
	known bool
}

// run returns the refcount of a cluster, and how many clusters from it on have
// the same, up to limit. If the refcount is not known, the error says why, unless
// blocks has returned it: a bad block is reported once.
func (r *refcounts) run(cluster, limit uint64) (refcount, uint64, error) {
	if j := cluster - r.first; j < r.there { // also when cluster comes before
		value, n := refcountRun(r.cur, j, min(limit, r.there-j), uint(r.img.header.RefcountOrder))
		return refcount{value, true}, n, nil
	}
	per := r.img.geometry.RefcountBlockEntries
	i, j := cluster/per, cluster%per
	switch {
	case i >= r.table.entries:
		return refcount{known: r.known}, limit, nil
	case i >= r.repeats.stop:
		return r.notFollowed(cluster, limit)
	}
	p, err := r.entriesFrom(i)
	if err != nil {
		return refcount{}, min(limit, per-j), nil
	}
	entry := refcountEntry(be64(p))
	switch block := entry.block(); {
	case block == 0:
		wanted := ceilDiv(j+min(limit, uint64(len(p))*per), per) // no more, or every short step would count all of it again
		n := uint64(runLength(p[:min(wanted*entrySize, uint64(len(p)))], uint64(entry), 0))
		return refcount{known: true}, min(limit, n*per-j), nil
	case !r.img.isBlock(block):
		return refcount{}, min(limit, per-j), nil
	case !r.repeats.follow(i, block>>r.img.geometry.ClusterBits):
		return r.notFollowed(cluster, limit)
	default:
		n, err := r.load(i, p, j)
		if cluster-r.first < r.there {
			return r.run(cluster, limit)
		}
		return refcount{}, min(limit, n-(cluster-r.first)), r.once(r.at, err)
	}
}

// notFollowed is run for a cluster whose entry of the refcount table, and all that
// come after it, are not followed.
func (r *refcounts) notFollowed(cluster, limit uint64) (refcount, uint64, error) {
	per, at := r.img.geometry.RefcountBlockEntries, r.table.entryOffset(r.repeats.stop)
	i, j := cluster/per, cluster%per
	n := min(r.table.entries-i, ceilDiv(j+limit, per))*per - j
	return refcount{}, min(limit, n), r.once(at, r.repeats.exceeded(SectionRefcountTable, at))
}

// one returns the refcount of any one cluster. Unlike run it reads no more than it
// needs.
func (r *refcounts) one(cluster uint64) (refcount, error) {
	at, known, err := r.locate(cluster)
	if at == 0 {
		return refcount{known: known}, err
	}
	order := uint(r.img.header.RefcountOrder)
	width := max(uint64(1)<<order/8, 1)
	if r.img.src.size-at < width {
		return refcount{}, nil
	}
	p, err := r.img.src.read(SectionRefcountBlock, at, width, "refcount")
	if err != nil {
		return refcount{}, err
	}
	return refcount{refcountAt(p, cluster%(width*8>>order), order), true}, nil
}

// near is run for clusters in any order: it reads only the piece of a block that
// has the refcount. Errors are left to others; the refcount is then not known.
func (r *refcounts) near(cluster, limit uint64) (refcount, uint64) {
	at, known, err := r.locate(cluster)
	if at == 0 {
		return refcount{known: known && err == nil}, 1
	}
	order := uint(r.img.header.RefcountOrder)
	size := min(pieceBytes, r.img.geometry.ClusterSize)
	from := at &^ (size - 1)
	p, err := r.piece.bytes(SectionRefcountBlock, from, size, 0)
	first, n := cluster&(size*8>>order-1), uint64(len(p))*8>>order
	if err != nil || first >= n {
		return refcount{}, 1
	}
	value, n := refcountRun(p, first, min(limit, n-first), order)
	return refcount{value, true}, n
}

// locate returns the file offset of the refcount of a cluster, or of the byte that
// holds it. If there is none, at is 0, and the refcount is 0 if known is true.
func (r *refcounts) locate(cluster uint64) (at uint64, known bool, err error) {
	per := r.img.geometry.RefcountBlockEntries
	switch i := cluster / per; {
	case i >= r.table.entries:
		return 0, r.known, nil
	case i >= r.repeats.stop:
		return 0, false, nil
	}
	entry, err := r.entryAt(cluster / per)
	if err != nil {
		return 0, false, err
	}
	block := entry.block()
	at = block + cluster%per<<r.img.header.RefcountOrder/8
	switch {
	case block == 0:
		return 0, true, nil
	case !r.img.isBlock(block) || at >= r.img.src.size:
		return 0, false, nil
	}
	return at, true, nil
}

// load reads the block of the first of the given entries, the i-th of the table, as
// far as the file has it; where not all of it can be read, the piece that has its
// j-th refcount. It returns how many refcounts that would be.
func (r *refcounts) load(i uint64, entries []byte, j uint64) (n uint64, err error) {
	block := refcountEntry(be64(entries)).block()
	size, order := r.img.geometry.ClusterSize, r.img.header.RefcountOrder
	r.at, r.first = block, i*r.img.geometry.RefcountBlockEntries
	if r.broken != block+1 {
		if r.cur, err = r.block.cluster(block, r.blocksAfter(i, entries)); err != nil {
			r.broken = block + 1
		}
	}
	if r.broken == block+1 {
		size = min(pieceBytes, size)
		piece := j / (size * 8 >> order)
		r.at, r.first = block+piece*size, r.first+piece*(size*8>>order)
		r.cur, err = r.block.bytes(SectionRefcountBlock, r.at, size, size)
	}
	if r.there = uint64(len(r.cur)) * 8 >> order; err == nil && uint64(len(r.cur)) < size {
		err = errorf(SectionRefcountBlock, block, ErrTruncated, "the file ends at %#x, inside the block", r.img.src.size)
	}
	return size * 8 >> order, err
}

// blocksAfter yields the blocks of the entries after the first of the given ones,
// the i-th of the table, that have refcounts of clusters of the file.
func (r *refcounts) blocksAfter(i uint64, entries []byte) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		end := ceilDiv(r.img.geometry.HostClusters, r.img.geometry.RefcountBlockEntries)
		left := min(uint64(len(entries)/entrySize), end-min(i, end))
		for k := uint64(1); k < left; k++ {
			if block := refcountEntry(be64(entries[k*entrySize:])).block(); block != 0 && r.img.isBlock(block) && !yield(block) {
				return
			}
		}
	}
}

// once returns the error about the block or the piece at an offset the first time.
func (r *refcounts) once(at uint64, err error) error {
	if r.failed == at+1 {
		return nil
	}
	r.failed = at + 1
	return err
}

// refcountRun returns the i-th refcount of a block, and how many from it on are
// equal, up to limit. Refcounts are 1<<order bits wide; those narrower than a byte
// begin at its least significant bit.
func refcountRun(p []byte, i, limit uint64, order uint) (value, n uint64) {
	value = refcountAt(p, i, order)
	if limit == 1 || refcountAt(p, i+1, order) != value {
		return value, 1
	}
	pattern := value // eight bytes of the same refcount
	for width := uint(1) << order; width < 64; width *= 2 {
		pattern |= pattern << width
	}
	per := uint64(64) >> order // refcounts in eight bytes
	for n = 1; n < limit; n++ {
		if at := i + n; at%per == 0 {
			n += per * uint64(runLength(p[at/per*8:][:(limit-n)/per*8], pattern, 0))
		}
		if n == limit || refcountAt(p, i+n, order) != value {
			break
		}
	}
	return value, n
}

// refcountAt returns the i-th refcount of a block.
func refcountAt(p []byte, i uint64, order uint) uint64 {
	switch order {
	case 3:
		return uint64(p[i])
	case 4:
		return uint64(be16(p[i*2:]))
	case 5:
		return uint64(be32(p[i*4:]))
	case 6:
		return be64(p[i*8:])
	}
	width := uint64(1) << order
	bit := i * width
	return uint64(p[bit/8]) >> (bit % 8) & (1<<width - 1)
}
