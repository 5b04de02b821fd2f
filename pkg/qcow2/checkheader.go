package qcow2

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// vdiSignature is what a VDI image has at byte 64, as a big-endian number.
const vdiSignature = 0x7f10dabe

// checkHeader judges what the header allows itself.
func (c *checker) checkHeader() {
	h := &c.img.header
	if h.IncompatibleFeatures&Dirty != 0 {
		c.remark(SeverityWarning, FindingDirty, "incompatible_features", "the dirty bit is set: the image was not closed, and refcounts can be wrong")
	}
	if h.IncompatibleFeatures&Corrupt != 0 {
		c.remark(SeverityWarning, FindingCorrupt, "incompatible_features", "the corrupt bit is set: QEMU found damage, and opens the image for reading only")
	}
	if _, named := c.img.DataFile(); c.img.hasDataFile() && !named {
		c.remark(SeverityError, FindingHeader, "incompatible_features", "bit 2 (external data file) is set, but the image does not name the file: QEMU opens it only where it is told which")
	}
	if h.AutoclearFeatures&RawExternalData != 0 && !c.img.hasDataFile() {
		c.remark(SeverityError, FindingHeader, "autoclear_features", "bit 1 (raw external data) is set, but there is no external data file")
	}
	if h.HeaderLength%8 != 0 {
		c.remark(SeverityNote, FindingHeaderLength, "header_length", "header_length %d is not a multiple of 8", h.HeaderLength)
	}
	if h.Padding != [7]byte{} {
		c.remark(SeverityNote, FindingHeaderPadding, "compression_type", "the padding after compression_type is %x, not zeros", h.Padding)
	}
	if h.SnapshotsOffset>>32 == vdiSignature {
		c.remark(SeverityWarning, FindingVDISignature, "snapshots_offset", "snapshots_offset %#x has the signature of a VDI image: without -f, QEMU takes the file for one and refuses it", h.SnapshotsOffset)
	}
	if h.BackingFileOffset > 0 && h.BackingFileOffset < uint64(h.HeaderLength) {
		c.remark(SeverityWarning, FindingBackingNameInHeader, "backing_file_offset", "backing_file_offset %#x lies in the header: no header extension is read", h.BackingFileOffset)
	}
}

// checkExtensions judges each header extension by itself. The walk uses the last
// of a type, and finds the same.
func (c *checker) checkExtensions() {
	last := map[ExtensionType]uint64{}
	for _, t := range []ExtensionType{ExtBitmaps, ExtEncryption, ExtBackingFormat} {
		x, _ := c.img.Extension(t)
		last[t] = x.Offset
	}
	for x, err := range c.img.Extensions() {
		if err != nil || c.stopped {
			return // the walk says it
		}
		e, ok := errors.AsType[*Error](c.img.ExtensionError(x))
		switch {
		case !ok:
		case last[x.Type] == x.Offset:
			c.reportOnce(e)
		default:
			c.reportError(e)
		}
	}
}

// checkFeatureNames judges the records of the feature name table.
func (c *checker) checkFeatureNames() {
	x, _ := c.img.Extension(ExtFeatureNames)
	at := x.Offset + extensionHeaderLength
	for n := range x.FeatureNames() {
		if n.Kind > Autoclear || n.Bit > 63 {
			c.remarkAt(SeverityNote, FindingFeatureName, at, "a name is given to bit %d of the %s features", n.Bit, n.Kind)
		}
		if at += featureNameLength; c.stopped {
			return
		}
	}
}

// checkBacking judges what can be said of the backing file by its name alone.
func (c *checker) checkBacking() {
	name, ok, err := c.img.BackingFile()
	if !ok || err != nil {
		return
	}
	name, _, _ = strings.Cut(name, "\x00") // as QEMU opens it
	if own := c.options.Name; own != "" && path.Clean(FullBackingName(own, name)) == path.Clean(own) {
		c.remark(SeverityWarning, FindingBacksItself, "backing_file_offset", "the backing file is the image itself: QEMU does not open it, or never ends")
	}
	if c.img.header.NbSnapshots > 0 {
		c.remark(SeverityNote, FindingSnapshotsOverBacking, "nb_snapshots", "the snapshots read what they do not have from the backing file of now: another one, or other data in it, changes what they show")
	}
}

// checkUnknown notes features that are not known: clusters can be theirs.
func (c *checker) checkUnknown() {
	h, names := &c.img.header, c.img.FeatureNames()
	if unknown := h.CompatibleFeatures &^ LazyRefcounts; unknown != 0 {
		c.unknown(fieldOffset("compatible_features"), "compatible features are not known: "+quotedList(unknown.Names(names)))
	}
	if unknown := h.AutoclearFeatures &^ (BitmapsConsistent | RawExternalData); unknown != 0 {
		c.unknown(fieldOffset("autoclear_features"), "autoclear features are not known: "+quotedList(unknown.Names(names)))
	}
	first, n := Extension{}, 0
	for x, err := range c.img.Extensions() {
		if err != nil {
			break
		}
		if x.Type.String() == "unknown" {
			if n++; n == 1 {
				first = x
			}
		}
	}
	switch {
	case n == 1:
		c.unknown(first.Offset, fmt.Sprintf("the header extension 0x%08x is not known", uint32(first.Type)))
	case n > 1:
		c.unknown(first.Offset, fmt.Sprintf("%d header extensions are not known, the first is 0x%08x", n, uint32(first.Type)))
	}
}

// unknown notes a feature that is not known.
func (c *checker) unknown(at uint64, what string) {
	c.hide(FindingUnknownFeature)
	c.remarkAt(SeverityNote, FindingUnknownFeature, at, "%s; clusters that they use look leaked, and a repair would free them", what)
}

// remark reports what is no error, about a header field.
func (c *checker) remark(severity Severity, kind FindingKind, field, format string, args ...any) {
	c.remarkAt(severity, kind, fieldOffset(field), format, args...)
}

// remarkAt reports what is no error, about the bytes at a file offset.
func (c *checker) remarkAt(severity Severity, kind FindingKind, at uint64, format string, args ...any) {
	c.report(Finding{Severity: severity, Kind: kind, Entry: at, HasEntry: true, Detail: fmt.Sprintf(format, args...)})
}
