package qcow2

// ReclaimKind is a kind of space that can be given back to the file system, or to
// the image to be used again.
type ReclaimKind uint8

// The kinds, and how to give them back.
const (
	// ReclaimFree: free clusters before ImageEndOffset. A copy leaves them out, and
	// holes can be punched there.
	ReclaimFree ReclaimKind = iota
	// ReclaimTail: everything after ImageEndOffset. The file can be cut there.
	ReclaimTail
	// ReclaimZeroAllocated: clusters all of whose references are zero-allocated. A
	// discard by the guest frees those that no snapshot has. A cluster that is
	// zero-allocated for one owner and data for another does not count: a hole
	// there would destroy the other's data.
	ReclaimZeroAllocated
	// ReclaimLeaked: leaked clusters. A repair frees them.
	ReclaimLeaked
	// ReclaimSnapshots: clusters to which only snapshots refer. Deleting all
	// snapshots frees them.
	ReclaimSnapshots
)

// ReclaimKindNames returns the names of the kinds in their order.
func ReclaimKindNames() []string {
	return []string{"free", "tail", "zero-allocated", "leaked", "snapshots"}
}

// String returns the name of the kind.
func (k ReclaimKind) String() string { return nameOf(ReclaimKindNames(), k, "unknown-") }

// ReclaimMethodNames returns, in the order of the kinds, a word for how to give
// each back.
func ReclaimMethodNames() []string {
	return []string{"copy-or-punch", "truncate", "discard", "check-repair", "delete-snapshots"}
}

// Reclaim is how much of a kind there is.
type Reclaim struct {
	Kind     ReclaimKind
	Clusters uint64
	Bytes    uint64
	OnDisk   uint64 // bytes that do not lie in holes, if HasOnDisk: only they take space of the file system
}

// reclaimable are all kinds that an image can have.
type reclaimable [ReclaimSnapshots + 1]Reclaim

// add adds clusters of a kind.
func (r *reclaimable) add(kind ReclaimKind, n usageRun) {
	k := &r[kind]
	k.Clusters += n.clusters
	k.Bytes += n.bytes
	k.OnDisk += n.onDisk
}

// addReclaim sets what can be reclaimed, those kinds that are known.
func (u *Usage) addReclaim(all *reclaimable) {
	for i, r := range all {
		r.Kind = ReclaimKind(i)
		if r.Kind == ReclaimFree && u.TakenForFree > 0 || r.Kind == ReclaimSnapshots && u.Owners == nil {
			continue
		}
		u.Reclaim = append(u.Reclaim, r)
	}
}
