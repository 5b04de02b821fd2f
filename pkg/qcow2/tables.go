package qcow2

import "math"

// Where the tables with entries of 8 bytes lie, and why one is not read. No other
// code decides that; the reasons are also errors of the header, or of the record
// that points to the table.

// l1Table returns the L1 table of a snapshot, or the active one for nil. The
// error is why it is not read.
func (img *Image) l1Table(s *Snapshot) (entryTable, *Error) {
	if s == nil {
		h := &img.header
		return entryTable{h.L1TableOffset, uint64(h.L1Size)}, firstOf(img.l1TableErrors())
	}
	return entryTable{s.L1TableOffset, uint64(s.L1Size)}, firstOf(img.snapshotL1Errors(s))
}

// l1TableErrors returns what keeps the active L1 table from being read. One that
// is too small is read as far as it goes.
func (img *Image) l1TableErrors() []*Error {
	h, j := &img.header, headerJudge{img: img}
	n := uint64(h.L1Size) * entrySize
	if n > img.limits.L1Bytes {
		j.field("l1_size", ErrLimit, "%d: a table of %d bytes is above the limit of %d (L1Bytes)", h.L1Size, n, img.limits.L1Bytes)
	}
	j.table("l1_table_offset", h.L1TableOffset, n)
	return j.errs
}

// snapshotL1Errors returns what keeps the L1 table of a snapshot from being read.
func (img *Image) snapshotL1Errors(s *Snapshot) []*Error {
	var errs []*Error
	bad := func(at uint64, kind error, format string, args ...any) {
		errs = append(errs, errorf(SectionSnapshotTable, s.Offset+at, kind, format, args...))
	}
	n := uint64(s.L1Size) * entrySize
	if s.L1TableOffset%img.geometry.ClusterSize != 0 {
		bad(snapshotL1OffsetField, ErrCorrupt, "the L1 table offset %#x of entry %d is not a multiple of the cluster size %#x", s.L1TableOffset, s.Index, img.geometry.ClusterSize)
	} else if s.L1TableOffset > math.MaxInt64-n {
		bad(snapshotL1OffsetField, ErrCorrupt, "the L1 table of entry %d at %#x would reach beyond 2^63", s.Index, s.L1TableOffset)
	}
	if n > img.limits.L1Bytes {
		bad(snapshotL1SizeField, ErrLimit, "the L1 table of entry %d has %d bytes, above the limit of %d (L1Bytes)", s.Index, n, img.limits.L1Bytes)
	}
	return errs
}

// refcountTable returns the refcount table as far as the file reaches. The error
// is why it is not read, or not to its end; the table has no entries if it is not
// read at all.
func (img *Image) refcountTable() (entryTable, *Error) {
	if e := firstOf(img.refcountTableErrors()); e != nil {
		return entryTable{}, errorf(SectionRefcountTable, e.Offset, e.Kind, "%s", e.Detail)
	}
	t := entryTable{img.header.RefcountTableOffset, img.geometry.RefcountTableEntries}
	there := t.span(img.src.size)
	if n := (there.To - there.From) / entrySize; n < t.entries {
		err := errorf(SectionRefcountTable, there.To, ErrTruncated, "the file ends at %#x, before entry %d of %d", img.src.size, n, t.entries)
		if n == 0 {
			err = errorf(SectionRefcountTable, fieldOffset("refcount_table_offset"), ErrTruncated, "the table lies at %#x, but the file ends at %#x", t.offset, img.src.size)
		}
		t.entries = n
		return t, err
	}
	return t, nil
}

// refcountTableErrors returns what keeps the refcount table from being read.
func (img *Image) refcountTableErrors() []*Error {
	h, j := &img.header, headerJudge{img: img}
	n := uint64(h.RefcountTableClusters) * img.geometry.ClusterSize
	j.table("refcount_table_offset", h.RefcountTableOffset, n)
	switch {
	case n == 0:
		j.field("refcount_table_clusters", ErrCorrupt, "is 0")
	case n > img.limits.RefcountTableBytes:
		j.field("refcount_table_clusters", ErrLimit, "%d: a table of %d bytes is above the limit of %d (RefcountTableBytes)",
			h.RefcountTableClusters, n, img.limits.RefcountTableBytes)
	}
	return j.errs
}

// bitmapTable returns the table of a bitmap. The error is why it is not read.
func (img *Image) bitmapTable(b *Bitmap) (entryTable, *Error) {
	return entryTable{b.TableOffset, uint64(b.TableSize)}, firstOf(img.bitmapTableErrors(b))
}

// bitmapTableErrors returns what keeps the table of a bitmap from being read.
func (img *Image) bitmapTableErrors(b *Bitmap) []*Error {
	var errs []*Error
	if b.TableOffset == 0 || b.TableOffset%img.geometry.ClusterSize != 0 {
		errs = append(errs, errorf(SectionBitmapDirectory, b.Offset+bitmapTableOffsetField, ErrCorrupt,
			"the bitmap table offset %#x is not that of a cluster after the header", b.TableOffset))
	}
	if e := img.bitmapSizeError(b); e != nil {
		errs = append(errs, e)
	}
	return errs
}

// bitmapSizeError returns an error if a bitmap is above a limit.
func (img *Image) bitmapSizeError(b *Bitmap) *Error {
	entries, at := uint64(b.TableSize), b.Offset+bitmapTableSizeField
	if entries > img.limits.BitmapTableEntries {
		return errorf(SectionBitmapDirectory, at, ErrLimit, "a bitmap table of %d entries is above the limit of %d (BitmapTableEntries)", entries, img.limits.BitmapTableEntries)
	}
	if n := entries * img.geometry.ClusterSize; n > img.limits.BitmapBytes {
		return errorf(SectionBitmapDirectory, at, ErrLimit, "a bitmap of %d bytes is above the limit of %d (BitmapBytes)", n, img.limits.BitmapBytes)
	}
	return nil
}

// firstOf returns the first error, or nil if there is none.
func firstOf(errs []*Error) *Error {
	if len(errs) == 0 {
		return nil
	}
	return errs[0]
}
