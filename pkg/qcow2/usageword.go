package qcow2

// A usageWord sums up the references to a host cluster: the kind of the first, the
// set of the owners, and flags. It is 0 if there is none.
type usageWord uint32

const (
	usageKind    usageWord = 1<<4 - 1 // the kind + 1
	usageDamaged usageWord = 1 << 4   // a reference has a problem
	usageContent usageWord = 1 << 5   // its content matters: a reference is not zero-allocated
	usageOwners            = 6        // the lowest bit of the set, which has rangeset.Bits
)

// newUsageWord returns the word of a cluster with one reference, of the given kind
// and owners.
func newUsageWord(kind HostKind, owners uint32, p Problems) usageWord {
	w := usageWord(kind+1) | usageWord(owners)<<usageOwners
	if p != 0 {
		w |= usageDamaged
	}
	if kind != HostZeroAllocated {
		w |= usageContent
	}
	return w
}

func (w usageWord) kind() HostKind { return HostKind(w&usageKind) - 1 }

func (w usageWord) owners() uint32 { return uint32(w >> usageOwners) }

func (w usageWord) damaged() bool { return w&usageDamaged != 0 }

// readsZero reports whether all references to the cluster are zero-allocated, so
// that its content is never read.
func (w usageWord) readsZero() bool { return w.kind() == HostZeroAllocated && w&usageContent == 0 }

// joined returns the word of a cluster after another reference, fresh, given all
// its owners.
func (w usageWord) joined(fresh usageWord, owners uint32) usageWord {
	all := w&usageKind | (w|fresh)&(usageDamaged|usageContent) | usageWord(owners)<<usageOwners
	if w.kind().overlaps(fresh.kind()) {
		all |= usageDamaged
	}
	return all
}
