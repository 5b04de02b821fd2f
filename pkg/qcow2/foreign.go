package qcow2

import "strings"

// A ForeignFormat is the Kind of an [Error] about a file in another format than
// qcow2, and an [ErrNotQcow2]. It is QEMU's name of the format if QEMU has one:
// "vmdk", "vhdx", "vpc", "vdi", "qcow" (version 1), "qed", "luks", "parallels",
// "bochs", "cloop", "raw"; else "iso", "tar", "gzip", "bzip2", "xz" or "zstd".
//
// A format is recognised by a few bytes; what they point to is not read.
type ForeignFormat string

// Error returns "not a qcow2 image: " and the name of the format.
func (f ForeignFormat) Error() string { return ErrNotQcow2.Error() + ": " + string(f) }

// Is reports whether target is [ErrNotQcow2].
func (f ForeignFormat) Is(target error) bool { return target == ErrNotQcow2 }

// A signature is the bytes that files of a format have at a certain offset.
type signature struct {
	format ForeignFormat
	what   string // in words, with an article
	offset int64  // bytes from the start of the file; negative: from its end
	text   string
}

const descriptorWords = "a vmdk descriptor, which names the files of the image"

// signatures are of the formats that are mistaken for qcow2, or wrapped around it.
// The first that matches decides: formats that can hold any bytes where others have
// their signature come last.
var signatures = [...]signature{
	{"qcow", "a qcow image, version 1 of the format", 0, "QFI\xfb\x00\x00\x00\x01"},
	{"", "", 0, "QFI\xfb"}, // qcow2: no foreign format
	{"vmdk", "a vmdk image", 0, "KDMV"},
	{"vmdk", "a vmdk image", 0, "COWD"},
	{"vmdk", descriptorWords, 0, "# Disk DescriptorFile"},
	{"vhdx", "a vhdx image", 0, "vhdxfile"},
	{"vpc", "a vpc (vhd) image", 0, "conectix"},
	{"qed", "a qed image", 0, "QED\x00"},
	{"luks", "a LUKS volume", 0, "LUKS\xba\xbe"},
	{"parallels", "a parallels image", 0, "WithoutFreeSpace"},
	{"parallels", "a parallels image", 0, "WithouFreSpacExt"},
	{"bochs", "a bochs image", 0, "Bochs Virtual HD Image"},
	{"cloop", "a cloop image", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"},
	{"gzip", "a gzip-compressed file", 0, "\x1f\x8b\x08"},
	{"bzip2", "a bzip2-compressed file", 0, "BZh"},
	{"xz", "an xz-compressed file", 0, "\xfd7zXZ\x00"},
	{"zstd", "a zstd-compressed file", 0, "\x28\xb5\x2f\xfd"},
	{"vdi", "a vdi image", 0x40, "\x7f\x10\xda\xbe"},
	{"tar", "a tar archive", 257, "ustar"},
	{"vpc", "a vpc (vhd) image of fixed size", -512, "conectix"},
	{"iso", "an ISO 9660 image", 32769, isoSignature}, // often with an MBR
	{"raw", "a raw disk image, with a GPT", 512, "EFI PART"},
	{"raw", "a raw disk image, with a GPT", 4096, "EFI PART"},
	{"raw", "a raw disk image, with a boot sector", 510, bootSignature},
}

// foreignError returns an error when the file, which begins with p, is in a
// known format other than qcow2.
func (s *source) foreignError(p []byte) error {
	if s.hasVMDKVersion(p) {
		return notQcow2("vmdk", descriptorWords)
	}
	for i := range signatures {
		sig := &signatures[i]
		if !s.holds(p, sig) {
			continue
		}
		if sig.format == "" {
			return nil
		}
		return notQcow2(sig.format, sig.what)
	}
	return nil
}

func notQcow2(format ForeignFormat, what string) error {
	return errorf(SectionHeader, 0, format, "%v: this is %s", ErrNotQcow2, what)
}

// hasVMDKVersion reports whether the file, which begins with p, is a vmdk descriptor
// to QEMU, whatever its comments say.
func (s *source) hasVMDKVersion(p []byte) bool {
	if len(p) == 0 || !strings.ContainsRune("# v", rune(p[0])) { // no more is read
		return false
	}
	p, err := s.read(SectionHeader, 0, min(s.size, vmdkProbeBytes), "a signature")
	_, ok := vmdkVersion(p)
	return err == nil && ok
}

// holds reports whether the file, which begins with p, has a signature. One that
// cannot be read counts as absent.
func (s *source) holds(p []byte, sig *signature) bool {
	off, n := uint64(sig.offset), uint64(len(sig.text))
	if sig.offset < 0 {
		off += s.size // wraps around if the file is too short: no such offset
	}
	if end := off + n; end >= n && end <= uint64(len(p)) {
		return string(p[off:end]) == sig.text
	}
	p, err := s.read(SectionHeader, off, n, "a signature")
	return err == nil && string(p) == sig.text
}
