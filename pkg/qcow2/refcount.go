package qcow2

import (
	"context"
	"encoding/binary"
)

// refcountMask is the offset in an entry of the refcount table: bits 9 to 63.
const refcountMask = ^uint64(1<<9 - 1)

// refcountTableError returns why the refcount table is not read, as an [*Error].
func (img *Image) refcountTableError() error {
	v := validity{img: img}
	v.refcountTable()
	for _, e := range v.errs {
		return errorf(SectionRefcountTable, e.Offset, e.Kind, "%s", e.Detail)
	}
	return nil
}

// refcountTable returns where the refcount table lies: its offset in bytes, and
// its entries as far as the file reaches. The error is an [*Error]: the table is
// not read, or the file ends inside it.
func (img *Image) refcountTable() (offset, entries uint64, err error) {
	if err := img.refcountTableError(); err != nil {
		return 0, 0, err
	}
	offset, entries = img.header.RefcountTableOffset, img.geometry.RefcountTableEntries
	if there := (img.src.size - min(offset, img.src.size)) / entrySize; there < entries {
		return offset, there, errorf(SectionRefcountTable, offset+there*entrySize, ErrTruncated,
			"the file ends at %#x, before entry %d of %d", img.src.size, there, entries)
	}
	return offset, entries, nil
}

// A refcounts reads refcounts in the order of the clusters.
type refcounts struct {
	img     *Image
	table   entryReader
	block   window
	offset  uint64 // of the refcount table, in bytes
	entries uint64 // of the refcount table
	known   bool   // the table was read to its end
	failed  uint64 // the block whose error was returned last, + 1

	cur   []byte // the block in hand
	at    uint64 // its offset, in bytes
	first uint64 // the cluster of its first refcount
	there uint64 // refcounts in it
}

// newRefcounts returns a reader. Refcounts of a table that refcountTable has an
// error for are unknown as far as the error reaches.
func newRefcounts(img *Image) *refcounts {
	offset, entries, err := img.refcountTable()
	return &refcounts{img: img, table: newEntryReader(&img.src, SectionRefcountTable), block: window{src: &img.src}, offset: offset, entries: entries, known: err == nil}
}

// blocks calls yield for every entry of the refcount table that is not 0, with
// its index and the offset of the block that it points to. The error is what is
// wrong with the entry, or hides entries from the index on.
func (r *refcounts) blocks(ctx context.Context, yield func(i, offset uint64, err error) bool) bool {
	return r.table.pieces(ctx, r.offset, r.offset+r.entries*entrySize, nil, func(at uint64, p []byte, err error) bool {
		i := (at - r.offset) / entrySize
		if err != nil {
			return yield(i, 0, err)
		}
		for ; len(p) > 0; p = p[entrySize:] {
			if n := runLength(p, 0, 0); n > 0 {
				i, p = i+uint64(n), p[(n-1)*entrySize:]
				continue
			}
			if !yield(i, binary.BigEndian.Uint64(p)&refcountMask, r.entryError(i, binary.BigEndian.Uint64(p))) {
				return false
			}
			i++
		}
		return true
	})
}

// pieceAt returns entries of the refcount table, from the i-th on.
func (r *refcounts) pieceAt(i uint64) ([]byte, error) {
	return r.table.at(r.offset+i*entrySize, r.offset+r.entries*entrySize)
}

// entryError returns what is wrong with the i-th entry of the refcount table.
// But for reserved bits, its block cannot be read.
func (r *refcounts) entryError(i, entry uint64) error {
	at, block := r.offset+i*entrySize, entry&refcountMask
	switch {
	case block%r.img.geometry.ClusterSize != 0:
		return errorf(SectionRefcountTable, at, ErrCorrupt, "entry %d points to a refcount block at %#x, not a multiple of the cluster size %#x",
			i, block, r.img.geometry.ClusterSize)
	case block >= r.img.src.size:
		return errorf(SectionRefcountTable, at, ErrTruncated, "entry %d points to a refcount block at %#x, but the file ends at %#x", i, block, r.img.src.size)
	case entry&^refcountMask != 0:
		return errorf(SectionRefcountTable, at, ErrCorrupt, "entry %d has reserved bits %#x", i, entry&^refcountMask)
	}
	return nil
}

// A refcount is what the refcount of some clusters is.
type refcount struct {
	value uint64
	known bool
}

// run returns the refcount of a cluster, and how many clusters from it on have
// the same, up to limit. The error, an [*Error] once for every block, is why it
// is not known, unless blocks has told.
func (r *refcounts) run(cluster, limit uint64) (refcount, uint64, error) {
	if j := cluster - r.first; j < r.there { // also when cluster comes before
		value, n := refcountRun(r.cur, j, min(limit, r.there-j), uint(r.img.header.RefcountOrder))
		return refcount{value, true}, n, nil
	}
	per := r.img.geometry.RefcountBlockEntries
	i, j := cluster/per, cluster%per
	if i >= r.entries {
		return refcount{known: r.known}, limit, nil
	}
	p, err := r.pieceAt(i)
	if err != nil {
		return refcount{}, min(limit, per-j), nil
	}
	entry := binary.BigEndian.Uint64(p)
	switch block := entry & refcountMask; {
	case block == 0:
		wanted := ceilDiv(j+min(limit, uint64(len(p))*per), per) // no more, or short steps would count it all again and again
		n := uint64(runLength(p[:min(wanted*entrySize, uint64(len(p)))], entry, 0))
		return refcount{known: true}, min(limit, n*per-j), nil
	case block%r.img.geometry.ClusterSize != 0 || block >= r.img.src.size:
		return refcount{}, min(limit, per-j), nil
	default:
		err = r.load(i, block)
	}
	if j < r.there {
		return r.run(cluster, limit)
	}
	return refcount{}, min(limit, per-j), r.once(i, err)
}

// one returns the refcount of one cluster, wherever it is. Unlike run it reads no
// more than it needs.
func (r *refcounts) one(cluster uint64) (refcount, error) {
	at, known, err := r.place(cluster)
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

// place returns the file offset of the refcount of a cluster, of the byte that it
// is in where it has fewer bits. It is 0 where there is none: then the refcount
// is 0 if that is known.
func (r *refcounts) place(cluster uint64) (at uint64, known bool, err error) {
	per := r.img.geometry.RefcountBlockEntries
	if cluster/per >= r.entries {
		return 0, r.known, nil
	}
	p, err := r.pieceAt(cluster / per)
	if err != nil {
		return 0, false, err
	}
	block := binary.BigEndian.Uint64(p) & refcountMask
	at = block + cluster%per<<r.img.header.RefcountOrder/8
	switch {
	case block == 0:
		return 0, true, nil
	case block%r.img.geometry.ClusterSize != 0 || block >= r.img.src.size || at >= r.img.src.size:
		return 0, false, nil
	}
	return at, true, nil
}

// load takes the i-th block in hand, as far as the file has it.
func (r *refcounts) load(i, block uint64) error {
	size := r.img.geometry.ClusterSize
	p, err := r.block.bytes(SectionRefcountBlock, block, size, size)
	r.cur, r.at, r.first = p, block, i*r.img.geometry.RefcountBlockEntries
	r.there = uint64(len(p)) * 8 >> r.img.header.RefcountOrder
	if err == nil && uint64(len(p)) < size {
		err = errorf(SectionRefcountBlock, block, ErrTruncated, "the file ends at %#x, inside the block", r.img.src.size)
	}
	return err
}

// once returns the error of the i-th block the first time.
func (r *refcounts) once(i uint64, err error) error {
	if r.failed == i+1 {
		return nil
	}
	r.failed = i + 1
	return err
}

// refcountRun returns the i-th refcount of a block, and how many from it on are
// the same, up to limit. Refcounts are 1<<order bits wide; those narrower than
// a byte begin at its least significant bit.
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
	for n = 1; n < limit; {
		if at := i + n; at%per == 0 && limit-n >= per && binary.BigEndian.Uint64(p[at/per*8:]) == pattern {
			n += per
			continue
		}
		if refcountAt(p, i+n, order) != value {
			break
		}
		n++
	}
	return value, n
}

// refcountAt returns the i-th refcount of a block.
func refcountAt(p []byte, i uint64, order uint) uint64 {
	switch order {
	case 3:
		return uint64(p[i])
	case 4:
		return uint64(binary.BigEndian.Uint16(p[i*2:]))
	case 5:
		return uint64(binary.BigEndian.Uint32(p[i*4:]))
	case 6:
		return binary.BigEndian.Uint64(p[i*8:])
	}
	width := uint64(1) << order
	bit := i * width
	return uint64(p[bit/8]) >> (bit % 8) & (1<<width - 1)
}
