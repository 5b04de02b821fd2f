package main

import (
	"encoding/binary"
	"fmt"
)

// check counts the references to each cluster, and compares them with the refcounts.
func (m *image) check() error {
	counts := make([]byte, m.size>>m.bits+1)
	m.count(counts, 0, 1)
	m.count(counts, m.l1At, len(m.l1))
	m.count(counts, m.blocksAt, len(m.blocks))
	countEntries(counts, m.l1, m.bits)
	countEntries(counts, m.blocks, m.bits)
	if err := m.each(m.l1, func(_ int, entries []byte) { countEntries(counts, entries, m.bits) }); err != nil {
		return err
	}
	var differ int
	err := m.each(m.blocks, func(first int, refcounts []byte) {
		at := first << (m.bits - 1)
		part := counts[min(at, len(counts)):]
		for i, n := range part[:min(len(part), len(refcounts)/2)] {
			if binary.BigEndian.Uint16(refcounts[i*2:]) != uint16(n) {
				differ++
			}
		}
	})
	if err == nil && differ > 0 {
		err = fmt.Errorf("%d refcounts differ", differ)
	}
	return err
}

// count counts a structure of so many bytes.
func (m *image) count(counts []byte, offset int64, bytes int) {
	for c := offset >> m.bits; c<<m.bits < offset+int64(bytes); c++ {
		counts[c]++
	}
}

// countEntries counts what the entries of a table point to, and returns how often an
// entry does not continue the one before.
func countEntries(counts, entries []byte, bits uint) (fragments int) {
	var next uint64
	for ; len(entries) >= 8; entries = entries[8:] {
		at := binary.BigEndian.Uint64(entries) & offsetMask
		if at != next {
			fragments++
		}
		next = at + 1<<bits
		if at != 0 {
			counts[at>>bits]++
		}
	}
	return fragments
}

// guest prints a line for each guest cluster, as guest --per-cluster -o plain does.
func (m *image) guest(out *lines) error {
	return m.each(m.l1, func(first int, entries []byte) {
		guest := uint64(first) << (2*m.bits - 3)
		for ; len(entries) >= 8; entries = entries[8:] {
			at := binary.BigEndian.Uint64(entries) & offsetMask
			line := append(out.address(out.line(), guest, m.bits), ": "...)
			out.buffer = append(out.address(line, at, m.bits), '\n')
			guest += 1 << m.bits
		}
	})
}

// host prints a line for each data cluster in the order of the file, as host
// --per-cluster -o plain does.
func (m *image) host(out *lines) error {
	guests := make([]uint64, m.size>>m.bits+1) // the guest offset, plus 1, of each host cluster
	err := m.each(m.l1, func(first int, entries []byte) {
		guest := uint64(first) << (2*m.bits - 3)
		for ; len(entries) >= 8; entries = entries[8:] {
			guests[binary.BigEndian.Uint64(entries)&offsetMask>>m.bits] = guest + 1
			guest += 1 << m.bits
		}
	})
	for c, guest := range guests[1:] {
		if guest == 0 {
			continue
		}
		line := append(out.address(out.line(), uint64(c+1)<<m.bits, m.bits), ": Data cluster [guest "...)
		out.buffer = append(out.address(line, guest-1, m.bits), "]\n"...)
	}
	return err
}

// json prints a row for each run of guest clusters, as guest -o json does.
func (m *image) json(out *lines) error {
	var start, host, length uint64
	err := m.each(m.l1, func(first int, entries []byte) {
		guest := uint64(first) << (2*m.bits - 3)
		for next := host + length; len(entries) >= 8; entries = entries[8:] {
			at := binary.BigEndian.Uint64(entries) & offsetMask
			if at != next {
				out.run(start, host, guest-start)
				start, host = guest, at
			}
			next = at + 1<<m.bits
			guest += 1 << m.bits
		}
		length = guest - start
	})
	out.run(start, host, length)
	return err
}

// run appends the row of a run of guest clusters.
func (l *lines) run(start, host, length uint64) {
	if length == 0 {
		return
	}
	b := l.appendDecimal(append(l.line(), `    {"start":`...), start)
	b = l.appendDecimal(append(b, `,"length":`...), length)
	b = append(b, `,"depth":0,"present":true,"zero":false,"data":true,"compressed":false,"offset":`...)
	b = l.appendDecimal(b, host)
	b = l.appendDecimal(append(b, `,"host-offset":`...), host)
	l.buffer = append(b, `,"kind":"data","vm-state":false,"sectors":null,"subclusters":null,"problems":[]},`+"\n"...)
}
