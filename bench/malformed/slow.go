package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A slowImage is small, and claims a lot. Its file has a hole up to size bytes.
type slowImage struct {
	*qcow2test.Built
	size int64
}

const (
	l1Entries = 4 << 20
	copied    = 1 << 63
)

// slowImages are images that take a reader long if it believes them.
func slowImages() map[string]slowImage {
	return map[string]slowImage{
		"one-l2-table":      {largeL1(1, 1), 0},
		"two-l2-tables":     {largeL1(2, 1), 0},
		"full-l2-table":     {largeL1(1, 4096), 0},
		"l2-tables-hole":    {l2Holes(), 1 << 42},
		"65536-snapshots":   {manySnapshots(), 0},
		"one-l1-table":      {oneL1Table(), 0},
		"l1-tables-hole":    {l1Tables(16, func(i uint64) (offset, entries uint64) { return 1<<30 + i*l1Entries*8, l1Entries }), 1<<30 + 65536*l1Entries*8},
		"l1-tables-inside":  {l1Tables(9, func(i uint64) (offset, entries uint64) { return l1Inside + i*512, 64 }), 0},
		"l1-tables-stairs":  {l1Tables(9, func(i uint64) (offset, entries uint64) { return 1<<30 + i*512, l1Entries }), 1<<30 + 65536*512 + l1Entries*8},
		"entries-past-end":  {l2Entries(400, func(i, _ uint64) uint64 { return copied | 1<<40 + i*i%(1<<20)<<17 }), 0},
		"entries-in-turn":   {l2Entries(2000, func(i, data uint64) uint64 { return copied | data | i%2 }), 0},
		"snapshots-apart":   {snapshotsApart(), 0},
		"long-names":        {longNames(), 0},
		"one-block":         {oneBlock(), 1 << 43},
		"blocks-in-hole":    {blocksInHole(), 1 << 39},
		"block-of-ones":     {blockOf(0xff, 16384), 1 << 41}, // 8 MiB of refcount table
		"block-of-halves":   {blockOf(0x55, 16384), 1 << 41},
		"owner-sets":        {ownerSets(800, 500), 1 << 30},
		"65535-bitmaps":     {manyBitmaps(), 0},
		"one-bitmap-table":  {oneBitmapTable(), 0},
		"dirty-bitmaps":     {dirtyBitmaps(), 0},
		"terabytes-of-hole": {qcow2test.Image{Size: 1 << 50, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}.Build(), 1 << 43},
	}
}

// largeL1 has as many L1 entries as QEMU allows, which point to n L2 tables in turn.
// In each table every other entry is data, up to a number of them.
func largeL1(n, data uint64) *qcow2test.Built {
	const perTable = 8192
	clusters := map[uint64]qcow2test.Kind{}
	for i := range n {
		for k := range data {
			clusters[i*perTable+2*k] = qcow2test.Data
		}
	}
	b := qcow2test.Image{Size: l1Entries * perTable << 16, L1Size: l1Entries, RefcountBits: 64, Clusters: clusters}.Build()
	l1 := b.Get("l1_table_offset")
	for i := range uint64(l1Entries) {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], b.Get(fmt.Sprintf("l1[%d]", i%n)))
	}
	return b
}

// l2Holes has L1 entries that each point to a table of its own in a hole.
func l2Holes() *qcow2test.Built {
	b := largeL1(1, 1)
	l1 := b.Get("l1_table_offset")
	for i := range uint64(l1Entries) {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], copied|(1<<36+i<<16))
	}
	return b
}

// l2Entries has n L2 tables, full of what entry makes of the number of each entry
// and the host offset of a data cluster.
func l2Entries(n uint64, entry func(i, data uint64) uint64) *qcow2test.Built {
	const perTable, size = 8192, 65536
	b := qcow2test.Image{Size: n * perTable << 16, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}.Build()
	l1, data := b.Get("l1_table_offset"), b.Get("l2[0][0]")&^copied
	tables := (uint64(len(b.Bytes)) + size - 1) &^ (size - 1)
	b.Bytes = append(b.Bytes, make([]byte, tables+n*size-uint64(len(b.Bytes)))...)
	for i := range n {
		binary.BigEndian.PutUint64(b.Bytes[l1+i*8:], copied|(tables+i*size))
	}
	for i := range n * perTable {
		binary.BigEndian.PutUint64(b.Bytes[tables+i*8:], entry(i, data))
	}
	return b
}

// snapshotsApart has as many snapshots as QEMU allows, each with an L1 table of its
// own, which all point to one L2 table.
func snapshotsApart() *qcow2test.Built {
	const size = 512
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 15, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	tables, l2 := (uint64(len(b.Bytes))+size-1)&^(size-1), b.Get("l1[0]")&^copied
	b.Bytes = append(b.Bytes, make([]byte, tables+65536*size-uint64(len(b.Bytes)))...)
	for i := range uint64(65536) {
		binary.BigEndian.PutUint64(b.Bytes[tables+i*size:], l2)
	}
	repeatSnapshot(b, func(i uint64, entry []byte) { binary.BigEndian.PutUint64(entry, tables+i*size) })
	return b
}

// longNames has a snapshot table of 62 MiB, nearly all of it ids and names.
func longNames() *qcow2test.Built {
	const length = 65528
	b := qcow2test.Image{Size: 1 << 20, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	entry := b.Bytes[b.Get("snapshots_offset"):][:64]
	b.Set("snapshots_offset", uint64(len(b.Bytes))).Set("nb_snapshots", 62<<20/(64+2*length))
	for range 62 << 20 / (64 + 2*length) {
		b.Bytes = append(b.Bytes, entry...)
		binary.BigEndian.PutUint16(b.Bytes[len(b.Bytes)-64+12:], length)
		binary.BigEndian.PutUint16(b.Bytes[len(b.Bytes)-64+14:], length)
		b.Bytes = append(b.Bytes, make([]byte, 2*length)...)
	}
	return b
}

// blocksInHole has a refcount table that is full of entries for blocks in a hole.
func blocksInHole() *qcow2test.Built {
	b := qcow2test.Image{ClusterBits: 21, Size: 1 << 30}.Build()
	table := b.Get("refcount_table_offset")
	for i := range uint64(1<<18 - 64) {
		binary.BigEndian.PutUint64(b.Bytes[table+8+i*8:], (i+32)<<21)
	}
	return b
}

// manySnapshots has as many snapshots as QEMU allows, all with the active L1 table.
func manySnapshots() *qcow2test.Built {
	b := qcow2test.Image{Size: 1 << 40, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 1 << 20: qcow2test.Data}, Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "n"}}}.Build()
	b.Set("snapshot[0].l1_table_offset", b.Get("l1_table_offset"))
	repeatSnapshot(b, func(i uint64, entry []byte) { copy(entry[64:], fmt.Sprintf("%06x", i)) }) // id and name
	return b
}

// repeatSnapshot gives an image with one snapshot as many as QEMU allows, each
// changed in its entry of 72 bytes.
func repeatSnapshot(b *qcow2test.Built, change func(i uint64, entry []byte)) {
	entry := b.Bytes[b.Get("snapshots_offset"):][:72]
	b.Set("snapshots_offset", uint64(len(b.Bytes))).Set("nb_snapshots", 65536)
	for i := range uint64(65536) {
		b.Bytes = append(b.Bytes, entry...)
		change(i, b.Bytes[len(b.Bytes)-72:])
	}
}

// oneL1Table has as many snapshots, all with one L1 table that is as large as
// QEMU allows: its clusters have 4 Gi references.
func oneL1Table() *qcow2test.Built {
	b := qcow2test.Image{ClusterBits: 9, Size: 512, L1Size: l1Entries, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	b.Set("snapshot[0].l1_table_offset", b.Get("l1_table_offset")).Set("snapshot[0].l1_size", l1Entries)
	repeatSnapshot(b, func(uint64, []byte) {})
	return b
}

// l1Inside is where the active L1 table of l1Tables lies, in bytes.
const l1Inside = 16 << 20

// l1Tables has as many snapshots, each with an L1 table of its own. The active one
// is as large as QEMU allows, and points to one L2 table.
func l1Tables(clusterBits uint, table func(i uint64) (offset, entries uint64)) *qcow2test.Built {
	b := qcow2test.Image{ClusterBits: clusterBits, Size: 1 << 15, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	l2 := b.Get("l1[0]") &^ copied
	repeatSnapshot(b, func(i uint64, entry []byte) {
		offset, entries := table(i)
		binary.BigEndian.PutUint64(entry, offset)
		binary.BigEndian.PutUint32(entry[8:], uint32(entries))
	})
	b.Bytes = append(b.Bytes, make([]byte, l1Inside+l1Entries*8-len(b.Bytes))...)
	b.Set("l1_table_offset", l1Inside).Set("l1_size", l1Entries)
	for i := range uint64(l1Entries) {
		binary.BigEndian.PutUint64(b.Bytes[l1Inside+i*8:], l2)
	}
	return b
}

// ownerSets has one L1 table for every second of 2·base snapshots, and then more
// snapshots, of which each leaves out one L2 table more than the one before. Every
// two L2 tables have a cluster in common: its owners are a set that there is, but
// it takes two long ones to see that.
func ownerSets(base, more uint64) *qcow2test.Built {
	const size = 4096
	b := qcow2test.Image{ClusterBits: 12, Size: more << 21, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
	entry := b.Bytes[b.Get("snapshots_offset"):][:72]
	alloc := func(n uint64) uint64 {
		at := (uint64(len(b.Bytes)) + size - 1) &^ (size - 1)
		b.Bytes = append(b.Bytes, make([]byte, at+n-uint64(len(b.Bytes)))...)
		return at
	}
	put := func(at, word uint64) { binary.BigEndian.PutUint64(b.Bytes[at:], word) }
	empty, shared, l2 := alloc(size), alloc(size), alloc(more*size)
	data := uint64(64 << 20)
	for i := range more {
		put(shared+i*8, l2+i*size)
		for j := range i {
			put(l2+i*size+j*8, data)
			put(l2+j*size+i*8, data)
			data += size
		}
	}
	tables := make([]uint64, 2*base)
	for i := range tables {
		tables[i] = []uint64{shared, empty}[i%2]
	}
	for j := range more {
		l1 := alloc(size)
		tables = append(tables, l1)
		for i := j; i < more; i++ {
			put(l1+i*8, l2+i*size)
		}
	}
	b.Set("snapshots_offset", alloc(0)).Set("nb_snapshots", uint64(len(tables)))
	for _, l1 := range tables {
		b.Bytes = append(b.Bytes, entry...)
		put(uint64(len(b.Bytes))-72, l1)
		binary.BigEndian.PutUint32(b.Bytes[len(b.Bytes)-64:], uint32(more))
	}
	return b
}

// blockOf has a refcount table of a number of clusters, whose entries all point to
// one block: the refcounts, of a bit each, of 4096 clusters.
func blockOf(bits byte, clusters uint64) *qcow2test.Built {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, RefcountBits: 1}.Build()
	block := b.Get("refcount_table[0]")
	for i := range uint64(512) {
		b.Bytes[block+i] = bits
	}
	b.Set("refcount_table_offset", uint64(len(b.Bytes))).Set("refcount_table_clusters", clusters)
	for range clusters * 512 / 8 {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, block)
	}
	return b
}

// oneBlock has a refcount table whose entries all point to one block, in which no
// two refcounts that follow each other are equal.
func oneBlock() *qcow2test.Built {
	const clusters = 128 // of the refcount table: 8 MiB
	b := qcow2test.Image{Size: 1 << 30}.Build()
	block := b.Get("refcount_table[0]")
	for i := range uint64(1 << 15) {
		binary.BigEndian.PutUint16(b.Bytes[block+i*2:], uint16(i))
	}
	b.Set("refcount_table_offset", uint64(len(b.Bytes))).Set("refcount_table_clusters", clusters)
	for range clusters << 13 {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, block)
	}
	return b
}

// manyBitmaps has as many bitmaps as QEMU allows, all clean.
func manyBitmaps() *qcow2test.Built {
	bitmaps := make([]qcow2test.Bitmap, 65535)
	for i := range bitmaps {
		bitmaps[i].Name = strconv.Itoa(i)
	}
	return qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Bitmaps: bitmaps}.Build()
}

// oneBitmapTable has as many bitmaps as QEMU allows, all with one table, whose entries
// all point to one cluster of data.
func oneBitmapTable() *qcow2test.Built {
	const entries = 1 << 20
	b := manyBitmaps()
	table := uint64(len(b.Bytes)+511) &^ 511
	data := table + 8*entries
	b.Bytes = append(b.Bytes, make([]byte, data+512-uint64(len(b.Bytes)))...)
	for i := range uint64(entries) {
		binary.BigEndian.PutUint64(b.Bytes[table+8*i:], data)
	}
	b.Bytes[data] = 1
	record := b.Field("bitmap[0].table_offset").Offset
	for i := range 65535 {
		binary.BigEndian.PutUint64(b.Bytes[record:], table)
		binary.BigEndian.PutUint32(b.Bytes[record+8:], entries)
		b.Bytes[record+17] = 9
		record += uint64(24+len(strconv.Itoa(i))+7) &^ 7
	}
	return b.Set("size", entries*512*8*512)
}

// dirtyBitmaps has as many bitmaps as QEMU allows, all of which say that all of a disk
// is dirty whose clusters are data in turn.
func dirtyBitmaps() *qcow2test.Built {
	const tables = 1 << 11
	clusters := map[uint64]qcow2test.Kind{}
	for i := range uint64(tables * 32) {
		clusters[2*i] = qcow2test.Data
	}
	bitmaps := make([]qcow2test.Bitmap, 65535)
	for i := range bitmaps {
		bitmaps[i] = qcow2test.Bitmap{Name: strconv.Itoa(i), GranularityBits: 31, Table: []uint64{1}}
	}
	return qcow2test.Image{ClusterBits: 9, Size: tables << 15, Clusters: clusters, Bitmaps: bitmaps}.Build()
}

// writeSlow writes the slow images to a directory.
func writeSlow(folder string) error {
	for name, image := range slowImages() {
		file := filepath.Join(folder, "slow-"+name+".qcow2")
		if err := os.WriteFile(file, image.Bytes, 0o600); err != nil {
			return err
		}
		if image.size == 0 {
			continue
		}
		if err := os.Truncate(file, image.size); err != nil {
			return err
		}
	}
	return nil
}
