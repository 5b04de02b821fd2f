package main

import (
	"encoding/binary"
	"os"
)

// offsetMask is the part of a table entry that is a host offset.
const offsetMask = 1<<56 - 1<<9

// An image is a qcow2 file, and its L1 and refcount tables.
type image struct {
	file           *os.File
	size           int64 // of the file, in bytes
	bits           uint  // of the cluster size
	l1, blocks     []byte
	l1At, blocksAt int64 // where these tables lie
	window         []byte
}

// open reads the header and the two tables.
func open(name string) (*image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	m := &image{file: f, window: make([]byte, 1<<20)}
	var h [104]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	be := binary.BigEndian
	m.size, m.bits = info.Size(), uint(be.Uint32(h[20:]))
	m.l1, m.l1At = make([]byte, 8*be.Uint32(h[36:])), int64(be.Uint64(h[40:]))
	m.blocks, m.blocksAt = make([]byte, be.Uint32(h[56:])<<m.bits), int64(be.Uint64(h[48:]))
	if _, err := f.ReadAt(m.l1, m.l1At); err != nil {
		return nil, err
	}
	_, err = f.ReadAt(m.blocks, m.blocksAt)
	return m, err
}

// each reads the clusters that the entries of a table point to, as many in one go as
// lie one after the other in the file and fit into the window, and calls visit with
// the number of the first of these entries.
func (m *image) each(table []byte, visit func(first int, content []byte)) error {
	be, size := binary.BigEndian, 1<<m.bits
	for i := 0; i < len(table); {
		at := be.Uint64(table[i:]) & offsetMask
		if at == 0 {
			i += 8
			continue
		}
		n := size
		next := i + 8
		for next < len(table) && n+size <= len(m.window) && be.Uint64(table[next:])&offsetMask == at+uint64(n) {
			n += size
			next += 8
		}
		if _, err := m.file.ReadAt(m.window[:n], int64(at)); err != nil {
			return err
		}
		visit(i/8, m.window[:n])
		i = next
	}
	return nil
}
