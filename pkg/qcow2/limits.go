package qcow2

import "math"

// Limits bounds what this package reads of a structure whose size the image claims.
// A structure above its limit is not read; the function that needed it returns an
// [Error] of kind [ErrLimit], which names the limit and the value.
//
// Memory is bounded without them, as nothing is allocated on a claim alone; by
// default they are where QEMU refuses an image. The exception is Snapshots: a
// snapshot table in a hole of the file takes no space there, however long it is.
type Limits struct {
	// L1Bytes bounds each L1 table, in bytes.
	L1Bytes uint64
	// RefcountTableBytes bounds the refcount table, in bytes.
	RefcountTableBytes uint64
	// Snapshots bounds the number of snapshots.
	Snapshots uint64
	// SnapshotTableBytes bounds the snapshot table, in bytes.
	SnapshotTableBytes uint64
	// SnapshotExtraBytes bounds the extra data of one snapshot, in bytes.
	SnapshotExtraBytes uint64
	// BackingNameBytes bounds the name of the backing file, in bytes.
	BackingNameBytes uint64
	// Bitmaps bounds the number of bitmaps.
	Bitmaps uint64
	// BitmapDirectoryBytes bounds the bitmap directory, in bytes.
	BitmapDirectoryBytes uint64
	// BitmapNameBytes bounds the name of one bitmap, in bytes.
	BitmapNameBytes uint64
	// BitmapTableEntries bounds each bitmap table, in entries of 8 bytes.
	BitmapTableEntries uint64
	// BitmapBytes bounds each bitmap, in bytes: entries of its table times cluster
	// size.
	BitmapBytes uint64
	// BackingFormatBytes bounds the format of the backing file, in bytes.
	BackingFormatBytes uint64
	// RepeatedTableBytes bounds the L2 tables that one L1 table leads to again, and the
	// refcount blocks that the refcount table does, in bytes. The rest of such a table
	// is not followed. QEMU writes no such table.
	RepeatedTableBytes uint64
}

// DefaultLimits returns the limits that QEMU enforces, and 8 MiB as
// RepeatedTableBytes, for which it has none. docs/limits.md lists them.
func DefaultLimits() Limits {
	return Limits{
		L1Bytes:              32 << 20,
		RefcountTableBytes:   8 << 20,
		Snapshots:            65536,
		SnapshotTableBytes:   64 << 20,
		SnapshotExtraBytes:   1024,
		BackingNameBytes:     1023,
		Bitmaps:              65535,
		BitmapDirectoryBytes: 1024 * 65535,
		BitmapNameBytes:      1023,
		BitmapTableEntries:   0x8000000,
		BitmapBytes:          0x20000000,
		BackingFormatBytes:   15,
		RepeatedTableBytes:   8 << 20,
	}
}

// NoLimits returns limits that nothing exceeds: every structure is read up to the
// end of the file.
func NoLimits() Limits {
	const none = math.MaxUint64
	return Limits{
		L1Bytes:              none,
		RefcountTableBytes:   none,
		Snapshots:            none,
		SnapshotTableBytes:   none,
		SnapshotExtraBytes:   none,
		BackingNameBytes:     none,
		Bitmaps:              none,
		BitmapDirectoryBytes: none,
		BitmapNameBytes:      none,
		BitmapTableEntries:   none,
		BitmapBytes:          none,
		BackingFormatBytes:   none,
		RepeatedTableBytes:   none,
	}
}
