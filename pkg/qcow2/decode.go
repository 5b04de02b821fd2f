package qcow2

import (
	"context"
	"iter"
)

// TableKinds returns the kinds of clusters that [Image.Decode] can read: metadata
// but for the encryption header.
func TableKinds() []HostKind {
	return []HostKind{
		HostHeader, HostRefcountTable, HostRefcountBlock, HostL1Table, HostL2Table,
		HostSnapshotTable, HostBitmapDirectory, HostBitmapTable, HostBitmapData,
	}
}

// A Table is metadata in one piece, as [Image.FindTable], [Image.TableOf] and
// [Image.TableAs] find it.
type Table struct {
	Kind   HostKind // one of TableKinds
	Offset uint64   // bytes from the start of the file
	Length uint64   // bytes
	// Index is the position of the table among those of its kind: that of the entry
	// that points to it. Of the kinds that are in one piece it is 0.
	Index uint64
	// First is the index of the first entry, if the table is a cluster of a larger
	// one.
	First uint64
	// Reference refers to the table; meaningful when HasReference is true. Without
	// it, indexes and addresses are not known.
	Reference    Reference
	HasReference bool
	// Snapshot is the snapshot that the table belongs to, or nil.
	Snapshot *Snapshot
	// Bitmap is the bitmap that a bitmap table or bitmap data belong to, or nil.
	Bitmap *Bitmap
}

// EntryKind is what an entry of a table says.
type EntryKind uint8

// The kinds of entries. Those of L2 entries are the kinds of mappings.
const (
	EntryNone          EntryKind = iota // fields and refcounts have no kind
	EntryUnallocated                    // it points to nothing
	EntryData                           // to a data cluster
	EntryZero                           // to nothing, and reads as zeros
	EntryZeroAllocated                  // to a data cluster, and reads as zeros
	EntryCompressed                     // to compressed data
	EntryL2Table                        // to an L2 table
	EntryRefcountBlock                  // to a refcount block
	EntryClean                          // all bits of a bitmap are 0
	EntryDirty                          // all bits of a bitmap are 1
	EntryStored                         // to bitmap data
)

// EntryKindNames returns the names of the kinds in their order.
func EntryKindNames() []string {
	return append(append([]string{"none"}, MappingKindNames()...), "l2-table", "refcount-block", "clean", "dirty", "stored")
}

// String returns the name of the kind.
func (k EntryKind) String() string { return nameOf(EntryKindNames(), k, "unknown-") }

// entryKindOf returns the kind of an L2 entry.
func entryKindOf(k MappingKind) EntryKind { return EntryUnallocated + EntryKind(k) }

// EntryFlags is a set of the flags of an entry, a bit for each.
type EntryFlags uint8

// The flags of L1 and L2 entries.
const (
	FlagCopied     EntryFlags = 1 << iota // bit 63: the refcount is 1
	FlagZero                              // bit 0: the cluster reads as zeros
	FlagCompressed                        // bit 62: a compressed cluster descriptor
)

// EntryFlagNames returns the names of the flags, lowest bit first.
func EntryFlagNames() []string { return []string{"copied", "zero", "compressed"} }

// A TableEntry is an entry of a table as it is in the file, or several neighbours
// that are equal, or point to one cluster after the other. A field of the header, or
// of a snapshot or a bitmap, is an entry with a Field.
type TableEntry struct {
	Offset uint64 // bytes from the start of the file
	Bit    uint64 // of that byte, from the least significant: where a refcount or a bit begins
	Index  uint64 // in the table; of a field, that of its record
	Count  uint64 // entries
	Value  uint64 // the first (often only) word, the refcount, or the bit
	// Bitmap is the second word of an extended L2 entry; meaningful when HasBitmap
	// is true.
	Bitmap    uint64
	HasBitmap bool
	Step      uint64 // how much each Value is larger than the one before
	Kind      EntryKind
	Flags     EntryFlags
	// HostOffset is where the entry points to, or the cluster that a refcount is of,
	// in bytes; meaningful when HasHost is true.
	HostOffset uint64
	HasHost    bool
	// Refcount is that of each cluster that the entries point to, or the refcount
	// itself; meaningful when HasRefcount is true.
	Refcount    uint64
	HasRefcount bool
	// GuestOffset and Length are the guest addresses that the entries are about, in
	// bytes; of refcounts, Length is that of the host clusters. They are meaningful
	// when HasGuest and HasLength are true.
	GuestOffset uint64
	HasGuest    bool
	Length      uint64
	HasLength   bool
	Sectors     uint64 // sectors of 512 bytes that compressed data touch, else 0
	// Dirty is how many guest bytes are dirty in a bitmap; meaningful when HasDirty
	// is true.
	Dirty    uint64
	HasDirty bool
	Reserved uint64 // the bits that are set but must be 0
	Problems Problems

	Field string // the name of a field, in the words of the specification
	Size  uint64 // of a field, in bytes
	Bytes []byte // the first 33 bytes of a field at most
	Text  string // of a field that holds a text: arbitrary bytes
}

// DecodeOptions selects what [Image.Decode] yields.
type DecodeOptions struct {
	// PerEntry yields every entry by itself.
	PerEntry bool
	// Zeros also yields entries that are 0, and records that are.
	Zeros bool
}

// Decode yields the entries of a table in the order of the file. What cannot be read,
// and what is wrong with records, are [*Error] with a nil entry between them. It
// reads the table, for refcounts a part of their blocks, and for a bitmap table the
// bitmap data; nothing else. A TableEntry is valid until the next is yielded. When
// ctx is done the sequence ends with its error.
//
// It works on images with unknown incompatible features, as far as those leave the
// layout alone.
func (img *Image) Decode(ctx context.Context, t *Table, o DecodeOptions) iter.Seq2[*TableEntry, error] {
	return func(yield func(*TableEntry, error) bool) {
		if img.geometryErr != nil {
			yield(nil, img.geometryErr)
			return
		}
		switch t.Kind {
		case HostHeader, HostSnapshotTable, HostBitmapDirectory:
			(&recordDecoder{img: img, table: t, zeros: o.Zeros, yield: yield}).decode()
		default:
			newEntryDecoder(ctx, img, t, o, yield).decode()
		}
	}
}

// Entries returns how many entries a table has, 0 for the header and for tables of
// records.
func (img *Image) Entries(t *Table) uint64 {
	g := &img.geometry
	switch t.Kind {
	case HostHeader, HostSnapshotTable, HostBitmapDirectory:
		return 0
	case HostL2Table:
		return t.Length / g.L2EntrySize
	case HostRefcountBlock:
		return t.Length * 8 / g.RefcountBits
	case HostBitmapData:
		return t.Length * 8
	}
	return t.Length / entrySize
}

// TableGuestOffset returns the guest address that the first entry of a table is about,
// in bytes, and whether it is about one that is known.
func (img *Image) TableGuestOffset(t *Table) (offset uint64, ok bool) {
	switch t.Kind {
	case HostL1Table, HostL2Table, HostBitmapTable, HostBitmapData:
		d := newEntryDecoder(context.Background(), img, t, DecodeOptions{}, nil)
		offset, _ = d.reach(&TableEntry{Index: t.First})
		return offset, t.HasReference && d.span > 0
	}
	return 0, false
}

// RefcountAt returns the refcount of the cluster at a file offset, in bytes, and
// whether it can be read.
func (img *Image) RefcountAt(offset uint64) (n uint64, ok bool) {
	if img.geometryErr != nil {
		return 0, false
	}
	r, _ := newRefcounts(img).near(offset>>img.geometry.ClusterBits, 1)
	return r.value, r.known
}
