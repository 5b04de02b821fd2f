package qcow2

import (
	"encoding/binary"
	"iter"
	"slices"
)

// A Field describes one field of the image header (specification, section
// "Header").
type Field struct {
	Name    string // as in the specification
	Offset  int    // bytes from the start of the file
	Size    int    // bytes, 1 to 8
	Version int    // the first version that has it: 2 or 3
	Doc     string // what it must hold

	// ptr returns where a Header keeps the field: a *uint8, *uint32, *uint64
	// or *[7]byte.
	ptr func(*Header) any
}

// fields is the layout of the header. No other code holds the offset of a header
// field.
var fields = [...]Field{
	{"magic", 0, 4, 2, `"QFI\xfb"`,
		func(h *Header) any { return &h.Magic }},
	{"version", 4, 4, 2, "2 or 3",
		func(h *Header) any { return &h.Version }},
	{"backing_file_offset", 8, 8, 2, "byte offset of the backing file name, inside the first cluster; 0: no backing file",
		func(h *Header) any { return &h.BackingFileOffset }},
	{"backing_file_size", 16, 4, 2, "bytes of the backing file name, at most 1023",
		func(h *Header) any { return &h.BackingFileSize }},
	{"cluster_bits", 20, 4, 2, "9 to 21 (14 to 21 with extended L2 entries): the cluster size is 1 << cluster_bits bytes",
		func(h *Header) any { return &h.ClusterBits }},
	{"size", 24, 8, 2, "virtual disk size in bytes",
		func(h *Header) any { return &h.Size }},
	{"crypt_method", 32, 4, 2, "0 none, 1 AES, 2 LUKS",
		func(h *Header) any { return (*uint32)(&h.CryptMethod) }},
	{"l1_size", 36, 4, 2, "entries of the active L1 table, enough for the size",
		func(h *Header) any { return &h.L1Size }},
	{"l1_table_offset", 40, 8, 2, "byte offset of the active L1 table, a multiple of the cluster size",
		func(h *Header) any { return &h.L1TableOffset }},
	{"refcount_table_offset", 48, 8, 2, "byte offset of the refcount table, a multiple of the cluster size",
		func(h *Header) any { return &h.RefcountTableOffset }},
	{"refcount_table_clusters", 56, 4, 2, "clusters of the refcount table, at least 1",
		func(h *Header) any { return &h.RefcountTableClusters }},
	{"nb_snapshots", 60, 4, 2, "snapshots in the snapshot table",
		func(h *Header) any { return &h.NbSnapshots }},
	{"snapshots_offset", 64, 8, 2, "byte offset of the snapshot table, a multiple of the cluster size",
		func(h *Header) any { return &h.SnapshotsOffset }},
	{"incompatible_features", 72, 8, 3, "bit 0 dirty, 1 corrupt, 2 external data file, 3 compression type, 4 extended L2 entries",
		func(h *Header) any { return (*uint64)(&h.IncompatibleFeatures) }},
	{"compatible_features", 80, 8, 3, "bit 0 lazy refcounts",
		func(h *Header) any { return (*uint64)(&h.CompatibleFeatures) }},
	{"autoclear_features", 88, 8, 3, "bit 0 bitmaps extension valid, 1 raw external data",
		func(h *Header) any { return (*uint64)(&h.AutoclearFeatures) }},
	{"refcount_order", 96, 4, 3, "0 to 6: a refcount is 1 << refcount_order bits wide; 4 in version 2",
		func(h *Header) any { return &h.RefcountOrder }},
	{"header_length", 100, 4, 3, "at least 104, a multiple of 8; 72 in version 2",
		func(h *Header) any { return &h.HeaderLength }},
	{"compression_type", 104, 1, 3, "0 deflate (zlib), 1 zstd; not 0 exactly when incompatible bit 3 is set",
		func(h *Header) any { return (*uint8)(&h.CompressionType) }},
	{"padding", 105, 7, 3, "0",
		func(h *Header) any { return &h.Padding }},
}

// Fields yields the fields of the image header in the order of the file.
func Fields() iter.Seq[Field] { return slices.Values(fields[:]) }

// Fields yields the fields that h has, each with its value, in the order of the
// file. A field is absent if the version does not have it, or if the header or the
// file ends before it.
func (h *Header) Fields() iter.Seq2[Field, uint64] {
	return func(yield func(Field, uint64) bool) {
		for f := range Fields() {
			if h.has(f) && !yield(f, f.value(h)) {
				return
			}
		}
	}
}

// decode sets the field in h from its bytes.
func (f Field) decode(h *Header, p []byte) {
	switch v := f.ptr(h).(type) {
	case *uint8:
		*v = p[0]
	case *uint32:
		*v = binary.BigEndian.Uint32(p)
	case *uint64:
		*v = binary.BigEndian.Uint64(p)
	case *[7]byte:
		*v = [7]byte(p)
	}
}

// value returns the field's value in h.
func (f Field) value(h *Header) uint64 {
	switch v := f.ptr(h).(type) {
	case *uint8:
		return uint64(*v)
	case *uint32:
		return uint64(*v)
	case *uint64:
		return *v
	case *[7]byte:
		return binary.BigEndian.Uint64(append([]byte{0}, v[:]...))
	}
	panic("qcow2: header field " + f.Name + " has no value")
}

// Has reports whether h has the named field, as [Header.Fields] yields it. It
// panics if the specification has no such field.
func (h *Header) Has(name string) bool { return h.has(fieldNamed(name)) }

// fieldOffset returns the byte offset of the named field.
func fieldOffset(name string) uint64 { return uint64(fieldNamed(name).Offset) }

// fieldNamed returns the named field.
func fieldNamed(name string) Field {
	i := slices.IndexFunc(fields[:], func(f Field) bool { return f.Name == name })
	if i < 0 {
		panic("qcow2: no header field " + name)
	}
	return fields[i]
}
