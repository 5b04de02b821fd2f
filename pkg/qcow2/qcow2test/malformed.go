package qcow2test

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
)

// malformedBits are the cluster bits of most malformed images.
const malformedBits = 12

// cluster is their cluster size in bytes. The image "v3" has the header, the L1
// table, an L2 table, two data clusters, the refcount table and a refcount block,
// a cluster each, in this order.
const cluster = 1 << malformedBits

// beyond returns offsets at which no table can be: in the header, not at the start
// of a cluster, past the end of the file, and where sums overflow.
func beyond() []uint64 {
	return []uint64{0, 1, cluster / 2, cluster + 8, 7 * cluster, 256 * cluster, 1 << 56, 1<<63 - cluster, 1 << 63, math.MaxUint64 &^ (cluster - 1), math.MaxUint64}
}

// MalformedBase returns the images that [Malformed] starts from, by name. They
// are healthy.
func MalformedBase() map[string]Image {
	base := func(change func(*Image)) Image {
		im := Image{ClusterBits: malformedBits, Size: 256 * cluster, Clusters: map[uint64]Kind{0: Data, 5: Data}}
		change(&im)
		return im
	}
	names := slices.Concat([]byte{0, 5}, []byte("five"), make([]byte, 42))
	bases := map[string]Image{
		"v3":     base(func(*Image) {}),
		"v2":     base(func(im *Image) { im.Version = 2 }),
		"back":   base(func(im *Image) { im.BackingFile = "base.qcow2" }),
		"ext":    base(func(im *Image) { im.Extensions = []Extension{{7, make([]byte, 24)}, {extFeatureNames, names}} }),
		"snap":   base(func(im *Image) { im.Snapshots = []Snapshot{{ID: "1", Name: "one"}, {ID: "2", Name: "two"}} }),
		"snap2":  base(func(im *Image) { im.Version, im.Snapshots = 2, []Snapshot{{ID: "1", ExtraSize: -1}} }),
		"bitmap": base(func(im *Image) { im.Bitmaps = []Bitmap{{Name: "one"}, {Name: "two"}} }),
		"zerobits": base(func(im *Image) {
			im.Clusters[9] = Zero
			im.Bitmaps = []Bitmap{{Name: "one", GranularityBits: 9, Table: []uint64{0}, Data: map[int][]byte{0: {0x55, 9: 0xff}}}, {Name: "all", GranularityBits: 12, Table: []uint64{1}}}
		}),
		"luks": base(func(im *Image) { im.LUKS = LUKSHeader("aes", "xts-plain64", 64) }),
		"comp": base(func(im *Image) { im.Compressed = map[uint64]Compressed{1: {Offset: 100, Sectors: 3}} }),
		"zero": base(func(im *Image) { im.Clusters = map[uint64]Kind{0: Zero, 5: ZeroAllocated} }),
		"data": base(func(im *Image) {
			im.IncompatibleFeatures, im.Extensions = 1<<2, []Extension{{extDataFile, []byte("/dev/null")}}
		}),
		"extl2": {ClusterBits: 14, Size: 64 << 14, IncompatibleFeatures: 1 << 4, Clusters: map[uint64]Kind{0: Data, 1: Zero}, Subclusters: map[uint64]uint64{0: 0xf<<32 | 0xf0}},
	}
	for bits := uint64(1); bits <= 64; bits *= 2 {
		bases[fmt.Sprintf("rb%d", bits)] = base(func(im *Image) { im.RefcountBits = bits })
	}
	return bases
}

// malformedFields returns fields of the base images, and values that they cannot
// have, or only just.
func malformedFields() map[string][]uint64 {
	return map[string][]uint64{
		"v3 magic": {0, 0x514649fa}, "v3 version": {0, 1, 2, 4, math.MaxUint32},
		"back backing_file_offset": {1, cluster - 1, cluster, cluster + 1, 1 << 56, 1 << 63, math.MaxUint64},
		"back backing_file_size":   {0, 1, 1023, 1024, cluster, math.MaxUint32},
		"v3 backing_file_size":     {10},
		"v3 cluster_bits":          {0, 1, 8, 9, 11, 13, 21, 22, 31, 32, 63, 64, math.MaxUint32},
		"v3 size":                  {0, 1, 512*cluster + 1, 1 << 51, 1 << 56, 1 << 63, math.MaxUint64},
		"v3 crypt_method":          {1, 2, 3, math.MaxUint32}, "v2 crypt_method": {2}, "luks crypt_method": {0, 1, 3},
		"v3 l1_size":         {0, 2, 1 << 12, 1 << 22, 1<<22 + 1, math.MaxInt32, math.MaxUint32},
		"v3 l1_table_offset": append(beyond(), 2*cluster, 3*cluster, 5*cluster, 6*cluster), "v2 l1_table_offset": beyond(),
		"v3 refcount_table_offset":   append(beyond(), cluster, 2*cluster, 3*cluster, 6*cluster),
		"v3 refcount_table_clusters": {0, 2, 3, 1 << 11, 1<<11 + 1, math.MaxUint32},
		"v3 nb_snapshots":            {1, 65536, 65537, math.MaxUint32}, "snap nb_snapshots": {0, 1, 3, 100, 65537, math.MaxUint32},
		"snap snapshots_offset": beyond(), "v3 snapshots_offset": beyond()[1:],
		"v3 incompatible_features": {1, 2, 3, 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 63, math.MaxUint64},
		"v3 compatible_features":   {1, 2, math.MaxUint64}, "v3 autoclear_features": {1, 2, 4, math.MaxUint64}, "bitmap autoclear_features": {0},
		"v3 refcount_order": {0, 1, 2, 3, 5, 6, 7, 8, 31, 32, 63, 64, math.MaxUint32},
		"v3 header_length":  {0, 72, 103, 104, 105, 111, 113, 120, cluster, cluster + 8, math.MaxUint32},
		"v3 padding":        {1}, "v3 compression_type": {1, 2, 255},
		"extl2 incompatible_features": {0},
		// header extensions
		"ext extension[0].type":   {0, 0xe2792aca, 0x44415441, 0x6803f857, extBitmaps, extEncryption, math.MaxUint32},
		"ext extension[0].length": {0, 1, 7, 8, 23, 25, cluster - 120, cluster - 119, math.MaxInt32, math.MaxUint32},
		"ext extension[1].length": {0, 1, 47, 49, 95}, "ext end.type": {1}, "ext end.length": {8, math.MaxUint32},
		"data extension[0].length": {0, 1, 1 << 16}, "data extension[0].type": {7}, "data incompatible_features": {0},
		"bitmap extension[0].length": {0, 23, 25}, "luks extension[0].length": {0, 8, 15, 17},
		// the snapshot table
		"snap snapshot[0].l1_table_offset": beyond(), "snap snapshot[0].l1_size": {0, 2, 1 << 22, 1<<22 + 1, math.MaxUint32},
		"snap snapshot[0].id_size": {0, 2, math.MaxUint16}, "snap snapshot[1].name_size": {0, 100, math.MaxUint16},
		"snap snapshot[0].extra_data_size": {0, 8, 15, 16, 25, 1024, 1025, math.MaxInt32, math.MaxUint32},
		"snap snapshot[0].vm_state_size":   {1, math.MaxUint32}, "snap2 snapshot[0].vm_state_size": {1, math.MaxUint32},
		"snap2 snapshot[0].extra_data_size": {1, 16, math.MaxUint32}, "snap2 version": {3},
		"snap snapshot[0].vm_state_size_large": {1, math.MaxUint64}, "snap snapshot[0].disk_size": {0, 1, 1 << 40, math.MaxUint64},
		// bitmaps
		"bitmap extension[0].data[0]": {0, 1 << 32, 3 << 32, 2<<32 | 1, 65535 << 32, 65536 << 32, math.MaxUint64},
		"bitmap extension[0].data[1]": {0, 1, 63, 65, 1 << 26, math.MaxUint64}, "bitmap extension[0].data[2]": beyond(),
		"bitmap bitmap[0].table_offset": beyond(), "bitmap bitmap[0].table_size": {0, 2, 0x8000000, 0x8000001, math.MaxUint32},
		"bitmap bitmap[0].flags": {1, 2, 4, math.MaxUint32}, "bitmap bitmap[0].type": {0, 2, 255},
		"bitmap bitmap[0].granularity_bits": {0, 8, 9, 31, 32, 63, 64, 255}, "bitmap bitmap[0].name_size": {0, 100, 1023, 1024, math.MaxUint16},
		"bitmap bitmap[0].extra_data_size": {1, 8, math.MaxUint32}, "bitmap bitmap[0].table[0]": append(beyond(), 3*cluster|1, 1<<57),
		// encryption
		"luks extension[0].data[0]": beyond(), "luks extension[0].data[1]": {0, 1, 591, cluster + 1, 1 << 20, 1 << 63, math.MaxUint64},
		// tables
		"v3 l1[0]": malformedEntries(), "v3 l2[0][0]": malformedEntries(), "v2 l2[0][0]": {1, copied | 3*cluster | 1}, "zero l2[0][0]": {copied, copied | 1, 2, 3},
		"data l2[0][5]": {copied, 5 * cluster, copied | 6*cluster, copied | 1<<55, 1}, "zero l2[0][5]": {1, 3, copied | cluster | 1},
		"extl2 l2[0][0]": {0, 1, copied, copied | 1<<14, compressed | 1<<14}, "extl2 l2[0][0].bitmap": {0, 1<<32 | 1, math.MaxUint64},
		"extl2 l2[0][1].bitmap": {1, 1 << 32, math.MaxUint32},
		"v3 refcount_table[0]":  append(beyond(), cluster, 5*cluster, 6*cluster|1), "rb1 refcount_table[0]": {1 << 36},
		"v3 refcount[0]": {0, 2}, "v3 refcount[1]": {0}, "v3 refcount[2]": {0, 2}, "v3 refcount[3]": {0, 2, math.MaxUint16}, "v3 refcount[5]": {0}, "v3 refcount[6]": {0, 9},
		"rb8 refcount[3]": {0, 2, math.MaxUint8}, "rb32 refcount[3]": {0, 2, math.MaxUint32}, "rb64 refcount[3]": {0, 2, math.MaxUint64},
	}
}

// malformedEntries returns values of an entry of an L1 table or an L2 table.
func malformedEntries() []uint64 {
	var all []uint64
	for _, offset := range beyond() {
		all = append(all, copied|offset)
	}
	return append(all[2:len(all)-3], 0, copied, copied|1, 1<<63-cluster, copied|cluster, copied|2*cluster, copied|5*cluster, copied|6*cluster, copied|4*cluster, 3*cluster, copied|3*cluster|1<<56, copied|3*cluster|4,
		compressed, compressed|7*cluster, compressed|cluster, copied|compressed|4*cluster, compressed|1<<61|4*cluster)
}

// Malformed yields malformed images by name: every field of a header, an extension,
// a table or an entry at its limits and beyond them. Some only look malformed. A
// name has the base image, the field, and its value.
func Malformed() iter.Seq2[string, *Built] {
	return func(yield func(string, *Built) bool) {
		bases, fields := MalformedBase(), malformedFields()
		for _, name := range sortedKeys(fields) {
			base, field, _ := strings.Cut(name, " ")
			for _, value := range fields[name] {
				b := bases[base].Build()
				if !yield(fmt.Sprintf("%s=%#x", name, value&(math.MaxUint64>>(64-8*min(b.Field(field).Size, 8)))), b.Set(field, value)) {
					return
				}
			}
		}
		patches := malformedPatches()
		for _, name := range sortedKeys(patches) {
			base, _, _ := strings.Cut(name, " ")
			b := bases[base].Build()
			patches[name](b)
			if !yield(name, b) {
				return
			}
		}
		malformedCompressed(yield)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// malformedPatches returns changes of base images that need more than one field. A
// name begins with the base image, before a space.
func malformedPatches() map[string]func(*Built) {
	patches := map[string]func(*Built){
		"v3 trailing-garbage":      func(b *Built) { b.Bytes = append(b.Bytes, make([]byte, 512)...) },
		"v3 all-ones-behind-magic": func(b *Built) { fill(b.Bytes[8:cluster], 0xff) },
		"v3 tables-of-ones":        func(b *Built) { fill(b.Bytes[cluster:], 0xff) },
		"v3 refcounts-of-ones":     func(b *Built) { fill(b.Bytes[6*cluster:], 0xff) },
		"v3 refcounts-of-zeros":    func(b *Built) { fill(b.Bytes[6*cluster:], 0) },
		"v3 refcount-of-nothing":   func(b *Built) { binary.BigEndian.PutUint16(b.Bytes[6*cluster+20:], 1) },
		"v3 largest-l1": func(b *Built) {
			b.Set("size", 1<<43).Set("l1_size", 1<<22) // 32 MiB, beyond the end of the file
		},
		"v3 l1-full-of-one-l2": func(b *Built) {
			for i := range uint64(cluster / 8) {
				binary.BigEndian.PutUint64(b.Bytes[cluster+i*8:], copied|2*cluster)
			}
			b.Set("l1_size", cluster/8)
		},
		"v3 l2-full-of-itself": func(b *Built) {
			for i := range uint64(cluster / 8) {
				binary.BigEndian.PutUint64(b.Bytes[2*cluster+i*8:], copied|2*cluster)
			}
		},
		"v3 refcount-table-full-of-one-block": func(b *Built) {
			for i := range uint64(cluster / 8) {
				binary.BigEndian.PutUint64(b.Bytes[5*cluster+i*8:], 6*cluster)
			}
		},
		"v3 same-data-twice": func(b *Built) { b.Set("l2[0][5]", b.Get("l2[0][0]")) },
		"v3 extensions-without-end": func(b *Built) {
			for at := 112; at < cluster; at += 8 {
				binary.BigEndian.PutUint64(b.Bytes[at:], 9<<32)
			}
		},
		"luks magic":          func(b *Built) { b.Bytes[b.Get("extension[0].data[0]")] ^= 1 },
		"luks version":        func(b *Built) { b.Bytes[b.Get("extension[0].data[0]")+7] = 9 },
		"luks version-2":      func(b *Built) { b.Bytes[b.Get("extension[0].data[0]")+7] = 2 },
		"luks payload-offset": func(b *Built) { fill(b.Bytes[b.Get("extension[0].data[0]")+104:][:4], 0xff) },
		"luks payload-0":      func(b *Built) { fill(b.Bytes[b.Get("extension[0].data[0]")+104:][:4], 0) },
		"luks key-bytes":      func(b *Built) { fill(b.Bytes[b.Get("extension[0].data[0]")+108:][:4], 0xff) },
		"luks key-bytes-0":    func(b *Built) { fill(b.Bytes[b.Get("extension[0].data[0]")+108:][:4], 0) },
		"luks iterations-0":   func(b *Built) { fill(b.Bytes[b.Get("extension[0].data[0]")+164:][:4], 0) },
		"luks key-material":   func(b *Built) { fill(b.Bytes[b.Get("extension[0].data[0]")+296:][:4], 0xff) },
		"luks cut":            func(b *Built) { b.Truncate(int(b.Get("extension[0].data[0]") + 100)) },
		"luks twice": func(b *Built) {
			copy(b.Bytes[136:160], b.Bytes[112:136])
		},
		// A header extension that another of its type replaces.
		"luks short-extension-first": func(b *Built) {
			copy(b.Bytes[128:152], b.Bytes[112:136])
			b.Bytes[119] = 8
		},
		"bitmap short-extension-first": func(b *Built) {
			copy(b.Bytes[128:160], b.Bytes[112:144])
			b.Bytes[119] = 8
		},
		"bitmap same-name":       func(b *Built) { copy(b.Bytes[bytesIndex(b, "two"):], "one") },
		"bitmap same-table":      func(b *Built) { b.Set("bitmap[1].table_offset", b.Get("bitmap[0].table_offset")) },
		"zerobits shared-data":   func(b *Built) { b.Set("bitmap[1].table[0]", b.Get("bitmap[0].table[0]")) },
		"zerobits data-in-table": func(b *Built) { b.Set("bitmap[1].table[0]", b.Get("bitmap[0].table_offset")) },
		"zerobits two-entries":   func(b *Built) { b.Set("bitmap[0].table_size", 2) },
		"snap same-id":           func(b *Built) { copy(b.Bytes[bytesIndex(b, "2two"):], "1two") },
		"snap table-on-header":   func(b *Built) { b.Set("snapshots_offset", 0) },
		"snap one-l1-for-all": func(b *Built) {
			b.Set("snapshot[0].l1_table_offset", cluster).Set("snapshot[1].l1_table_offset", cluster)
		},
		"snap names-of-ones": func(b *Built) { fill(b.Bytes[bytesIndex(b, "1one"):][:4], 0xff) },
		"snap names-of-escapes": func(b *Built) {
			copy(b.Bytes[bytesIndex(b, "1one"):], "\x1b[2J")
		},
	}
	for _, n := range []int{0, 1, 3, 4, 23, 71, 72, 103, 104, 111, 112, 200, cluster - 1, cluster, cluster + 4, 2 * cluster, 2*cluster + 4, 3 * cluster, 5*cluster + 4, 6 * cluster, 6*cluster + 3} {
		patches[fmt.Sprintf("v3 cut-at-%#x", n)] = func(b *Built) { b.Truncate(n) }
	}
	return patches
}

// malformedCompressed yields compressed clusters that are too long, begin at the
// end of the file, and have the largest offset, with clusters of every size.
func malformedCompressed(yield func(string, *Built) bool) {
	for bits := uint(9); bits <= 21; bits++ {
		offsetBits := 62 - (bits - 8)
		im := Image{ClusterBits: bits, Size: 4 << bits, Compressed: map[uint64]Compressed{0: {Offset: 8, Sectors: 1}}}
		end := uint64(len(im.Build().Bytes))
		entries := map[string]uint64{
			"longest":    compressed | (1<<62-1)&^(1<<offsetBits-1) | 1<<bits,
			"at-the-end": compressed | end, "before-the-end": compressed | (end - 1), "farthest": compressed | (1<<offsetBits - 1),
		}
		for _, what := range sortedKeys(entries) {
			if !yield(fmt.Sprintf("compressed-%d %s", 1<<bits, what), im.Build().Set("l2[0][0]", entries[what])) {
				return
			}
		}
	}
}

func fill(p []byte, b byte) {
	for i := range p {
		p[i] = b
	}
}

func bytesIndex(b *Built, text string) int {
	i := strings.Index(string(b.Bytes), text)
	if i < 0 {
		panic("qcow2test: no text " + text)
	}
	return i
}
