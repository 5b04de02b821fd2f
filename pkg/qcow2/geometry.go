package qcow2

import "math/bits"

const (
	minClusterBits           = 9
	maxClusterBits           = 21
	minClusterBitsExtendedL2 = 14
	maxRefcountOrder         = 6
	subclustersPerCluster    = 32 // with extended L2 entries
	maxGuestOffset           = 1<<64 - 1
)

// Geometry holds the sizes and counts that follow from the header.
type Geometry struct {
	ClusterBits uint   // 9 to 21
	ClusterSize uint64 // bytes

	// VirtualSize is the disk size that the guest sees, in bytes.
	VirtualSize uint64
	// Clusters is the number of guest clusters, the partial last one included.
	Clusters uint64
	// HostClusters is the number of clusters of the image file, the partial
	// last one included.
	HostClusters uint64

	RefcountBits uint64 // width of a refcount, 1 to 64
	// RefcountBlockEntries is the number of refcounts in a refcount block.
	RefcountBlockEntries uint64
	// RefcountTableEntries is the number of entries of the refcount table, as
	// the header claims.
	RefcountTableEntries uint64

	L2EntrySize uint64 // bytes: 8, or 16 with extended L2 entries
	L2Entries   uint64 // entries of an L2 table
	// SubclusterSize is the unit of allocation in bytes: with extended L2
	// entries a 32nd of the cluster size, else the cluster size.
	SubclusterSize uint64

	// L1Entries is the number of L1 entries, and so of L2 tables, that the disk
	// needs.
	L1Entries uint64
	// L2CacheSize is how large a cache must be to hold all L2 tables, in bytes.
	L2CacheSize uint64
	// VMStateOffset is the guest offset at which VM state begins: that of the
	// first L1 entry wholly past the disk, in bytes.
	VMStateOffset uint64
}

// newGeometry derives the geometry of an image whose file has fileSize bytes. The
// error is an [*Error] about the field that prevents it.
func newGeometry(h *Header, fileSize uint64) (Geometry, error) {
	if err := geometryErrors(h); len(err) > 0 {
		return Geometry{}, err[0]
	}
	g := Geometry{
		ClusterBits:    uint(h.ClusterBits),
		ClusterSize:    1 << h.ClusterBits,
		VirtualSize:    h.VirtualSize(),
		RefcountBits:   1 << h.RefcountOrder,
		L2EntrySize:    8,
		SubclusterSize: 1 << h.ClusterBits,
	}
	if h.IncompatibleFeatures&ExtendedL2 != 0 {
		g.L2EntrySize = 16
		g.SubclusterSize = g.ClusterSize / subclustersPerCluster
	}
	g.L2Entries = g.ClusterSize / g.L2EntrySize
	g.Clusters = g.ClustersIn(g.VirtualSize)
	g.HostClusters = g.ClustersIn(fileSize)
	g.RefcountBlockEntries = g.ClusterSize * 8 / g.RefcountBits
	g.RefcountTableEntries = uint64(h.RefcountTableClusters) * g.ClusterSize / 8
	g.L1Entries = g.l1Entries(h.Size)
	g.L2CacheSize = g.L1Entries * g.ClusterSize
	g.VMStateOffset = g.VMStateOffsetOf(h.Size)
	return g, nil
}

// l1Entries returns how many L1 entries a disk of size bytes needs.
func (g Geometry) l1Entries(size uint64) uint64 {
	return ceilDiv(size, g.perL1Entry())
}

// perL1Entry returns how many guest bytes an L1 entry maps.
func (g *Geometry) perL1Entry() uint64 { return g.ClusterSize * g.L2Entries }

// ClustersIn returns how many clusters a number of bytes takes, the partial last
// one included. It does not overflow.
func (g Geometry) ClustersIn(bytes uint64) uint64 {
	n := bytes >> g.ClusterBits
	if bytes&(g.ClusterSize-1) != 0 {
		n++
	}
	return n
}

// VMStateOffsetOf returns the guest offset at which VM state begins after a disk of
// size bytes, such as that of a snapshot, in bytes. It saturates: no room is left
// after the largest disks.
func (g Geometry) VMStateOffsetOf(size uint64) uint64 {
	hi, lo := bits.Mul64(g.l1Entries(size), g.perL1Entry())
	if hi != 0 {
		return ^uint64(0)
	}
	return lo
}

// guestOffset returns the guest offset of a cluster, in bytes. It saturates: an L1
// table can reach past the end of the address space.
func (g *Geometry) guestOffset(cluster uint64) uint64 {
	if cluster > maxGuestOffset>>g.ClusterBits {
		return maxGuestOffset
	}
	return cluster << g.ClusterBits
}

// geometryErrors returns what keeps the geometry from being known.
func geometryErrors(h *Header) []*Error {
	var errs []*Error
	outside := func(field string, value, least, most uint64) {
		if value < least || value > most {
			errs = append(errs, errorf(SectionHeader, fieldOffset(field), ErrCorrupt, "%s %d is outside %d to %d", field, value, least, most))
		}
	}
	if h.Version == 3 && h.stored < headerLengthV3 {
		errs = append(errs, errorf(SectionHeader, uint64(h.stored), ErrTruncated,
			"the file ends inside the header: it has %d bytes of at least %d", h.stored, headerLengthV3))
	}
	least := uint64(minClusterBits)
	if h.IncompatibleFeatures&ExtendedL2 != 0 {
		least = minClusterBitsExtendedL2
	}
	outside("cluster_bits", uint64(h.ClusterBits), least, maxClusterBits)
	outside("refcount_order", uint64(h.RefcountOrder), 0, maxRefcountOrder)
	if h.Version == 3 && h.stored >= headerLengthV3 {
		most := uint64(1) << min(max(h.ClusterBits, minClusterBits), maxClusterBits)
		outside("header_length", uint64(h.HeaderLength), headerLengthV3, most)
	}
	return errs
}

// ceilDiv returns a/b rounded up, for any a: it does not overflow.
func ceilDiv(a, b uint64) uint64 {
	q := a / b
	if a%b != 0 {
		q++
	}
	return q
}
