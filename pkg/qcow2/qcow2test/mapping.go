package qcow2test

import (
	"encoding/binary"
	"iter"
	"maps"
	"slices"
)

const (
	copied     = 1 << 63
	compressed = 1 << 62
	offsetMask = 1<<56 - 1<<9
)

// A mapping is what one L1 table maps, by guest cluster.
type mapping struct {
	clusters    map[uint64]Kind
	compressed  map[uint64]Compressed
	subclusters map[uint64]uint64
}

// guests returns the guest clusters that are mapped, in order.
func (m mapping) guests() []uint64 {
	all := slices.AppendSeq(slices.Collect(maps.Keys(m.clusters)), maps.Keys(m.compressed))
	slices.Sort(all)
	return slices.Compact(all)
}

// l1Size returns how many L1 entries a disk of size bytes and a mapping need.
func (w *writer) l1Size(size uint64, m mapping) uint32 {
	n := ceilDiv(size, w.clusterSize()*w.l2Entries())
	if all := m.guests(); len(all) > 0 {
		n = max(n, all[len(all)-1]/w.l2Entries()+1)
	}
	return uint32(n)
}

// tables writes an L1 table, its L2 tables and the clusters that they map, and
// returns where the L1 table begins. The names of the fields begin with prefix.
func (w *writer) tables(prefix string, l1Size uint32, m mapping) uint64 {
	l1 := w.alloc(uint64(l1Size) * 8)
	tables := make([]uint64, l1Size)
	for _, guest := range m.guests() {
		i, j := guest/w.l2Entries(), guest%w.l2Entries()
		if tables[i] == 0 {
			tables[i] = w.alloc(1)
		}
		off := tables[i] + j*w.entrySize
		entry, bitmap := w.entry(guest, m)
		w.put(off, 8, entry, "%sl2[%d][%d]", prefix, i, j)
		if w.entrySize == 16 {
			w.put(off+8, 8, bitmap, "%sl2[%d][%d].bitmap", prefix, i, j)
		}
	}
	for i, table := range tables {
		w.put(l1+uint64(i)*8, 8, table, "%sl1[%d]", prefix, i)
	}
	return l1
}

// entry returns the L2 entry of a guest cluster, and allocates what it maps.
func (w *writer) entry(guest uint64, m mapping) (entry, bitmap uint64) {
	if c, ok := m.compressed[guest]; ok {
		entry = compressed | (c.Sectors-1)<<(70-w.clusterBits) | (w.compressed + c.Offset)
		w.refer(entry)
		return entry, 0
	}
	switch m.clusters[guest] {
	case Data:
		entry, bitmap = w.allocData(guest), 0xffffffff
	case Zero:
		entry, bitmap = 1, 0xffffffff<<32
	case ZeroAllocated:
		entry, bitmap = w.allocData(guest)|1, 0xffffffff<<32
	}
	if w.entrySize == 16 {
		entry &^= 1
	}
	if b, ok := m.subclusters[guest]; ok {
		bitmap = b
	}
	return entry, bitmap
}

// allocData allocates the host cluster of a guest cluster.
func (w *writer) allocData(guest uint64) uint64 {
	if w.dataFile {
		return guest<<w.clusterBits | copied
	}
	return w.alloc(1)
}

// allocCompressed allocates the area of compressed data, to which nothing
// refers yet.
func (w *writer) allocCompressed(all map[uint64]Compressed) {
	end := uint64(0)
	for _, c := range all {
		end = max(end, c.Offset&^511+c.Sectors*512)
	}
	w.compressed = w.alloc(end)
	clear(w.refs[w.compressed>>w.clusterBits:])
}

// refer adds a reference to each host cluster of an L2 entry.
func (w *writer) refer(entry uint64) {
	first, last := entry&offsetMask, entry&offsetMask
	if entry&compressed != 0 {
		x := 70 - w.clusterBits
		first = entry & (1<<x - 1)
		last = first&^511 + (entry&^compressed>>x+1)*512 - 1
	}
	if first == 0 || w.dataFile {
		return
	}
	for c := first >> w.clusterBits; c <= last>>w.clusterBits; c++ {
		w.refs[c]++
	}
}

// words yields the words of a table that are not 0, looking every step bytes, with
// their offsets.
func (w *writer) words(table, size, step uint64) iter.Seq2[uint64, uint64] {
	return func(yield func(off, word uint64) bool) {
		for off := table; off < table+size; off += step {
			if word := binary.BigEndian.Uint64(w.buf[off:]); word != 0 && !yield(off, word) {
				return
			}
		}
	}
}

// share adds a reference to each L2 table of an L1 table, and to what those
// map.
func (w *writer) share(l1 uint64, l1Size uint32) {
	for _, table := range w.words(l1, uint64(l1Size)*8, 8) {
		w.refer(table)
		for _, entry := range w.words(table, w.clusterSize(), w.entrySize) {
			w.refer(entry)
		}
	}
}

// setCopied sets the COPIED bits in the tables of the active image, where the
// refcount is 1.
func (w *writer) setCopied(l1 uint64, l1Size uint32) {
	set := func(off, entry uint64) {
		if host := entry & offsetMask; host != 0 && entry&compressed == 0 && w.refs[host>>w.clusterBits] == 1 {
			binary.BigEndian.PutUint64(w.buf[off:], entry|copied)
		}
	}
	for off, table := range w.words(l1, uint64(l1Size)*8, 8) {
		set(off, table)
		if w.dataFile {
			continue // data clusters have no refcount
		}
		for off, entry := range w.words(table, w.clusterSize(), w.entrySize) {
			set(off, entry)
		}
	}
}
