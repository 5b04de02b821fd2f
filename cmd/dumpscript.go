package cmd

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A dumpScript is a dump in the lines of dump-qcow2.pl, for plain output.
type dumpScript struct{ dump }

// parts returns the parts of the report in the order of the script.
func (d *dumpScript) parts() []func(*report) error {
	return []func(*report) error{d.summary, d.extensions, d.snapshots, d.refuse, d.hostClusters, d.guestClusters}
}

// summary writes the summary of the header.
func (d *dumpScript) summary(rep *report) error {
	reportHeader(rep)
	return rep.Lines(func(dst []byte) []byte { return d.appendSummary(dst, rep.img) })
}

// extensions writes the header extensions.
func (d *dumpScript) extensions(rep *report) error {
	row := newExtensionRow(rep)
	i := -1
	return each(rep, rep.img.Extensions(), func(x qcow2.Extension) error {
		row.of(x) // reports what is wrong with it
		i++
		return rep.Lines(func(dst []byte) []byte { return d.appendExtension(dst, i, x) })
	})
}

// snapshots writes the snapshot table.
func (d *dumpScript) snapshots(rep *report) error {
	return eachSnapshot(rep, func(s *qcow2.Snapshot) error {
		return rep.Lines(func(dst []byte) []byte {
			return fmt.Appendf(dst, "\nSnapshot #%s (%s)\nL1 table: %d entries at %s",
				render.Escape(s.ID), render.Escape(s.Name), s.L1Size, d.cluster(s.L1TableOffset))
		})
	})
}

// hostClusters writes what the host clusters hold, if that is wanted.
func (d *dumpScript) hostClusters(rep *report) error {
	if !d.host {
		return nil
	}
	if err := d.heading(rep, "Host clusters"); err != nil {
		return err
	}
	lines := hostLines{g: d.g, inDump: true, selected: d.selected}
	return listHost(rep, "", lines, qcow2.HostOptions{Wanted: qcow2.HostKind.Referenced, PerCluster: true, Snapshot: d.selected})
}

// guestClusters writes where the guest clusters lie, if that is wanted.
func (d *dumpScript) guestClusters(rep *report) error {
	if !d.guest {
		return nil
	}
	if err := d.heading(rep, "Guest address -> Host address"); err != nil {
		return err
	}
	return listGuest(rep, "", guestLines{g: d.g, inDump: true}, qcow2.GuestOptions{PerCluster: true, Snapshot: d.selected, Mapped: true})
}

// heading writes an empty line and a heading.
func (d *dumpScript) heading(rep *report, words string) error {
	return rep.Lines(func(dst []byte) []byte { return append(append(dst, '\n'), words...) })
}

// cluster returns a host offset with the number of its cluster.
func (d *dumpScript) cluster(offset uint64) string {
	return string(render.AppendAddr(nil, offset, d.g.ClusterBits))
}

// appendSummary appends the summary of the header.
func (d *dumpScript) appendSummary(dst []byte, img *qcow2.Image) []byte {
	h, g := img.Header(), d.g
	dst = fmt.Appendf(dst, "QCOW2 version %d\n", h.Version)
	dst = fmt.Appendf(dst, "Header size: %d bytes\n", h.HeaderLength)
	dst = fmt.Appendf(dst, "File size: %s\n", scriptSize(uint64(img.Size())))
	dst = fmt.Appendf(dst, "Virtual size: %s\n", scriptSize(h.Size))
	dst = fmt.Appendf(dst, "Cluster size: %s (%d clusters)\n", scriptSize(g.ClusterSize), g.HostClusters)
	if h.BackingFileOffset != 0 {
		name, _, _ := img.BackingFile() // its error is among those of the header
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
	return appendScriptFeatures(dst, h)
}

// appendScriptFeatures appends the feature bits in the script's words. Newer bits
// have words in its manner.
func appendScriptFeatures(dst []byte, h *qcow2.Header) []byte {
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

// appendExtension appends the i-th header extension.
func (d *dumpScript) appendExtension(dst []byte, i int, x qcow2.Extension) []byte {
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
