package qcow2

// A QEMURequirement is what an image needs of QEMU.
type QEMURequirement struct {
	// Version is the oldest QEMU that opens the image for writing: "5.1". It is
	// empty where none is known to.
	Version string
	// Because are the features that ask for it, in this package's words: "version-2",
	// "version-3", "refcount-bits", "encryption", and those of the feature bits; an
	// unknown bit as the image calls it, arbitrary bytes.
	Because []string
}

// QEMU returns which QEMU opens the image for writing, by its header: damage and
// limits apart, and without what the backing file and the data file need. An older
// one clears autoclear features, such as bitmaps, when it writes. ok is false where
// not all of the header is there, and while there is no geometry.
//
// The versions are cited in docs/format.md.
func (img *Image) QEMU() (need QEMURequirement, ok bool) {
	h := &img.header
	if img.geometryErr != nil {
		return need, false
	}
	f := h.IncompatibleFeatures
	for _, r := range [...]struct { // those of newer versions come later
		version, feature string
		asks             bool
	}{
		{"0.10", "version-2", h.Version == 2},
		{"1.1", "version-3", h.Version == 3},
		{"1.2", "dirty", f&Dirty != 0},
		{"1.7", "corrupt", f&Corrupt != 0},
		{"2.3", "refcount-bits", h.RefcountOrder != 4},
		{"2.10", "encryption", h.CryptMethod == CryptLUKS},
		{"4.0", "data-file", f&ExternalDataFile != 0},
		{"5.1", "compression-type", f&CompressionBit != 0},
		{"5.2", "extended-l2", f&ExtendedL2 != 0},
	} {
		if r.asks {
			need = QEMURequirement{r.version, []string{r.feature}}
		}
	}
	unknown := f.Unknown().Names(img.FeatureNames())
	if h.CryptMethod > CryptLUKS {
		unknown = append(unknown, "encryption")
	}
	if !h.CompressionType.known() {
		unknown = append(unknown, "compression-type")
	}
	if unknown != nil {
		need = QEMURequirement{Because: unknown}
	}
	return need, true
}
