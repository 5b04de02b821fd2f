package fleet

import "math"

// Totals add up rows. A sum is of what is known: an image that could not be read has
// no sizes. What damaged images claim can be more than 1<<64 - 1: sums stop there.
type Totals struct {
	Images   uint64
	ByStatus [statuses]uint64 // by [Status]

	VirtualSize, FileSize, ActualSize     uint64 // bytes, as those below
	SnapshotsOnly, FreeBytes, LeakedBytes uint64
}

// Add adds a row.
func (t *Totals) Add(r *Row) {
	t.Images++
	t.ByStatus[r.Status]++
	if r.Image != nil {
		add(&t.VirtualSize, r.Image.VirtualSize)
	}
	if r.File != nil {
		add(&t.FileSize, r.File.Size)
		add(&t.ActualSize, r.File.Allocated)
	}
	if c := r.Counts; c != nil {
		add(&t.FreeBytes, c.FreeBytes)
		add(&t.LeakedBytes, c.LeakedBytes)
		if c.HasSnapshotsOnly {
			add(&t.SnapshotsOnly, c.SnapshotsOnly)
		}
	}
}

// add adds to a sum.
func add(sum *uint64, n uint64) { *sum += min(n, math.MaxUint64-*sum) }
