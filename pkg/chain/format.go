package chain

import (
	"errors"
	"fmt"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

const (
	formatQcow2 = "qcow2"
	formatRaw   = "raw"

	sectorSize = 512 // bytes
)

// read reads an open file as a layer, in the format that is declared, else in the
// one that its first bytes are of.
func (c *Chain) read(l *Layer, f File) {
	img, err := qcow2.Open(f, f.Size(), append([]qcow2.Option{qcow2.WithHoles(f.DataRange)}, c.options.Image...)...)
	looks := looksLike(l.Filename, f, err)
	l.Probed = l.Declared == ""
	l.Format = l.Declared
	if l.Probed {
		l.Format = looks
		c.remarkOn(FormatUndeclared, l.Depth, fmt.Sprintf("the format of %q is not declared: QEMU probes it, and libvirt does not open it", l.Name))
	}
	switch l.Format {
	case formatQcow2:
		c.readQcow2(l, img, err, looks)
	case formatRaw:
		l.readRaw(f)
		if looks == formatQcow2 {
			c.remarkOn(FormatContradicted, l.Depth, "it is declared raw, and looks like a qcow2 image: its header is read as guest data")
		}
	default:
		l.Status, l.Reason = Opaque, fmt.Sprintf("it is declared %q", l.Declared)
		if l.Probed {
			l.Reason = "it looks like " + looks
		} else if looks != l.Declared {
			l.Reason += ", and looks like " + looks
		}
		l.Format = looks
	}
}

// readQcow2 takes a layer for a qcow2 image, if it is one whose tables can be
// understood. looks is what it looks like.
func (c *Chain) readQcow2(l *Layer, img *qcow2.Image, err error, looks string) {
	if err == nil {
		l.Image = img
		err = img.Supported()
	}
	switch {
	case errors.Is(err, qcow2.ErrNotQcow2):
		l.Status, l.Reason, l.Format = Unreadable, "it is declared qcow2, and looks like "+looks, looks
	case err != nil:
		l.Status, l.Reason = Unreadable, err.Error()
	default:
		l.VirtualSize = img.Header().VirtualSize()
	}
}

// readRaw takes a layer for a raw disk.
func (l *Layer) readRaw(f File) {
	l.raw, l.Format, l.FileSize = f, formatRaw, uint64(f.Size())
	l.VirtualSize = (l.FileSize + sectorSize - 1) &^ (sectorSize - 1)
}

// looksLike returns the format that QEMU would take a file for, given its name and
// the error of [qcow2.Open]. It knows no formats of archives and no partition tables.
func looksLike(name string, f File, err error) string {
	format, foreign := errors.AsType[qcow2.ForeignFormat](err)
	if !foreign {
		if errors.Is(err, qcow2.ErrNotQcow2) {
			return rawOrDMG(name)
		}
		return formatQcow2
	}
	switch format {
	case "vmdk", "vhdx", "vdi", "qcow", "qed", "parallels", "luks", "bochs", "cloop":
		return string(format)
	case "vpc": // QEMU does not look for the footer of one of fixed size
		var p [8]byte
		if n, _ := f.ReadAt(p[:], 0); string(p[:n]) == "conectix" {
			return string(format)
		}
	}
	return rawOrDMG(name)
}

// rawOrDMG returns the format of a file without a signature: QEMU knows dmg images
// by their name.
func rawOrDMG(name string) string {
	if base, ok := strings.CutSuffix(name, ".dmg"); ok && base != "" {
		return "dmg"
	}
	return formatRaw
}
