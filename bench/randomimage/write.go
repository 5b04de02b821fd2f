package main

import (
	"encoding/binary"
	"fmt"
	"os"
)

const copied = 1 << 63

// write writes the image to a file.
func write(name string, l layout) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := &writer{layout: l, file: f}
	w.writeHeader()
	w.writeRefcounts()
	w.writeL1()
	w.writeSnapshots()
	w.writeL2()
	if w.err == nil {
		w.err = f.Truncate(int64(l.end * l.clusterSize))
	}
	if w.err != nil {
		return fmt.Errorf("writing %s: %w", name, w.err)
	}
	return nil
}

// A writer writes structures to a file, up to the first error.
type writer struct {
	layout
	file *os.File
	err  error
}

// put writes bytes to where a cluster begins, or some bytes behind.
func (w *writer) put(b []byte, cluster, behind uint64) {
	if w.err == nil {
		_, w.err = w.file.WriteAt(b, int64(cluster*w.clusterSize+behind))
	}
}

func (w *writer) writeHeader() {
	be := binary.BigEndian
	h := be.AppendUint32(nil, 0x514649fb)
	h = be.AppendUint32(h, 3)
	h = be.AppendUint64(h, 0) // backing file
	h = be.AppendUint32(h, 0)
	h = be.AppendUint32(h, uint32(w.clusterBits))
	h = be.AppendUint64(h, w.size)
	h = be.AppendUint32(h, 0) // not encrypted
	h = be.AppendUint32(h, uint32(w.tables))
	h = be.AppendUint64(h, w.l1*w.clusterSize)
	h = be.AppendUint64(h, w.refcountTable*w.clusterSize)
	h = be.AppendUint32(h, uint32(w.block0-w.refcountTable))
	h = be.AppendUint32(h, uint32(w.snapshots))
	if w.snapshots > 0 {
		h = be.AppendUint64(h, w.snapshotTable*w.clusterSize)
	} else {
		h = be.AppendUint64(h, 0)
	}
	h = append(h, make([]byte, 3*8)...) // feature words
	h = be.AppendUint32(h, 4)           // refcounts of 16 bits
	h = be.AppendUint32(h, 104)
	w.put(h, 0, 0)
}

// writeRefcounts writes the refcount table and its blocks.
func (w *writer) writeRefcounts() {
	var table []byte
	block := make([]byte, w.clusterSize)
	for b := range w.l1 - w.block0 {
		table = binary.BigEndian.AppendUint64(table, (w.block0+b)*w.clusterSize)
		used := min(w.blockSize, w.end-b*w.blockSize)
		for i := range used {
			binary.BigEndian.PutUint16(block[i*2:], w.refcount(b*w.blockSize+i))
		}
		w.put(block[:used*2], w.block0+b, 0)
	}
	w.put(table, w.refcountTable, 0)
}

// writeL1 writes the active L1 table, and that of each snapshot.
func (w *writer) writeL1() {
	table := make([]byte, w.tables*8)
	for n := range w.snapshots + 1 {
		for t := range w.tables {
			w.putEntry(table[t*8:], w.table(t, n))
		}
		w.put(table, w.l1Of(n), 0)
	}
}

// l1Of is where the L1 table begins that was current when n snapshots were there.
func (w *writer) l1Of(n uint64) uint64 {
	return w.l1 + (n+1)%(w.snapshots+1)*w.l1Clusters
}

// putEntry makes a table entry for a cluster.
func (w *writer) putEntry(entry []byte, cluster uint64) {
	word := cluster * w.clusterSize
	if w.refcount(cluster) == 1 {
		word |= copied
	}
	binary.BigEndian.PutUint64(entry, word)
}

func (w *writer) writeSnapshots() {
	be := binary.BigEndian
	var table []byte
	for n := range w.snapshots {
		table = be.AppendUint64(table, w.l1Of(n)*w.clusterSize)
		table = be.AppendUint32(table, uint32(w.tables))
		table = be.AppendUint16(table, 4)             // length of the id
		table = be.AppendUint16(table, 4)             // length of the name
		table = append(table, make([]byte, 4+4+8)...) // when it was taken
		table = be.AppendUint32(table, 0)             // VM state
		table = be.AppendUint32(table, 16)            // length of the extra data
		table = be.AppendUint64(table, 0)             // VM state
		table = be.AppendUint64(table, w.size)
		table = fmt.Appendf(table, "%04x%04x", n+1, n+1) // id and name
	}
	if len(table) > 0 {
		w.put(table, w.snapshotTable, 0)
	}
}

// writeL2 maps every guest cluster, and writes the tables anew that the steps
// changed.
func (w *writer) writeL2() {
	table := make([]byte, w.clusterSize)
	for t := range w.tables {
		used := min(w.tableSize, w.data-t*w.tableSize)
		for i := range used {
			w.putEntry(table[i*8:], w.place(t*w.tableSize+i))
		}
		w.put(table[:used*8], w.l2+t, 0)
		for step := t; step < w.steps; step += w.tables {
			w.putEntry(table[step/w.tables*8:], w.data0+w.data+step)
			w.put(table[:used*8], w.l2+w.tables+step, 0)
		}
	}
}
