package cmd

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// dumpLines makes the lines of dump-qcow2.pl that are about the image as a
// whole. Several lines have newlines between them, and none after the last.
type dumpLines struct {
	img *qcow2.File
	g   qcow2.Geometry
}

// cluster returns a host offset with the number of its cluster.
func (d *dumpLines) cluster(offset uint64) string {
	return string(render.AppendAddr(nil, offset, d.g.ClusterBits))
}

// summary appends the summary of the header.
func (d *dumpLines) summary(dst []byte, _ []render.Value) []byte {
	h, g := d.img.Header(), d.g
	dst = fmt.Appendf(dst, "QCOW2 version %d\n", h.Version)
	dst = fmt.Appendf(dst, "Header size: %d bytes\n", h.HeaderLength)
	dst = fmt.Appendf(dst, "File size: %s\n", scriptSize(uint64(d.img.Size())))
	dst = fmt.Appendf(dst, "Virtual size: %s\n", scriptSize(h.Size))
	dst = fmt.Appendf(dst, "Cluster size: %s (%d clusters)\n", scriptSize(g.ClusterSize), g.HostClusters)
	if h.BackingFileOffset != 0 {
		name, _, _ := d.img.BackingFile() // the header's errors have what is wrong with it
		dst = fmt.Appendf(dst, "Backing file offset: %#x (%d bytes): %s\n", h.BackingFileOffset, h.BackingFileSize, render.Escape(name))
	}
	dst = fmt.Appendf(dst, "Number of snapshots: %d\n", h.NbSnapshots)
	dst = fmt.Appendf(dst, "Refcount table: %d cluster(s) (%d entries) at %s\n", h.RefcountTableClusters, g.RefcountTableEntries, d.cluster(h.RefcountTableOffset))
	dst = fmt.Appendf(dst, "Refcount entry size: %d bits (%d entries per block)\n", g.RefcountBits, g.RefcountBlockEntries)
	dst = fmt.Appendf(dst, "L1 table: %d entries at %s\n", h.L1Size, d.cluster(h.L1TableOffset))
	if uint64(h.L1Size) != g.L1Entries {
		dst = fmt.Appendf(dst, "Expected L1 entries based on the virtual size: %d\n", g.L1Entries)
	}
	dst = fmt.Appendf(dst, "Encrypted: %s", scriptCryptMethod(h.CryptMethod))
	if h.Version == 2 {
		return dst
	}
	return d.appendFeatures(dst)
}

// appendFeatures appends the feature bits, in the script's words and those that
// it would have for newer bits.
func (d *dumpLines) appendFeatures(dst []byte) []byte {
	h := d.img.Header()
	words := func(title string, word uint64, names ...string) {
		dst = append(append(dst, '\n'), title...)
		if word == 0 {
			dst = append(dst, " none"...)
		}
		for i, name := range names {
			if word>>i&1 != 0 {
				dst = append(append(dst, ' '), name...)
			}
		}
		if word>>len(names) != 0 {
			dst = append(dst, " unknown"...)
		}
	}
	words("Incompatible bits:", uint64(h.IncompatibleFeatures), "dirty", "corrupted", "data_file", "compression_type", "extended_l2")
	words("Compatible bits:", uint64(h.CompatibleFeatures), "lazy_refcounts")
	words("Autoclear bits:", uint64(h.AutoclearFeatures), "bitmaps_extension", "data_file_raw")
	return dst
}

// extension appends the i-th header extension.
func (d *dumpLines) extension(dst []byte, i int, x qcow2.Extension) []byte {
	words := fmt.Sprintf("unknown (%#x)", uint32(x.Type))
	switch x.Type {
	case qcow2.ExtBackingFormat:
		words = "backing file format name"
	case qcow2.ExtFeatureNames:
		words = "feature table name"
	case qcow2.ExtBitmaps:
		words = "bitmaps extension"
	case qcow2.ExtEncryption:
		words = "full disk encryption"
	case qcow2.ExtDataFile:
		words = "external data file name"
	}
	dst = fmt.Appendf(dst, "Header extension %d: %s", i, words)
	switch x.Type {
	case qcow2.ExtFeatureNames:
		n := 0
		for f := range x.FeatureNames() {
			dst = fmt.Appendf(dst, "\n  Feature %d: %s (%s, bit %d)", n, render.Escape(f.Name), f.Kind, f.Bit)
			n++
		}
	case qcow2.ExtEncryption:
		if e, err := x.EncryptionHeader(); err == nil {
			dst = fmt.Appendf(dst, "\n  Offset %s, length %d bytes (%d clusters)", d.cluster(e.Offset), e.Length, d.g.ClustersIn(e.Length))
		}
	}
	return dst
}

// snapshot appends a snapshot.
func (d *dumpLines) snapshot(dst []byte, row []render.Value) []byte {
	return fmt.Appendf(dst, "\nSnapshot #%s (%s)\nL1 table: %d entries at %s",
		render.Escape(row[snapshotID].Str()), render.Escape(row[snapshotName].Str()), row[snapshotL1Entries].Num(), d.cluster(row[snapshotL1Offset].Num()))
}

// scriptCryptMethod returns an encryption method in the script's words.
func scriptCryptMethod(m qcow2.CryptMethod) string {
	switch m {
	case qcow2.CryptNone:
		return "no"
	case qcow2.CryptAES:
		return "AES"
	case qcow2.CryptLUKS:
		return "LUKS"
	}
	return "unknown method"
}

// scriptSize returns a size with a unit and two decimals.
func scriptSize(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	return fmt.Sprintf("%.2f %s", size, units[unit])
}
