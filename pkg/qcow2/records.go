package qcow2

import (
	"bytes"
	"encoding/binary"
)

// The layout of the records in the metadata. No other code holds the offset of a
// field. A record must be as long as its constant here.

const (
	snapshotRecordLength    = 40  // bytes, + extra data, id, name
	bitmapRecordLength      = 24  // bytes, + extra data, name
	bitmapsRecordLength     = 24  // bytes: the data of the bitmaps extension
	encryptionRecordLength  = 16  // bytes: the data of the full disk encryption extension
	luksHeaderLength        = 592 // bytes of LUKS version 1
	luksPreludeLength       = 8   // bytes: magic and version, in every version of LUKS
	luksKeySlotRecordLength = 48  // bytes
	luksKeySlots            = 8
)

// The offsets of the fields that errors are about, from the start of the record.
const (
	snapshotL1OffsetField  = 0
	snapshotL1SizeField    = 8
	snapshotExtraSizeField = 36

	bitmapTableOffsetField = 0
	bitmapTableSizeField   = 8
	bitmapFlagsField       = 12
	bitmapTypeField        = 16
	bitmapGranularityField = 17
	bitmapNameSizeField    = 18
	bitmapExtraSizeField   = 20

	bitmapsReservedField        = 4
	bitmapsDirectoryOffsetField = 16

	luksVersionField        = 6
	luksPayloadField        = 104
	luksKeyBytesField       = 108
	luksKeyIterationsField  = 164
	luksKeySlotsField       = 208
	luksSlotIterationsField = 4
	luksSlotKeyField        = 40
)

// A recordField is where a field lies in a record: bytes from its start, or from
// that of its extra data.
type recordField struct {
	name         string // as in the specification
	offset, size uint64
}

// The fixed part of each record, field by field, and the known extra data of a
// snapshot.
var (
	snapshotFields = [...]recordField{
		{"l1_table_offset", snapshotL1OffsetField, 8}, {"l1_size", snapshotL1SizeField, 4}, {"id_str_size", 12, 2}, {"name_size", 14, 2},
		{"date_sec", 16, 4}, {"date_nsec", 20, 4}, {"vm_clock_nsec", 24, 8}, {"vm_state_size", 32, 4}, {"extra_data_size", snapshotExtraSizeField, 4},
	}
	snapshotExtraFields = [...]recordField{{"vm_state_size_large", 0, 8}, {"disk_size", 8, 8}, {"icount", 16, 8}}
	bitmapFields        = [...]recordField{
		{"bitmap_table_offset", bitmapTableOffsetField, 8}, {"bitmap_table_size", bitmapTableSizeField, 4}, {"flags", bitmapFlagsField, 4}, {"type", bitmapTypeField, 1},
		{"granularity_bits", bitmapGranularityField, 1}, {"name_size", bitmapNameSizeField, 2}, {"extra_data_size", bitmapExtraSizeField, 4},
	}
)

func be16(p []byte) uint16 { return binary.BigEndian.Uint16(p) }
func be32(p []byte) uint32 { return binary.BigEndian.Uint32(p) }
func be64(p []byte) uint64 { return binary.BigEndian.Uint64(p) }

// A snapshotRecord is the fixed part of an entry of the snapshot table.
type snapshotRecord []byte

func (r snapshotRecord) l1TableOffset() uint64 { return be64(r[0:]) }
func (r snapshotRecord) l1Size() uint32        { return be32(r[8:]) }
func (r snapshotRecord) idSize() uint16        { return be16(r[12:]) }
func (r snapshotRecord) nameSize() uint16      { return be16(r[14:]) }
func (r snapshotRecord) seconds() uint32       { return be32(r[16:]) }
func (r snapshotRecord) nanoseconds() uint32   { return be32(r[20:]) }
func (r snapshotRecord) vmClock() uint64       { return be64(r[24:]) }
func (r snapshotRecord) vmStateSize() uint32   { return be32(r[32:]) }
func (r snapshotRecord) extraSize() uint32     { return be32(r[36:]) }

// A bitmapRecord is the fixed part of an entry of the bitmap directory.
type bitmapRecord []byte

func (r bitmapRecord) tableOffset() uint64    { return be64(r[0:]) }
func (r bitmapRecord) tableSize() uint32      { return be32(r[8:]) }
func (r bitmapRecord) flags() uint32          { return be32(r[12:]) }
func (r bitmapRecord) kind() uint8            { return r[16] }
func (r bitmapRecord) granularityBits() uint8 { return r[17] }
func (r bitmapRecord) nameSize() uint16       { return be16(r[18:]) }
func (r bitmapRecord) extraSize() uint32      { return be32(r[20:]) }

// A bitmapsRecord is the data of the bitmaps extension.
type bitmapsRecord []byte

func (r bitmapsRecord) count() uint32           { return be32(r[0:]) }
func (r bitmapsRecord) reserved() uint32        { return be32(r[4:]) }
func (r bitmapsRecord) directorySize() uint64   { return be64(r[8:]) }
func (r bitmapsRecord) directoryOffset() uint64 { return be64(r[16:]) }

// An encryptionRecord is the data of the full disk encryption extension.
type encryptionRecord []byte

func (r encryptionRecord) offset() uint64 { return be64(r[0:]) }
func (r encryptionRecord) length() uint64 { return be64(r[8:]) }

// A luksRecord is a LUKS header of version 1. Of other versions only magic and
// version lie in the same places.
type luksRecord []byte

func (r luksRecord) magic() []byte          { return r[0:6] }
func (r luksRecord) version() uint16        { return be16(r[6:]) }
func (r luksRecord) cipherName() string     { return zeroPadded(r[8:40]) }
func (r luksRecord) cipherMode() string     { return zeroPadded(r[40:72]) }
func (r luksRecord) hashSpec() string       { return zeroPadded(r[72:104]) }
func (r luksRecord) payloadSectors() uint32 { return be32(r[104:]) }
func (r luksRecord) keyBytes() uint32       { return be32(r[108:]) }
func (r luksRecord) keyIterations() uint32  { return be32(r[164:]) }
func (r luksRecord) uuid() string           { return zeroPadded(r[168:208]) }
func (r luksRecord) keySlot(i int) luksKeySlotRecord {
	return luksKeySlotRecord(r[luksKeySlotsField+i*luksKeySlotRecordLength:])
}

// A luksKeySlotRecord is one of the key slots of a luksRecord.
type luksKeySlotRecord []byte

func (r luksKeySlotRecord) state() uint32              { return be32(r[0:]) }
func (r luksKeySlotRecord) iterations() uint32         { return be32(r[4:]) }
func (r luksKeySlotRecord) keyMaterialSectors() uint32 { return be32(r[40:]) }
func (r luksKeySlotRecord) stripes() uint32            { return be32(r[44:]) }

// zeroPadded returns the text of a zero-padded field: arbitrary bytes.
func zeroPadded(p []byte) string {
	text, _, _ := bytes.Cut(p, []byte{0})
	return string(text)
}
