// Package qcow2test builds qcow2 images in memory, healthy ones or, by setting
// single fields afterwards, ones that are broken in a named way.
//
// It knows the format on its own and shares no code with package qcow2, so
// that a mistake in one does not hide in the other.
package qcow2test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// An Image describes an image to build. The zero value is a version 3 image of
// an empty disk with clusters of 64 KiB.
type Image struct {
	Version      uint32 // 0: 3
	ClusterBits  uint   // 0: 16
	RefcountBits uint64 // 0: 16
	Size         uint64 // virtual disk size in bytes
	L1Size       uint32 // entries of the L1 table; 0: as many as Size and the mapping need
	HeaderLength uint32 // 0: 112, or 72 in version 2

	CryptMethod          uint32
	IncompatibleFeatures uint64
	CompatibleFeatures   uint64
	AutoclearFeatures    uint64
	CompressionType      uint8

	BackingFile string
	Extensions  []Extension // before those of Bitmaps and LUKS
	Bitmaps     []Bitmap
	LUKS        []byte            // LUKS header
	Snapshots   []Snapshot        // in the order of the table
	Patches     map[string]uint64 // fields to set at the end, as [Built.Set] does

	// The mapping by guest cluster; the rest is unallocated. Clusters past
	// Size are those past the end of the disk, where VM state is.
	Clusters    map[uint64]Kind
	Compressed  map[uint64]Compressed
	Subclusters map[uint64]uint64 // bitmaps of clusters whose subclusters differ, with extended L2 entries
}

// An Extension is a header extension.
type Extension struct {
	Type uint32
	Data []byte
}

// A Bitmap is a persistent dirty bitmap.
type Bitmap struct {
	Name            string
	GranularityBits uint8 // 0: 16
	Flags           uint32
	Table           []uint64       // its entries; the first, that all is clean, where it is nil
	Data            map[int][]byte // by the index of the entry: what the cluster that it points to begins with
}

// A Snapshot is an internal snapshot of the disk as it is in the image: it
// shares all L2 tables and clusters, unless it has Clusters of its own.
type Snapshot struct {
	ID, Name     string
	Seconds      uint32
	Nanoseconds  uint32
	VMClock      uint64 // nanoseconds
	VMStateSize  uint64 // bytes
	VMState32    uint32 // the 32-bit field, ignored where Extra has the other
	DiskSize     uint64 // 0: Size
	L1Size       uint32 // 0: as the active table, or as many as DiskSize and Clusters need
	ICount       uint64
	ExtraSize    int    // 0: 24; -1: none
	UnknownExtra []byte // after the 24 known bytes
	Clusters     map[uint64]Kind
}

// Kind is what a guest cluster is mapped to.
type Kind int

// The kinds of mappings.
const (
	Data          Kind = iota // a host cluster
	Zero                      // reads as zeros, no host cluster
	ZeroAllocated             // reads as zeros, with a host cluster
)

// A Compressed is where the data of a compressed cluster lies. All compressed data
// of an image lies in one area of clusters, the first after the header.
type Compressed struct {
	Offset  uint64 // of the first byte, from the start of the area
	Sectors uint64 // sectors of 512 bytes that the data touch, 1 or more
}

// A Built is an image in memory, and where its fields are.
type Built struct {
	Bytes  []byte
	Fields []Field
}

// A Field is a number in a built image.
type Field struct {
	Name   string // "l1_size", "snapshot[0].name_size", "l1[3]"
	Offset uint64 // bytes
	Size   int    // bytes, 1 to 8
}

// Reader returns a reader of the image.
func (b *Built) Reader() *bytes.Reader { return bytes.NewReader(b.Bytes) }

// Field returns the named field. It panics if there is none.
func (b *Built) Field(name string) Field {
	i := slices.IndexFunc(b.Fields, func(f Field) bool { return f.Name == name })
	if i < 0 {
		panic("qcow2test: no field " + name)
	}
	return b.Fields[i]
}

// Set stores a value in the named field. It panics if there is none.
func (b *Built) Set(name string, value uint64) *Built {
	f := b.Field(name)
	var word [8]byte
	binary.BigEndian.PutUint64(word[:], value)
	copy(b.Bytes[f.Offset:], word[8-f.Size:])
	return b
}

// Get returns the value of the named field. It panics if there is none.
func (b *Built) Get(name string) uint64 {
	f := b.Field(name)
	var word [8]byte
	copy(word[8-f.Size:], b.Bytes[f.Offset:][:f.Size])
	return binary.BigEndian.Uint64(word[:])
}

// Truncate cuts the file to n bytes.
func (b *Built) Truncate(n int) *Built {
	b.Bytes = b.Bytes[:n]
	return b
}

// Build builds the image.
func (im Image) Build() *Built {
	im.Version = cmp.Or(im.Version, 3)
	im.ClusterBits = cmp.Or(im.ClusterBits, 16)
	im.RefcountBits = cmp.Or(im.RefcountBits, 16)
	w := &writer{clusterBits: im.ClusterBits, entrySize: 8, dataFile: im.IncompatibleFeatures&(1<<2) != 0}
	if im.IncompatibleFeatures&(1<<4) != 0 {
		w.entrySize = 16
	}
	w.alloc(1) // the header
	w.allocCompressed(im.Compressed)
	h := w.header(&im)
	im.Extensions = append(slices.Clone(im.Extensions), w.pointers(&im)...)
	active := mapping{im.Clusters, im.Compressed, im.Subclusters}
	h.l1Size = cmp.Or(im.L1Size, w.l1Size(im.Size, active))
	h.l1Offset = w.tables("", h.l1Size, active)
	h.snapshotsOffset = w.snapshotTable(&im, h)
	w.setCopied(h.l1Offset, h.l1Size)
	h.refcountTableOffset, h.refcountTableClusters = w.refcounts(im.RefcountBits)
	w.finishHeader(&im, h)
	b := &Built{Bytes: w.buf, Fields: w.fields}
	for name, value := range im.Patches {
		b.Set(name, value)
	}
	return b
}

// A writer lays out an image, a cluster after the other.
type writer struct {
	clusterBits uint
	entrySize   uint64 // bytes of an L2 entry
	dataFile    bool   // data lie in an external file, where the guest has them
	compressed  uint64 // where the area of compressed data begins
	buf         []byte
	refs        []uint64 // references to each cluster
	fields      []Field
}

func (w *writer) clusterSize() uint64 { return 1 << w.clusterBits }
func (w *writer) l2Entries() uint64   { return w.clusterSize() / w.entrySize }

// alloc appends clusters for n bytes, each with one reference, and returns
// where they begin.
func (w *writer) alloc(n uint64) uint64 {
	off := uint64(len(w.buf))
	for range ceilDiv(n, w.clusterSize()) {
		w.buf = append(w.buf, make([]byte, w.clusterSize())...)
		w.refs = append(w.refs, 1)
	}
	return off
}

// put stores a field of size bytes and remembers its name.
func (w *writer) put(off uint64, size int, value uint64, format string, args ...any) {
	w.fields = append(w.fields, Field{Name: fmt.Sprintf(format, args...), Offset: off, Size: size})
	var word [8]byte
	binary.BigEndian.PutUint64(word[:], value)
	copy(w.buf[off:off+uint64(size)], word[8-size:])
}

func ceilDiv(a, b uint64) uint64 { return (a + b - 1) / b }
