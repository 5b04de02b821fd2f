package qcow2

// The layout of an image that qemu-img makes by default.
const (
	compactClusterBits = 16
	compactClusterSize = 1 << compactClusterBits
	compactTableBits   = compactClusterBits + compactClusterBits - 3 // guest bytes of an L2 table
	compactBlock       = compactClusterSize / 2                      // refcounts in a refcount block
)

// A compactCounter counts the clusters and L2 tables that a copy of a disk needs.
type compactCounter struct {
	clusters, tables         uint64
	nextCluster, nextL2Table uint64 // the first that is not counted yet
}

// add adds guest bytes with data, from start up to end, which come after all that
// were added before.
func (c *compactCounter) add(start, end uint64) {
	c.clusters += newUnits(&c.nextCluster, start>>compactClusterBits, (end-1)>>compactClusterBits)
	c.tables += newUnits(&c.nextL2Table, start>>compactTableBits, (end-1)>>compactTableBits)
}

// newUnits returns how many units from first to last come at or after next, and
// sets next to the one after last.
func newUnits(next *uint64, first, last uint64) uint64 {
	if last < *next {
		return 0
	}
	n := last + 1 - max(first, *next)
	*next = last + 1
	return n
}

// size returns how large the copy of a disk of the given size is, both in bytes:
// header, L1 table, L2 tables, clusters of data, and the refcounts of them all.
func (c *compactCounter) size(disk uint64) uint64 {
	l1 := ceilDiv(disk, 1<<compactTableBits) * entrySize
	clusters, tables := min(c.clusters, ceilDiv(disk, compactClusterSize)), min(c.tables, ceilDiv(disk, 1<<compactTableBits))
	if clusters == 0 { // the file ends with the L1 table
		return 3*compactClusterSize + l1
	}
	counted := 1 + ceilDiv(l1, compactClusterSize) + tables + clusters
	for blocks, table := uint64(1), uint64(1); ; {
		all := counted + blocks + table
		b := ceilDiv(all, compactBlock)
		t := ceilDiv(b*entrySize, compactClusterSize)
		if b == blocks && t == table {
			return all * compactClusterSize
		}
		blocks, table = b, t
	}
}

// addCompact sets how large a compact copy is. A copy of an image with a backing
// file would include that file.
func (u *Usage) addCompact(img *Image, c *compactCounter) {
	if img.header.BackingFileOffset == 0 && !img.hasDataFile() {
		u.CompactAtMost, u.HasCompact = c.size(img.geometry.VirtualSize), true
	}
}
