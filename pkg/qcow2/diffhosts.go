package qcow2

import "github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"

// Who refers to a host cluster: bits of its word in hostUse.
const (
	usedByFrom uint8 = 1 << iota
	usedByFromVMState
	usedByTo
	usedByToVMState
)

// What becomes of a host cluster: indexes of the counts of hostUse.
const (
	hostKept = iota // both sides refer to it, or none
	hostWritten
	hostDropped
	hostVMStateWritten
	hostVMStateDropped

	hostFates // how many
)

// A hostUse counts the host clusters to which only one side of a diff refers. It
// takes a byte for each cluster that is marked.
type hostUse struct {
	img    *Image
	users  *sparse.Builder[uint8]
	counts [hostFates]uint64 // clusters
}

func newHostUse(img *Image) hostUse {
	return hostUse{img: img, users: sparse.NewBuilder[uint8](img.geometry.HostClusters)}
}

// mark adds a user of the clusters that a mapping points to. Those past the end of
// the file, and those of a data file, are not counted.
func (h *hostUse) mark(m *Mapping, user uint8) {
	if !m.HasHost || h.img.hasDataFile() {
		return
	}
	end := m.HostOffset + m.Length
	if m.Kind == MappingCompressed {
		end = CompressedEnd(m.HostOffset, m.Sectors)
	}
	shift := h.img.geometry.ClusterBits
	for c := m.HostOffset >> shift; c < min(h.img.geometry.ClustersIn(end), h.img.geometry.HostClusters); c++ {
		users := h.users.At(c)
		if *users&user == 0 {
			h.counts[hostFate(*users)]--
			*users |= user
			h.counts[hostFate(*users)]++
		}
	}
}

// hostFate returns what becomes of a cluster with the given users.
func hostFate(users uint8) int {
	from, to := users&(usedByFrom|usedByFromVMState), users&(usedByTo|usedByToVMState)
	switch {
	case from != 0 && to != 0 || users == 0:
		return hostKept
	case to&usedByTo != 0:
		return hostWritten
	case to != 0:
		return hostVMStateWritten
	case from&usedByFrom != 0:
		return hostDropped
	}
	return hostVMStateDropped
}

// addTo sets the totals of host clusters.
func (h *hostUse) addTo(t *DiffTotals) {
	size := h.img.geometry.ClusterSize
	t.Written, t.Dropped = h.counts[hostWritten]*size, h.counts[hostDropped]*size
	t.VMStateWritten, t.VMStateDropped = h.counts[hostVMStateWritten]*size, h.counts[hostVMStateDropped]*size
}
