package qcow2test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// snapshotTable writes the L1 table of each snapshot, and the table, and
// returns where it begins.
func (w *writer) snapshotTable(im *Image, h header) uint64 {
	if len(im.Snapshots) == 0 {
		return 0
	}
	l1 := make([]uint64, len(im.Snapshots))
	size := uint64(0)
	snapshots := slices.Clone(im.Snapshots)
	for i := range snapshots {
		s := &snapshots[i]
		s.DiskSize = cmp.Or(s.DiskSize, im.Size)
		l1[i] = w.snapshotTables(fmt.Sprintf("snapshot[%d].", i), s, h)
		size += s.length()
	}
	table := w.alloc(size)
	off := table
	for i, s := range snapshots {
		w.snapshot(off, i, s, l1[i])
		off += s.length()
	}
	return table
}

// snapshotTables writes the L1 table of a snapshot: that of its own clusters,
// or a copy of the active one.
func (w *writer) snapshotTables(prefix string, s *Snapshot, h header) uint64 {
	if s.Clusters != nil {
		own := mapping{clusters: s.Clusters}
		s.L1Size = cmp.Or(s.L1Size, w.l1Size(s.DiskSize, own))
		return w.tables(prefix, s.L1Size, own)
	}
	s.L1Size = cmp.Or(s.L1Size, h.l1Size)
	l1 := w.tables(prefix, s.L1Size, mapping{})
	copy(w.buf[l1:][:s.L1Size*8], w.buf[h.l1Offset:][:h.l1Size*8])
	w.share(l1, s.L1Size)
	return l1
}

// extra returns the snapshot's extra data.
func (s Snapshot) extra() []byte {
	p := binary.BigEndian.AppendUint64(nil, s.VMStateSize)
	p = binary.BigEndian.AppendUint64(p, s.DiskSize)
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
	return (40 + uint64(len(s.extra())+len(s.ID)+len(s.Name)) + 7) &^ 7
}

// snapshot writes the i-th entry of the snapshot table.
func (w *writer) snapshot(off uint64, i int, s Snapshot, l1 uint64) {
	put := func(at uint64, size int, value uint64, name string) {
		w.put(off+at, size, value, "snapshot[%d].%s", i, name)
	}
	extra := s.extra()
	put(0, 8, l1, "l1_table_offset")
	put(8, 4, uint64(s.L1Size), "l1_size")
	put(12, 2, uint64(len(s.ID)), "id_size")
	put(14, 2, uint64(len(s.Name)), "name_size")
	put(16, 4, uint64(s.Seconds), "date_sec")
	put(20, 4, uint64(s.Nanoseconds), "date_nsec")
	put(24, 8, s.VMClock, "vm_clock_nsec")
	put(32, 4, uint64(s.VMState32), "vm_state_size")
	put(36, 4, uint64(len(extra)), "extra_data_size")
	copy(w.buf[off+40:], extra)
	for j, name := range []string{"vm_state_size_large", "disk_size", "icount"} {
		if at := uint64(j) * 8; at+8 <= uint64(len(extra)) {
			put(40+at, 8, binary.BigEndian.Uint64(extra[at:]), name)
		}
	}
	copy(w.buf[off+40+uint64(len(extra)):], s.ID+s.Name)
}

// refcounts writes the refcount structures after everything else, and returns where
// the table is and how many clusters it has.
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
