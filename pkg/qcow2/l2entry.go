package qcow2

// An l2Run is one entry of an L2 table, or several neighbours that each continue
// the one before: with the same word, or the next host cluster.
type l2Run struct {
	guest  uint64 // guest cluster number of the first
	n      uint64 // entries
	entry  L2Entry
	bitmap uint64 // second word with extended L2 entries
	at     uint64 // file offset of the first entry; 0 if there is no L2 table
}

// decodeRun decodes the run at the start of p, which holds whole L2 entries.
func (img *Image) decodeRun(p []byte, run *l2Run) {
	word := be64(p)
	run.entry = L2Entry(word)
	step := img.step(run.entry)
	switch {
	case run.entry.Compressed():
		run.n = 1
		if img.geometry.L2EntrySize == 16 {
			run.bitmap = be64(p[8:])
		}
	case img.geometry.L2EntrySize == 16:
		run.bitmap = be64(p[8:])
		run.n = uint64(runLength16(p, word, run.bitmap, step))
	default:
		run.n = uint64(runLength(p, word, step))
	}
}

// hasHost reports whether a standard entry has a host cluster. As in QEMU, host
// offset 0 is one only in an external data file, and only without the zero flag.
func (img *Image) hasHost(e L2Entry) bool {
	return e.HostOffset() != 0 || e.Copied() && img.hasDataFile() && (!e.Zero() || img.geometry.L2EntrySize == 16)
}

// step returns how much larger the entry is that continues e.
func (img *Image) step(e L2Entry) uint64 {
	if img.hasHost(e) {
		return img.geometry.ClusterSize
	}
	return 0
}

// advance removes the first n entries of a run.
func (img *Image) advance(r *l2Run, n uint64) {
	r.guest, r.n = r.guest+n, r.n-n
	r.entry += L2Entry(n * img.step(r.entry))
	if r.at != 0 {
		r.at += n * img.geometry.L2EntrySize
	}
}

// head returns the first n entries of a run.
func (r *l2Run) head(n uint64) l2Run {
	h := *r
	h.n = n
	return h
}

// plainBits returns the bits that the entry of a plain data cluster can have: one
// in this file, with no flag but COPIED. It is 0 if there can be none.
func (img *Image) plainBits() L2Entry {
	if img.hasDataFile() {
		return 0
	}
	return L2Entry(copiedBit | offsetMask&^(img.geometry.ClusterSize-1))
}

// plainHost returns the host offset of a run, in bytes, and whether its clusters
// are plain data clusters that begin inside the file. With extended L2 entries
// these are the clusters with an empty subcluster bitmap.
func (img *Image) plainHost(r *l2Run) (host uint64, ok bool) {
	host = r.entry.HostOffset()
	ok = r.entry&^img.plainBits() == 0 && host != 0 && r.bitmap == 0 && host+(r.n-1)<<img.geometry.ClusterBits < img.src.size
	return host, ok
}

// L1EntryAt returns the L1 entry at a file offset, such as the one that
// [Reference] names for an L2 table. The error is an [*Error].
func (img *Image) L1EntryAt(offset uint64) (L1Entry, error) {
	p, err := img.src.read(SectionL1Table, offset, entrySize, "an entry")
	if err != nil {
		return 0, err
	}
	return L1Entry(be64(p)), nil
}

// L2EntryAt returns the L2 entry at a file offset, such as the one that
// [Reference] names for guest data: its first word and, with extended L2 entries,
// its second, the subcluster bitmap of [Mapping]. The error is an [*Error], or
// that of [Image.Geometry].
func (img *Image) L2EntryAt(offset uint64) (e L2Entry, bitmap uint64, err error) {
	if img.geometryErr != nil {
		return 0, 0, img.geometryErr
	}
	p, err := img.src.read(SectionL2Table, offset, img.geometry.L2EntrySize, "an entry")
	if err != nil {
		return 0, 0, err
	}
	if len(p) > entrySize {
		bitmap = be64(p[entrySize:])
	}
	return L2Entry(be64(p)), bitmap, nil
}
