package qcow2

import "math"

// fieldBytes is how many bytes of a field a TableEntry has at most: one more than is
// mostly shown.
const fieldBytes = 33

// A recordDecoder decodes the header, or the records of a table, field by field.
type recordDecoder struct {
	img   *Image
	table *Table
	zeros bool
	yield func(*TableEntry, error) bool

	out TableEntry // the argument of yield
	buf [fieldBytes]byte
}

// decode decodes the records, in so far as they lie in the table.
func (d *recordDecoder) decode() {
	switch d.table.Kind {
	case HostHeader:
		d.header()
	case HostSnapshotTable:
		d.snapshots()
	default:
		d.bitmaps()
	}
}

// end returns where the table ends, in bytes.
func (d *recordDecoder) end() uint64 {
	return d.table.Offset + min(d.table.Length, math.MaxUint64-d.table.Offset)
}

// field yields a field, unless it lies outside of the table. It returns false if
// yield did.
func (d *recordDecoder) field(index uint64, name string, at, size uint64, text string) bool {
	if size == 0 || at >= d.end() || at+size <= d.table.Offset {
		return true
	}
	p := d.buf[:min(size, fieldBytes)]
	if at > d.img.src.size || uint64(len(p)) > d.img.src.size-at {
		return true // the record is damaged, and says so
	}
	if err := d.img.src.readFull(tableSection(d.table.Kind), at, p); err != nil {
		return d.yield(nil, err)
	}
	d.out = TableEntry{Offset: at, Index: index, Count: 1, Field: name, Size: size, Bytes: p, Text: text}
	if size <= 8 {
		for _, b := range p {
			d.out.Value = d.out.Value<<8 | uint64(b)
		}
	}
	return d.yield(&d.out, nil)
}

// fields yields the fields of a record at an offset. It returns false if yield did.
func (d *recordDecoder) fields(index, at, length uint64, all []recordField) bool {
	for _, f := range all {
		if f.offset+f.size <= length && !d.field(index, f.name, at+f.offset, f.size, "") {
			return false
		}
	}
	return true
}

// fail yields errors. It returns false if yield did.
func (d *recordDecoder) fail(errs []*Error) bool {
	for _, e := range errs {
		if !d.yield(nil, e) {
			return false
		}
	}
	return true
}

// header yields the fields of the header, the extensions, and the name of the backing
// file. Of another cluster it yields the fields alone.
func (d *recordDecoder) header() {
	h := &d.img.header
	if d.table.Offset != 0 {
		for _, f := range fields {
			if !d.field(0, f.Name, d.table.Offset+uint64(f.Offset), uint64(f.Size), "") {
				return
			}
		}
		return
	}
	for f := range h.Fields() {
		if !d.field(0, f.Name, uint64(f.Offset), uint64(f.Size), "") {
			return
		}
	}
	if !d.field(0, "unknown_fields", KnownHeaderLength, uint64(len(h.Rest)), "") || !d.fail(d.img.HeaderErrors()) || !d.extensions() {
		return
	}
	if name, ok, err := d.img.BackingFile(); ok && err == nil {
		d.field(0, "backing_file_name", h.BackingFileOffset, uint64(len(name)), name)
	}
}

// extensions yields the header extensions. It returns false if yield did.
func (d *recordDecoder) extensions() bool {
	i := uint64(0)
	for x, err := range d.img.Extensions() {
		if err != nil {
			return d.yield(nil, err)
		}
		data := x.Offset + extensionHeaderLength
		if !d.field(i, "extension_type", x.Offset, 4, x.Type.String()) || !d.field(i, "extension_length", x.Offset+4, 4, "") ||
			!d.field(i, "extension_data", data, uint64(len(x.Data)), "") {
			return false
		}
		i++
	}
	return true
}

// snapshots yields the records of a snapshot table. If nothing refers to it, it is
// read as if the header did.
func (d *recordDecoder) snapshots() {
	img := d.img
	if !d.table.HasReference {
		asked := *img
		asked.header.SnapshotsOffset = d.table.Offset
		asked.header.NbSnapshots = uint32(min(d.table.Length/snapshotRecordLength, asked.limits.Snapshots))
		img = &asked
	}
	for s, err := range img.Snapshots() {
		switch {
		case err != nil:
			d.yield(nil, err)
			return
		case s.Offset >= d.end():
			return
		case s.length() <= snapshotRecordLength && s.L1TableOffset == 0 && !d.table.HasReference && !d.zeros, s.Offset+s.length() <= d.table.Offset:
			continue
		}
		if !d.fail(s.Damage) || !d.snapshot(&s) {
			return
		}
	}
}

// snapshot yields the fields of a snapshot. It returns false if yield did.
func (d *recordDecoder) snapshot(s *Snapshot) bool {
	i, extra := uint64(s.Index), s.Offset+snapshotRecordLength
	id := extra + uint64(s.ExtraSize)
	known := min(uint64(s.ExtraSize), extraICount) &^ 7
	return d.fields(i, s.Offset, snapshotRecordLength, snapshotFields[:]) && d.fields(i, extra, known, snapshotExtraFields[:]) &&
		d.field(i, "unknown_extra_data", extra+known, uint64(s.ExtraSize)-known, "") &&
		d.field(i, "id", id, uint64(s.IDSize), s.ID) && d.field(i, "name", id+uint64(s.IDSize), uint64(s.NameSize), s.Name)
}

// bitmaps yields the records of a bitmap directory. If nothing refers to it, it is
// read to the end of the cluster.
func (d *recordDecoder) bitmaps() {
	all := d.img.Bitmaps()
	if !d.table.HasReference {
		all = func(yield func(Bitmap, error) bool) {
			c := newCursor(&d.img.src, SectionBitmapDirectory, d.table.Offset, d.end())
			for c.left() >= bitmapRecordLength {
				if b, err := d.img.bitmapAt(c); !yield(b, err) || err != nil {
					return
				}
			}
		}
	}
	i := uint64(0)
	for b, err := range all {
		switch {
		case err != nil:
			d.yield(nil, err)
			return
		case b.Offset >= d.end():
			return
		case b.TableOffset != 0 || b.TableSize != 0 || b.Name != "" || d.table.HasReference || d.zeros:
			if b.end() > d.table.Offset && (!d.fail(b.Damage) || !d.bitmap(i, &b)) {
				return
			}
		}
		i++
	}
}

// end returns where the entry ends, without padding, in bytes.
func (b *Bitmap) end() uint64 {
	return b.Offset + bitmapRecordLength + uint64(b.ExtraSize) + uint64(len(b.Name))
}

// bitmap yields the fields of a bitmap. It returns false if yield did.
func (d *recordDecoder) bitmap(i uint64, b *Bitmap) bool {
	extra := b.Offset + bitmapRecordLength
	return d.fields(i, b.Offset, bitmapRecordLength, bitmapFields[:]) && d.field(i, "extra_data", extra, uint64(b.ExtraSize), "") &&
		d.field(i, "name", b.end()-uint64(len(b.Name)), uint64(len(b.Name)), b.Name)
}
