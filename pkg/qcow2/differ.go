package qcow2

import (
	"context"
	"math/bits"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A differ compares two mappings side by side: first L1 entry by L1 entry, and
// where these differ, mapping by mapping.
type differ struct {
	ctx        context.Context
	img        *Image
	from, to   *diffSide
	perL1Entry uint64        // guest bytes
	wanted     interval.Span // guest bytes
	all        bool
	backing    bool // what is unallocated is read from a backing file
	hosts      hostUse
	totals     DiffTotals
	yield      func(*Difference, error) bool
	cur        Difference // what can still grow; none if its length is 0
}

func (img *Image) newDiffer(ctx context.Context, o DiffOptions, yield func(*Difference, error) bool) (*differ, error) {
	if err := img.Supported(); err != nil {
		return nil, err
	}
	end := (&GuestOptions{Offset: o.Offset, Length: o.Length}).end()
	h := &img.header
	d := &differ{
		ctx: ctx, img: img, wanted: interval.Span{From: o.Offset, To: end}, all: o.All, yield: yield,
		perL1Entry: img.geometry.perL1Entry(),
		backing:    h.BackingFileOffset != 0 && h.BackingFileSize != 0,
		hosts:      newHostUse(img),
	}
	d.from = d.newSide(ctx, o.From, usedByFrom, usedByFromVMState)
	d.to = d.newSide(ctx, o.To, usedByTo, usedByToVMState)
	return d, nil
}

// compare compares all that is wanted. It returns false if yield did or the context
// is done.
func (d *differ) compare() bool {
	for _, side := range [...]*diffSide{d.from, d.to} {
		if side.mapper == nil && !d.fail(side.err) {
			return false
		}
	}
	end := min(max(d.from.need, d.to.need), ceilDiv(d.wanted.To, d.perL1Entry))
	for i := d.wanted.From / d.perL1Entry; i < end; {
		if err := d.ctx.Err(); err != nil {
			d.fail(err)
			return false
		}
		n, ok := d.compareEntries(i, end)
		if !ok {
			return false
		}
		i += n
	}
	return true
}

// compareEntries compares some L1 entries from one index on and before another, and
// what they map if they differ. It returns how many.
func (d *differ) compareEntries(i, end uint64) (n uint64, ok bool) {
	from, fromNews := d.from.l1(i, end)
	to, toNews := d.to.l1(i, end)
	if fromNews && !d.fail(from.err) || toNews && !d.fail(to.err) {
		return 0, false
	}
	n = d.beforeEnd(i, min(from.n, to.n, end-i))
	same := d.sameTables(&from, &to, 0)
	if from.bytes != nil || to.bytes != nil {
		for k := uint64(1); k < n; k++ {
			if d.sameTables(&from, &to, k) != same {
				n = k
			}
		}
	}
	same = same && d.bothOrNone(i, n)
	if same && !d.all {
		return n, true
	}
	d.from.marks, d.to.marks = !same, !same
	return n, d.compareMappings(d.guestOffset(i), d.guestOffset(i+n), from.err == nil, to.err == nil)
}

// fail yields an error.
func (d *differ) fail(err error) bool {
	d.totals.Incomplete = true
	return d.yield(nil, err)
}

// guestOffset returns the guest offset that an L1 entry maps first, in bytes. It
// saturates.
func (d *differ) guestOffset(i uint64) uint64 {
	if hi, lo := bits.Mul64(i, d.perL1Entry); hi == 0 {
		return lo
	}
	return maxGuestOffset
}

// beforeEnd returns how many of n L1 entries from the i-th on map alike what is on
// the disks, or not: up to where a disk ends, the entry in which it does, or those
// after it.
func (d *differ) beforeEnd(i, n uint64) uint64 {
	for _, size := range [...]uint64{d.from.disk, d.to.disk} {
		for _, border := range [...]uint64{size / d.perL1Entry, ceilDiv(size, d.perL1Entry)} {
			if border > i {
				n = min(n, border-i)
			}
		}
	}
	return n
}

// bothOrNone reports whether what n L1 entries from the i-th on map is on both disks
// or on none: equal tables then mean that nothing differs.
func (d *differ) bothOrNone(i, n uint64) bool {
	small, large := min(d.from.disk, d.to.disk), max(d.from.disk, d.to.disk)
	return small == large || i+n <= small/d.perL1Entry || i >= ceilDiv(large, d.perL1Entry)
}

// sameTables reports whether the k-th entries of two pieces of L1 tables have the
// same L2 table, and nothing is wrong with them.
func (d *differ) sameTables(from, to *piece, k uint64) bool {
	if from.err != nil || to.err != nil {
		return false
	}
	a, b := from.entry(k), to.entry(k)
	if a.L2Offset() != b.L2Offset() || a.Reserved()|b.Reserved() != 0 {
		return false
	}
	_, ok := d.img.tableCluster(a)
	return ok || a.L2Offset() == 0
}

// entry returns the k-th L1 entry of a piece that could be read.
func (p *piece) entry(k uint64) L1Entry {
	if p.bytes == nil {
		return 0
	}
	return L1Entry(be64(p.bytes[k*entrySize:]))
}

// compareMappings compares the mappings of the guest addresses from one up to
// another. A side whose L1 entries cannot be read is unknown there.
func (d *differ) compareMappings(first, end uint64, fromReadable, toReadable bool) bool {
	first, end = max(first, d.wanted.From), min(end, d.wanted.To)
	disk := max(d.from.disk, d.to.disk)
	for at := first; at < end; {
		if !d.cover(d.from, at, end, fromReadable) || !d.cover(d.to, at, end, toReadable) {
			return false
		}
		stop := min(d.from.covered, d.to.covered)
		if !d.merge(at, min(stop, disk)) {
			return false
		}
		at = stop
	}
	return true
}
