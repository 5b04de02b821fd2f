package qcow2

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

const (
	luksHeaderLength   = 592 // bytes of a LUKS version 1 header
	luksPreludeLength  = 8   // bytes: magic and version, in every version
	luksKeySlots       = 8
	luksKeySlotsOffset = 208 // bytes from the start of the header
	luksKeySlotLength  = 48  // bytes
	luksSector         = 512 // bytes: the unit of LUKS offsets

	luksKeyEnabled  = 0x00ac71f3
	luksKeyDisabled = 0x0000dead
)

var luksMagic = []byte("LUKS\xba\xbe")

// LUKS is the LUKS header of an encrypted image (crypt_method 2). Of a version
// other than 1 only Version and Offset are known.
type LUKS struct {
	Offset  uint64 // bytes from the start of the image file
	Version uint16 // 1 or 2

	CipherName     string // as stored: "aes"
	CipherMode     string // as stored: "xts-plain64"
	HashSpec       string // as stored: "sha256"
	UUID           string
	PayloadSectors uint32 // offset of the encrypted data, in sectors of 512 bytes
	KeyBytes       uint32 // length of the master key
	KeyIterations  uint32 // PBKDF2 iterations of the master key's digest
	KeySlots       []LUKSKeySlot
	// Damage is what is wrong with the header; it was decoded all the same.
	Damage []*Error
}

// A LUKSKeySlot is one of the eight key slots of a LUKS version 1 header.
type LUKSKeySlot struct {
	State              uint32 // as stored: 0x00ac71f3 enabled, 0x0000dead disabled
	Iterations         uint32 // PBKDF2 iterations
	KeyMaterialSectors uint32 // offset of the key material, in sectors of 512 bytes
	Stripes            uint32
}

// Active reports whether the slot holds a key.
func (s LUKSKeySlot) Active() bool { return s.State == luksKeyEnabled }

// KeyOffset returns the byte offset of the key material from the start of the
// LUKS header.
func (s LUKSKeySlot) KeyOffset() uint64 { return uint64(s.KeyMaterialSectors) * luksSector }

// PayloadOffset returns the byte offset of the encrypted data from the start
// of the LUKS header, as LUKS sees it. (In qcow2 the data is the clusters.)
func (l *LUKS) PayloadOffset() uint64 { return uint64(l.PayloadSectors) * luksSector }

// luksKeySizes holds the key sizes in bytes that QEMU knows for each cipher.
var luksKeySizes = map[string][]uint32{
	"aes":     {16, 24, 32},
	"cast5":   {16},
	"serpent": {16, 24, 32},
	"twofish": {16, 24, 32},
}

// CipherAlg returns the cipher as qemu-img info names it: "aes-256". A cipher
// or key size that QEMU does not know leaves the name as stored.
func (l *LUKS) CipherAlg() string {
	n := l.KeyBytes
	if l.CipherModeAlg() == "xts" {
		n /= 2 // XTS takes two keys of equal size
	}
	if slices.Contains(luksKeySizes[l.CipherName], n) {
		return fmt.Sprintf("%s-%d", l.CipherName, n*8)
	}
	return l.CipherName
}

// CipherModeAlg returns the block cipher mode as qemu-img info names it: "xts".
func (l *LUKS) CipherModeAlg() string {
	mode, _, _ := strings.Cut(l.CipherMode, "-")
	return mode
}

// IVGenAlg returns how initialisation vectors are made: "plain64", "essiv";
// empty when the header does not say.
func (l *LUKS) IVGenAlg() string {
	_, iv, _ := strings.Cut(l.CipherMode, "-")
	iv, _, _ = strings.Cut(iv, ":")
	return iv
}

// IVGenHashAlg returns the hash of the initialisation vector generator:
// "sha256" in "cbc-essiv:sha256"; empty where there is none.
func (l *LUKS) IVGenHashAlg() string {
	_, hash, _ := strings.Cut(l.CipherMode, ":")
	return hash
}

// An EncryptionHeader is the data of the full disk encryption extension
// (specification, section "Full disk encryption header pointer").
type EncryptionHeader struct {
	Offset uint64 // of the LUKS header, in bytes from the start of the file
	Length uint64 // bytes
}

// EncryptionHeader decodes the data of an extension of type [ExtEncryption].
func (x Extension) EncryptionHeader() (EncryptionHeader, error) {
	if err := x.wantLength(encryptionExtLength); err != nil {
		return EncryptionHeader{}, err
	}
	return EncryptionHeader{
		Offset: binary.BigEndian.Uint64(x.Data),
		Length: binary.BigEndian.Uint64(x.Data[8:]),
	}, nil
}

// encryptionHeaderError returns why there can be no LUKS header at e.
func (img *Image) encryptionHeaderError(e EncryptionHeader) error {
	if img.geometryErr != nil {
		return img.geometryErr
	}
	if c := img.geometry.ClusterSize; e.Offset%c != 0 {
		return errorf(SectionEncryptionHeader, e.Offset, ErrCorrupt, "the offset %#x is not a multiple of the cluster size %#x", e.Offset, c)
	}
	return nil
}

// LUKS decodes the LUKS header at e, which [Extension.EncryptionHeader] of the
// extension of type [ExtEncryption] returns. The error is an [*Error]; with one
// of kind [ErrUnsupported], about a version other than 1, there is a LUKS as
// well.
func (img *Image) LUKS(e EncryptionHeader) (*LUKS, error) {
	if err := img.encryptionHeaderError(e); err != nil {
		return nil, err
	}
	p, err := img.src.read(SectionEncryptionHeader, e.Offset, luksPreludeLength, "the LUKS magic")
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(p, luksMagic) {
		return nil, errorf(SectionEncryptionHeader, e.Offset, ErrCorrupt, "it begins with %x, not with the LUKS magic %x", p[:len(luksMagic)], luksMagic)
	}
	l := &LUKS{Offset: e.Offset, Version: binary.BigEndian.Uint16(p[len(luksMagic):])}
	switch l.Version {
	case 1:
		if p, err = img.src.read(SectionEncryptionHeader, e.Offset, luksHeaderLength, "the LUKS header"); err != nil {
			return nil, err
		}
		l.decode(p)
	case 2: // recognised; QEMU reads no further either
	default:
		return l, errorf(SectionEncryptionHeader, e.Offset+uint64(len(luksMagic)), ErrUnsupported, "LUKS version %d is not known", l.Version)
	}
	l.judge(e)
	return l, nil
}

// decode reads a LUKS version 1 header from its 592 bytes.
func (l *LUKS) decode(p []byte) {
	l.CipherName = luksText(p[8:40])
	l.CipherMode = luksText(p[40:72])
	l.HashSpec = luksText(p[72:104])
	l.PayloadSectors = binary.BigEndian.Uint32(p[104:])
	l.KeyBytes = binary.BigEndian.Uint32(p[108:])
	l.KeyIterations = binary.BigEndian.Uint32(p[164:])
	l.UUID = luksText(p[168:208])
	for i := range luksKeySlots {
		s := p[luksKeySlotsOffset+i*luksKeySlotLength:]
		l.KeySlots = append(l.KeySlots, LUKSKeySlot{
			State:              binary.BigEndian.Uint32(s),
			Iterations:         binary.BigEndian.Uint32(s[4:]),
			KeyMaterialSectors: binary.BigEndian.Uint32(s[40:]),
			Stripes:            binary.BigEndian.Uint32(s[44:]),
		})
	}
}

// judge records what contradicts the specification in a decoded header.
func (l *LUKS) judge(e EncryptionHeader) {
	bad := func(at uint64, format string, args ...any) {
		l.Damage = append(l.Damage, errorf(SectionEncryptionHeader, l.Offset+at, ErrCorrupt, format, args...))
	}
	if e.Length < luksHeaderLength {
		bad(0, "the header extension gives it %d bytes, fewer than the %d of a LUKS header", e.Length, luksHeaderLength)
	}
	if l.Version != 1 {
		return
	}
	if l.PayloadOffset() < luksHeaderLength {
		bad(104, "the payload offset of %d sectors lies in the header", l.PayloadSectors)
	}
	if l.KeyBytes == 0 {
		bad(108, "the master key has 0 bytes")
	}
	if l.KeyIterations == 0 {
		bad(164, "the digest of the master key has 0 iterations")
	}
	for i, s := range l.KeySlots {
		at := uint64(luksKeySlotsOffset + i*luksKeySlotLength)
		switch length := uint64(l.KeyBytes) * uint64(s.Stripes); {
		case s.State == luksKeyDisabled:
		case s.State != luksKeyEnabled:
			bad(at, "key slot %d is neither enabled nor disabled: 0x%08x", i, s.State)
		case s.Iterations == 0:
			bad(at+4, "key slot %d has 0 iterations", i)
		case s.KeyOffset() < luksHeaderLength:
			bad(at+40, "the key material of key slot %d, at sector %d, lies in the header", i, s.KeyMaterialSectors)
		case length > l.PayloadOffset() || s.KeyOffset() > l.PayloadOffset()-length:
			bad(at+40, "the key material of key slot %d, %d bytes at sector %d, reaches beyond the payload offset of %d sectors", i, length, s.KeyMaterialSectors, l.PayloadSectors)
		}
	}
}

// luksText returns the text of a zero-padded field: arbitrary bytes.
func luksText(p []byte) string {
	text, _, _ := bytes.Cut(p, []byte{0})
	return string(text)
}
