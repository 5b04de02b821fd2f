package qcow2

import (
	"context"
	"iter"
)

// Change is what may have happened to a range of guest addresses between two
// mappings. Metadata can prove that nothing did, but never that something did: a
// cluster that was written again with what it held is not the same cluster.
type Change uint8

// The changes.
const (
	ChangeSame      Change = iota // it certainly reads the same
	ChangeWritten                 // To has data there
	ChangeZeroed                  // To reads as zeros there
	ChangeDiscarded               // To reads the backing file there
	ChangeGrown                   // From ends before it
	ChangeCut                     // To ends before it
	ChangeUnknown                 // a table or an entry of either is damaged
)

// ChangeNames returns the names of the changes in their order.
func ChangeNames() []string {
	return []string{"same", "written", "zeroed", "discarded", "grown", "cut", "unknown"}
}

// String returns the name of the change.
func (c Change) String() string { return nameOf(ChangeNames(), c, "unknown-") }

// A Difference is a range of guest addresses that may read differently in two
// mappings, and is mapped in one way in each.
type Difference struct {
	Start  uint64 // guest offset in bytes
	Length uint64 // bytes
	Change Change
	// Data is whether To has data there, Zero whether it certainly reads as zeros.
	// What it reads from the backing file, and what is damaged, is neither.
	Data, Zero bool
	// From and To are the mappings of this range, without SubclusterBitmap. Their
	// problems make the change unknown.
	From, To Mapping
	// HasFrom and HasTo are whether there is a mapping: not past the end of the
	// disk, nor where a table cannot be read.
	HasFrom, HasTo bool
}

// DiffOptions selects what [Image.Diff] compares, and what it yields.
type DiffOptions struct {
	// From and To are the snapshots whose mappings are compared; nil: the active
	// image.
	From, To *Snapshot
	// Offset and Length select a range of guest addresses, in bytes; a Length of 0
	// goes to the end, VM state included. Differences are cut to it, and the totals
	// are those of the range.
	Offset, Length uint64
	// All also yields what is the same, and so reads all L2 tables.
	All bool
}

// DiffTotals are sums over all differences, in bytes.
type DiffTotals struct {
	Changed uint64 // all but ChangeSame
	// Data and Zero are the parts of Changed where Data and Zero of the
	// [Difference] are set, Unknown the part whose change is ChangeUnknown.
	Data, Zero, Unknown uint64
	Ranges              uint64 // how many differences, but for ChangeSame
	// Written counts the host clusters, as bytes, that the disk of To refers to and
	// From does not; Dropped those of From that To does not refer to.
	// VMStateWritten and VMStateDropped count what only the VM state of one side
	// refers to.
	//
	// They count whole clusters of the image file, compressed clusters by the host
	// clusters that they touch, as far as the L2 tables differ: a host cluster where
	// compressed data lie beside those of a table that both sides share can be
	// counted. Metadata are not, and in an image with an external data file there is
	// nothing to count.
	Written, Dropped               uint64
	VMStateWritten, VMStateDropped uint64
	// Incomplete is whether a table or an entry is damaged on either side: what is
	// counted of host clusters is then too high or too low.
	Incomplete bool
}

// Diff compares the mappings of two snapshots, or of one and the active image. It
// yields in the order of the guest addresses what may differ, and fills the totals
// by the time that the sequence ends. A Difference is valid until the next is
// yielded.
//
// Two mappings certainly read the same where both are data at the same host offset,
// the same compressed data, or zeros, or where both read the backing file. An
// unallocated range reads as zeros if there is no backing file.
//
// What cannot be read is an [*Error] with a nil Difference, and the range is
// unknown. L2 tables that both sides share are not read without All, whether they
// are damaged or not: the cost follows what differs. It takes memory for some
// thousand mappings, and a byte or so for each cluster that the tables read refer
// to. When ctx is done the sequence ends with its error.
func (img *Image) Diff(ctx context.Context, o DiffOptions) (iter.Seq2[*Difference, error], *DiffTotals) {
	totals := new(DiffTotals)
	return func(yield func(*Difference, error) bool) {
		d, err := img.newDiffer(ctx, o, yield)
		if err != nil {
			yield(nil, err)
			return
		}
		_ = d.compare() && d.flush()
		d.hosts.addTo(&d.totals)
		*totals = d.totals
	}, totals
}
