package qcow2test

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// The types of extensions.
const (
	extDataFile     = 0x44415441
	extFeatureNames = 0x6803f857
	extBitmaps      = 0x23852875
	extEncryption   = 0x0537be77
)

// header holds the fields of the header that are about tables.
type header struct {
	length                uint32
	l1Size                uint32
	l1Offset              uint64
	refcountTableOffset   uint64
	refcountTableClusters uint64
	snapshotsOffset       uint64
}

func (w *writer) header(im *Image) header {
	if im.Version == 2 {
		return header{length: 72}
	}
	return header{length: cmp.Or(im.HeaderLength, 112)}
}

// pointers writes the bitmaps and the LUKS header, and returns the extensions
// that point to them.
func (w *writer) pointers(im *Image) []Extension {
	var x []Extension
	if len(im.Bitmaps) > 0 {
		x = append(x, Extension{extBitmaps, w.bitmapDirectory(im.Bitmaps)})
		im.AutoclearFeatures |= 1
	}
	if im.LUKS != nil {
		off := w.alloc(uint64(len(im.LUKS)))
		copy(w.buf[off:], im.LUKS)
		data := binary.BigEndian.AppendUint64(nil, off)
		x = append(x, Extension{extEncryption, binary.BigEndian.AppendUint64(data, uint64(len(im.LUKS)))})
		im.CryptMethod = 2
	}
	return x
}

// bitmapDirectory writes the directory and the table and data of each bitmap, and
// returns the data of the extension.
func (w *writer) bitmapDirectory(bitmaps []Bitmap) []byte {
	size := uint64(0)
	for _, b := range bitmaps {
		size += (24 + uint64(len(b.Name)) + 7) &^ 7
	}
	tables := make([]uint64, len(bitmaps))
	for i, b := range bitmaps {
		tables[i] = w.bitmapTable(i, b)
	}
	dir := w.alloc(size)
	off := dir
	for i, b := range bitmaps {
		w.put(off, 8, tables[i], "bitmap[%d].table_offset", i)
		w.put(off+8, 4, uint64(max(1, len(b.Table))), "bitmap[%d].table_size", i)
		w.put(off+12, 4, uint64(b.Flags), "bitmap[%d].flags", i)
		w.put(off+16, 1, 1, "bitmap[%d].type", i)
		w.put(off+17, 1, uint64(cmp.Or(b.GranularityBits, 16)), "bitmap[%d].granularity_bits", i)
		w.put(off+18, 2, uint64(len(b.Name)), "bitmap[%d].name_size", i)
		w.put(off+20, 4, 0, "bitmap[%d].extra_data_size", i)
		copy(w.buf[off+24:], b.Name)
		off += (24 + uint64(len(b.Name)) + 7) &^ 7
	}
	data := binary.BigEndian.AppendUint32(nil, uint32(len(bitmaps)))
	data = binary.BigEndian.AppendUint32(data, 0)
	data = binary.BigEndian.AppendUint64(data, size)
	return binary.BigEndian.AppendUint64(data, dir)
}

// bitmapTable writes the table and the data of the i-th bitmap, and returns where the
// table lies.
func (w *writer) bitmapTable(i int, b Bitmap) uint64 {
	entries := b.Table
	if entries == nil {
		entries = []uint64{0}
	}
	table := w.alloc(uint64(len(entries)) * 8)
	for k, entry := range entries {
		if data, ok := b.Data[k]; ok {
			entry = w.alloc(1)
			copy(w.buf[entry:][:w.clusterSize()], data)
		}
		w.put(table+uint64(k)*8, 8, entry, "bitmap[%d].table[%d]", i, k)
	}
	return table
}

// finishHeader writes the header, the extensions and the backing file name
// into the first cluster.
func (w *writer) finishHeader(im *Image, h header) {
	w.put(0, 4, 0x514649fb, "magic")
	w.put(4, 4, uint64(im.Version), "version")
	w.put(20, 4, uint64(im.ClusterBits), "cluster_bits")
	w.put(24, 8, im.Size, "size")
	w.put(32, 4, uint64(im.CryptMethod), "crypt_method")
	w.put(36, 4, uint64(h.l1Size), "l1_size")
	w.put(40, 8, h.l1Offset, "l1_table_offset")
	w.put(48, 8, h.refcountTableOffset, "refcount_table_offset")
	w.put(56, 4, h.refcountTableClusters, "refcount_table_clusters")
	w.put(60, 4, uint64(len(im.Snapshots)), "nb_snapshots")
	w.put(64, 8, h.snapshotsOffset, "snapshots_offset")
	if im.Version > 2 {
		w.put(72, 8, im.IncompatibleFeatures, "incompatible_features")
		w.put(80, 8, im.CompatibleFeatures, "compatible_features")
		w.put(88, 8, im.AutoclearFeatures, "autoclear_features")
		w.put(96, 4, uint64(bits.TrailingZeros64(im.RefcountBits)), "refcount_order")
		w.put(100, 4, uint64(h.length), "header_length")
	}
	if h.length > 104 {
		w.put(104, 1, uint64(im.CompressionType), "compression_type")
		w.put(105, 7, 0, "padding")
	}
	name := w.extensions(im.Extensions, uint64(h.length))
	copy(w.buf[name:w.clusterSize()], im.BackingFile)
	if im.BackingFile == "" {
		name = 0
	}
	w.put(8, 8, name, "backing_file_offset")
	w.put(16, 4, uint64(len(im.BackingFile)), "backing_file_size")
}

// extensions writes the header extensions from off on with their end marker,
// and returns where they end.
func (w *writer) extensions(x []Extension, off uint64) uint64 {
	for i, x := range x {
		w.put(off, 4, uint64(x.Type), "extension[%d].type", i)
		w.put(off+4, 4, uint64(len(x.Data)), "extension[%d].length", i)
		copy(w.buf[off+8:w.clusterSize()], x.Data)
		for j := 0; j+8 <= len(x.Data); j += 8 {
			w.fields = append(w.fields, Field{fmt.Sprintf("extension[%d].data[%d]", i, j/8), off + 8 + uint64(j), 8})
		}
		off += 8 + (uint64(len(x.Data))+7)&^7
	}
	if off+8 <= w.clusterSize() {
		w.put(off, 4, 0, "end.type")
		w.put(off+4, 4, 0, "end.length")
		off += 8
	}
	return off
}
