// Randomimage writes a qcow2 image whose guest clusters are mapped to host
// clusters in random order, as after years of use. Guest data is a hole in
// the file: only metadata take space. qemu-img finds such an image consistent.
//
//	go run ./bench/randomimage -size 128 random.qcow2
package main

import (
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
)

const (
	clusterBits = 16
	clusterSize = 1 << clusterBits
	tableSize   = clusterSize / 8 // entries of an L2 table
	blockSize   = clusterSize / 2 // refcounts of 16 bits in a refcount block
	copied      = 1 << 63
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("randomimage: ")
	size := flag.Int("size", 128, "virtual size in GiB")
	seed := flag.Uint64("seed", 1, "seed of the order")
	flag.Parse()
	if flag.NArg() != 1 || *size < 1 {
		log.Fatal("usage: randomimage [-size GiB] [-seed N] FILE")
	}
	if err := write(flag.Arg(0), uint64(*size)<<30, *seed); err != nil {
		log.Fatal(err)
	}
}

// A layout is where the structures lie, in clusters.
type layout struct {
	data, tables, blocks            uint64 // how many of each
	refcountTable, block0, l1, l2_0 uint64 // where they begin
	data0, end                      uint64
}

// newLayout puts the metadata in front, and the data after.
func newLayout(size uint64) layout {
	l := layout{data: size / clusterSize}
	l.tables = ceilDiv(l.data, tableSize)
	l1Clusters := ceilDiv(l.tables*8, clusterSize)
	l.blocks = ceilDiv(l.data+l.tables+l1Clusters+2, blockSize-1) // each block counts itself too
	tableClusters := ceilDiv(l.blocks*8, clusterSize)
	l.blocks = ceilDiv(1+tableClusters+l.blocks+l1Clusters+l.tables+l.data, blockSize)
	l.refcountTable = 1
	l.block0 = l.refcountTable + tableClusters
	l.l1 = l.block0 + l.blocks
	l.l2_0 = l.l1 + l1Clusters
	l.data0 = l.l2_0 + l.tables
	l.end = l.data0 + l.data
	return l
}

func write(name string, size, seed uint64) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	l := newLayout(size)
	if err := f.Truncate(int64(l.end * clusterSize)); err != nil {
		return err
	}
	for _, step := range []func(*os.File, layout) error{
		func(f *os.File, l layout) error { return writeHeader(f, l, size) },
		writeRefcounts,
		writeL1,
		func(f *os.File, l layout) error { return writeL2(f, l, seed) },
	} {
		if err := step(f, l); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

func writeHeader(f *os.File, l layout, size uint64) error {
	be := binary.BigEndian
	h := be.AppendUint32(nil, 0x514649fb)
	h = be.AppendUint32(h, 3)
	h = be.AppendUint64(h, 0) // backing file
	h = be.AppendUint32(h, 0)
	h = be.AppendUint32(h, clusterBits)
	h = be.AppendUint64(h, size)
	h = be.AppendUint32(h, 0) // not encrypted
	h = be.AppendUint32(h, uint32(l.tables))
	h = be.AppendUint64(h, l.l1*clusterSize)
	h = be.AppendUint64(h, l.refcountTable*clusterSize)
	h = be.AppendUint32(h, uint32(l.block0-l.refcountTable))
	h = be.AppendUint32(h, 0) // no snapshots
	h = be.AppendUint64(h, 0)
	h = append(h, make([]byte, 3*8)...) // feature words
	h = be.AppendUint32(h, 4)           // refcounts of 16 bits
	h = be.AppendUint32(h, 104)
	_, err := f.WriteAt(h, 0)
	return err
}

// writeRefcounts gives every cluster a refcount of 1.
func writeRefcounts(f *os.File, l layout) error {
	var table []byte
	for b := range l.blocks {
		table = binary.BigEndian.AppendUint64(table, (l.block0+b)*clusterSize)
		var block []byte
		for range min(blockSize, l.end-b*blockSize) {
			block = append(block, 0, 1)
		}
		if _, err := f.WriteAt(block, int64((l.block0+b)*clusterSize)); err != nil {
			return err
		}
	}
	_, err := f.WriteAt(table, int64(l.refcountTable*clusterSize))
	return err
}

func writeL1(f *os.File, l layout) error {
	var table []byte
	for t := range l.tables {
		table = binary.BigEndian.AppendUint64(table, (l.l2_0+t)*clusterSize|copied)
	}
	_, err := f.WriteAt(table, int64(l.l1*clusterSize))
	return err
}

// writeL2 maps every guest cluster, in random order.
func writeL2(f *os.File, l layout, seed uint64) error {
	order := make([]uint32, l.data)
	for i := range order {
		order[i] = uint32(i)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for t := range l.tables {
		var table []byte
		for _, n := range order[t*tableSize : min((t+1)*tableSize, l.data)] {
			table = binary.BigEndian.AppendUint64(table, (l.data0+uint64(n))*clusterSize|copied)
		}
		if _, err := f.WriteAt(table, int64((l.l2_0+t)*clusterSize)); err != nil {
			return err
		}
	}
	return nil
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }
