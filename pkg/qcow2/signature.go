package qcow2

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"
)

// SignatureBytes is how many bytes from the start of a file or of a disk can hold a
// signature that [HeadSignatures] knows.
const SignatureBytes = 36 << 10

// TailBytes is how many bytes at the end of a file can hold a signature that
// [TailSignatures] knows.
const TailBytes = zipEndLength + 0xffff

// A Signature says that bytes look like a file of a format.
type Signature struct {
	// Format is the name of the format: "qcow2", or as in [ForeignFormat], or "dmg"
	// or "zip".
	Format string
	What   string // in words, with an article
	// Offset is where the signature lies, in bytes from the start of what was looked
	// at, and Length how long it is.
	Offset, Length uint64
}

// HeadSignatures yields the signatures of all formats, qcow2 too, at the start of a
// file or of a disk, whose first bytes are p: where those look who probe for the
// format. The master boot record of a raw disk counts if its partition entries are
// valid. More than [SignatureBytes] are not looked at.
func HeadSignatures(p []byte) iter.Seq[Signature] {
	return func(yield func(Signature) bool) {
		for i := range signatures {
			s := &signatures[i]
			if s.offset < 0 || s.text == bootSignature || !holdsAt(p, uint64(s.offset), s.text) {
				continue
			}
			if !yield(s.found()) {
				return
			}
		}
		if at, ok := vmdkVersion(p); ok && !yield(Signature{Format: "vmdk", What: "a vmdk descriptor", Offset: at, Length: uint64(len("version=1"))}) {
			return
		}
		for _, at := range laterDescriptors {
			if holdsAt(p, at, isoSignature) && !yield(Signature{Format: "iso", What: "an ISO 9660 image", Offset: at, Length: uint64(len(isoSignature))}) {
				return
			}
		}
		if hasPartitions(p) {
			yield(Signature{Format: "raw", What: "a raw disk image, with a partition table", Offset: partitionsOffset, Length: partitionsEnd - partitionsOffset})
		}
	}
}

// found returns the signature as it is yielded. That of qcow2 has no words of its
// own in the table.
func (s *signature) found() Signature {
	f := Signature{Format: string(s.format), What: s.what, Offset: uint64(s.offset), Length: uint64(len(s.text))}
	if s.format == "" {
		f.Format, f.What = "qcow2", "a qcow2 image"
	}
	return f
}

// holdsAt reports whether p has a text at an offset.
func holdsAt(p []byte, at uint64, text string) bool {
	return at < uint64(len(p)) && bytes.HasPrefix(p[at:], []byte(text))
}

const isoSignature = "CD001"

// laterDescriptors are where an ISO 9660 image has volume descriptors after the
// first: more than a few do not occur.
var laterDescriptors = [...]uint64{34817}

// vmdkVersion returns where a vmdk descriptor states its version, if p begins with
// one as QEMU recognises it: the line comes first, but for comments and blank lines
// that begin with a space.
func vmdkVersion(p []byte) (at uint64, ok bool) {
	rest := p[:min(len(p), vmdkProbeBytes)]
	for {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if !whole {
			return 0, false
		}
		text := string(bytes.TrimSuffix(line, []byte("\r")))
		switch {
		case strings.HasPrefix(text, "#"), strings.HasPrefix(text, " ") && strings.Trim(text, " ") == "":
			at += uint64(len(line)) + 1
			rest = after
			continue
		}
		return at, text == "version=1" || text == "version=2" || text == "version=3"
	}
}

// vmdkProbeBytes is how far a descriptor is looked for, in bytes: more than QEMU
// looks at.
const vmdkProbeBytes = 2048

// A master boot record: four partition entries of 16 bytes, then its signature.
const (
	partitionsOffset = 446
	partitionLength  = 16
	partitionsEnd    = 512
	bootSignature    = "\x55\xaa"
)

// hasPartitions reports whether p has a master boot record with at least one
// partition, and no entry that cannot be one.
func hasPartitions(p []byte) bool {
	if !holdsAt(p, partitionsEnd-uint64(len(bootSignature)), bootSignature) {
		return false
	}
	used := 0
	for at := partitionsOffset; at < partitionsEnd-len(bootSignature); at += partitionLength {
		entry := p[at : at+partitionLength]
		status, kind, sectors := entry[0], entry[4], binary.LittleEndian.Uint32(entry[12:])
		if status&0x7f != 0 {
			return false
		}
		if kind != 0 && sectors != 0 {
			used++
		}
	}
	return used > 0
}

const (
	footerLength = 512 // of a VHD file, and of a DMG file
	zipEndLength = 22  // of the record at the end of a zip archive, without its comment
)

// TailSignatures yields the signatures of formats at the end of a file, whose last
// bytes are p: a VHD file, a DMG file, a zip archive. Their offsets are from the
// start of p. More than [TailBytes] are not looked at.
func TailSignatures(p []byte) iter.Seq[Signature] {
	return func(yield func(Signature) bool) {
		if len(p) >= footerLength {
			at := uint64(len(p) - footerLength)
			if holdsAt(p, at, "conectix") && !yield(Signature{"vpc", "a vpc (vhd) image", at, 8}) {
				return
			}
			if holdsAt(p, at, "koly") && !yield(Signature{"dmg", "a dmg image", at, 4}) {
				return
			}
		}
		for at := len(p) - zipEndLength; at >= max(len(p)-TailBytes, 0); at-- {
			record := p[at:]
			if comment := binary.LittleEndian.Uint16(record[20:]); holdsAt(record, 0, "PK\x05\x06") && zipEndLength+int(comment) == len(record) {
				yield(Signature{"zip", "a zip archive", uint64(at), zipEndLength})
				return
			}
		}
	}
}
