package qcow2test

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
)

const copied = 1 << 63

// activeTables writes the active L1 table, its L2 tables and the clusters that
// they map, and returns where the L1 table begins.
func (w *writer) activeTables(im *Image, l1Size uint32) uint64 {
	l1 := w.alloc(uint64(l1Size) * 8)
	tables := map[uint64]uint64{} // L1 index → L2 table offset
	for _, guest := range slices.Sorted(maps.Keys(im.Clusters)) {
		i, j := guest/w.l2Entries(), guest%w.l2Entries()
		if tables[i] == 0 {
			tables[i] = w.alloc(1)
		}
		w.mapCluster(tables[i]+j*w.entrySize, im.Clusters[guest], i, j)
	}
	shared := uint64(copied)
	if len(im.Snapshots) > 0 {
		shared = 0
	}
	for i := range uint64(l1Size) {
		entry := tables[i]
		if entry != 0 {
			entry |= shared
		}
		w.put(l1+i*8, 8, entry, "l1[%d]", i)
	}
	if n := uint64(len(im.Snapshots)); n > 0 {
		w.share(slices.Sorted(maps.Values(tables)), n)
	}
	return l1
}

// mapCluster writes an L2 entry.
func (w *writer) mapCluster(off uint64, kind Kind, i, j uint64) {
	entry, bitmap := uint64(0), uint64(0)
	switch kind {
	case Data:
		entry, bitmap = w.alloc(1)|copied, 0xffffffff
	case Zero:
		entry, bitmap = 1, 0xffffffff<<32
	case ZeroAllocated:
		entry, bitmap = w.alloc(1)|copied|1, 0xffffffff<<32
	}
	if w.entrySize == 16 {
		entry &^= 1
		w.put(off+8, 8, bitmap, "l2[%d][%d].bitmap", i, j)
	}
	w.put(off, 8, entry, "l2[%d][%d]", i, j)
}

// share adds n references to the L2 tables and to every cluster that they map,
// and clears the COPIED bits.
func (w *writer) share(tables []uint64, n uint64) {
	for _, table := range tables {
		w.refs[table>>w.clusterBits] += n
		for off := table; off < table+w.clusterSize(); off += w.entrySize {
			entry := binary.BigEndian.Uint64(w.buf[off:]) &^ copied
			binary.BigEndian.PutUint64(w.buf[off:], entry)
			if host := entry &^ 1; host != 0 {
				w.refs[host>>w.clusterBits] += n
			}
		}
	}
}

// snapshotTable writes a copy of the active L1 table for each snapshot, and
// the table, and returns where it begins.
func (w *writer) snapshotTable(im *Image, h header) uint64 {
	if len(im.Snapshots) == 0 {
		return 0
	}
	l1Bytes := uint64(h.l1Size) * 8
	l1 := make([]uint64, len(im.Snapshots))
	size := uint64(0)
	for i, s := range im.Snapshots {
		l1[i] = w.alloc(l1Bytes)
		copy(w.buf[l1[i]:], w.buf[h.l1Offset:][:l1Bytes])
		size += s.length()
	}
	table := w.alloc(size)
	off := table
	for i, s := range im.Snapshots {
		w.snapshot(off, i, s, l1[i], h.l1Size, cmp.Or(s.DiskSize, im.Size))
		off += s.length()
	}
	return table
}

// extra returns the snapshot's extra data.
func (s Snapshot) extra(diskSize uint64) []byte {
	p := binary.BigEndian.AppendUint64(nil, s.VMStateSize)
	p = binary.BigEndian.AppendUint64(p, diskSize)
	p = append(binary.BigEndian.AppendUint64(p, s.ICount), s.UnknownExtra...)
	switch {
	case s.ExtraSize < 0:
		return nil
	case s.ExtraSize > 0:
		return p[:s.ExtraSize]
	}
	return p
}

// length returns the length of the snapshot's entry in the table.
func (s Snapshot) length() uint64 {
	return (40 + uint64(len(s.extra(0))+len(s.ID)+len(s.Name)) + 7) &^ 7
}

// snapshot writes the i-th entry of the snapshot table.
func (w *writer) snapshot(off uint64, i int, s Snapshot, l1 uint64, l1Size uint32, diskSize uint64) {
	put := func(at uint64, size int, value uint64, name string) {
		w.put(off+at, size, value, "snapshot[%d].%s", i, name)
	}
	extra := s.extra(diskSize)
	put(0, 8, l1, "l1_table_offset")
	put(8, 4, uint64(l1Size), "l1_size")
	put(12, 2, uint64(len(s.ID)), "id_size")
	put(14, 2, uint64(len(s.Name)), "name_size")
	put(16, 4, uint64(s.Seconds), "date_sec")
	put(20, 4, uint64(s.Nanoseconds), "date_nsec")
	put(24, 8, s.VMClock, "vm_clock_nsec")
	put(32, 4, uint64(s.VMState32), "vm_state_size")
	put(36, 4, uint64(len(extra)), "extra_data_size")
	copy(w.buf[off+40:], extra)
	copy(w.buf[off+40+uint64(len(extra)):], s.ID+s.Name)
}

// refcounts writes the refcount structures behind all the rest, and returns
// where the table is and how many clusters it has.
func (w *writer) refcounts(bits uint64) (table, clusters uint64) {
	perBlock := w.clusterSize() * 8 / bits
	blocks := uint64(1)
	for {
		clusters = ceilDiv(blocks*8, w.clusterSize())
		need := ceilDiv(uint64(len(w.refs))+blocks+clusters, perBlock)
		if need == blocks {
			break
		}
		blocks = need
	}
	table = w.alloc(clusters * w.clusterSize())
	first := w.alloc(blocks * w.clusterSize())
	for i := range blocks {
		w.put(table+i*8, 8, first+i*w.clusterSize(), "refcount_table[%d]", i)
	}
	for cluster, n := range w.refs {
		w.putRefcount(first, uint64(cluster), bits, n)
	}
	return table, clusters
}

// putRefcount stores the refcount of a cluster. Entries narrower than a byte
// fill it from its least significant bit.
func (w *writer) putRefcount(blocks, cluster, bits, n uint64) {
	if bits >= 8 {
		w.put(blocks+cluster*bits/8, int(bits/8), n, "refcount[%d]", cluster)
		return
	}
	bit := cluster * bits
	w.buf[blocks+bit/8] |= byte(n << (bit % 8))
}
