package qcow2

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const (
	luksSector = 512 // bytes: the unit of LUKS offsets

	luksKeyEnabled  = 0x00ac71f3
	luksKeyDisabled = 0x0000dead
)

var luksMagic = []byte("LUKS\xba\xbe")

// LUKS is the LUKS header of an encrypted image (crypt_method 2). Of a version
// other than 1 only Version and Offset are known.
type LUKS struct {
	Offset  uint64 // bytes from the start of the image file
	Version uint16 // as stored; QEMU knows 1

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

// PayloadOffset returns the byte offset of the encrypted data from the start of the
// LUKS header, as LUKS has it. In qcow2 the encrypted data lies in the data
// clusters instead.
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

// IVGenHashAlg returns the hash of the initialisation vector generator: "sha256" in
// "cbc-essiv:sha256"; empty if there is none.
func (l *LUKS) IVGenHashAlg() string {
	_, hash, _ := strings.Cut(l.CipherMode, ":")
	return hash
}

// An EncryptionHeader is the data of the full disk encryption extension
// (specification, section "Full disk encryption header pointer").
type EncryptionHeader struct {
	// Extension is where the header extension lies, in bytes from the start of the
	// file.
	Extension uint64
	Offset    uint64 // of the LUKS header, in bytes from the start of the file
	Length    uint64 // bytes
}

// EncryptionHeader decodes the data of an extension of type [ExtEncryption]. The
// error is an [*Error]: the data has the wrong length.
func (x Extension) EncryptionHeader() (EncryptionHeader, error) {
	if err := x.wantLength(encryptionRecordLength); err != nil {
		return EncryptionHeader{}, err
	}
	r := encryptionRecord(x.Data)
	return EncryptionHeader{Extension: x.Offset, Offset: r.offset(), Length: r.length()}, nil
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

// EncryptionHeader returns where the LUKS header lies, and whether the image has a
// full disk encryption extension. The error, an [*Error], is why there can be no
// LUKS header, or that of [Image.Geometry].
func (img *Image) EncryptionHeader() (e EncryptionHeader, ok bool, err error) {
	x, ok := img.Extension(ExtEncryption)
	if !ok {
		return e, false, img.geometryErr
	}
	if e, err = x.EncryptionHeader(); err == nil {
		err = img.encryptionHeaderError(e)
	}
	return e, true, err
}

// LUKS decodes the LUKS header, and returns whether the image has a full disk
// encryption extension, which points to it. The error, an [*Error], is why there is
// nothing to decode. l is nil then, and if ok is false.
func (img *Image) LUKS() (l *LUKS, ok bool, err error) {
	e, ok, err := img.EncryptionHeader()
	if ok && err == nil {
		l, err = img.luksAt(e)
	}
	return l, ok, err
}

// luksAt decodes the LUKS header at e.
func (img *Image) luksAt(e EncryptionHeader) (*LUKS, error) {
	if e.Offset >= img.src.size {
		return nil, errorf(SectionEncryptionHeader, e.Extension+extensionHeaderLength, ErrTruncated, "the LUKS header lies at %#x, but the file ends at %#x", e.Offset, img.src.size)
	}
	p, err := img.src.read(SectionEncryptionHeader, e.Offset, luksPreludeLength, "the LUKS magic")
	if err != nil {
		return nil, err
	}
	r := luksRecord(p)
	if !bytes.Equal(r.magic(), luksMagic) {
		return nil, errorf(SectionEncryptionHeader, e.Offset, ErrCorrupt, "it begins with %x, not with the LUKS magic %x", r.magic(), luksMagic)
	}
	l := &LUKS{Offset: e.Offset, Version: r.version()}
	switch l.Version {
	case 1:
		if r, err = img.src.read(SectionEncryptionHeader, e.Offset, luksHeaderLength, "the LUKS header"); err != nil {
			return nil, err
		}
		l.decode(r)
	case 2: // recognised; QEMU reads no further either
	default:
		l.Damage = append(l.Damage, errorf(SectionEncryptionHeader, e.Offset+luksVersionField, ErrUnsupported, "LUKS version %d is not known", l.Version))
		return l, nil
	}
	l.judge(e)
	return l, nil
}

// decode sets the fields of a LUKS version 1 header.
func (l *LUKS) decode(r luksRecord) {
	l.CipherName = r.cipherName()
	l.CipherMode = r.cipherMode()
	l.HashSpec = r.hashSpec()
	l.PayloadSectors = r.payloadSectors()
	l.KeyBytes = r.keyBytes()
	l.KeyIterations = r.keyIterations()
	l.UUID = r.uuid()
	for i := range luksKeySlots {
		s := r.keySlot(i)
		l.KeySlots = append(l.KeySlots, LUKSKeySlot{
			State:              s.state(),
			Iterations:         s.iterations(),
			KeyMaterialSectors: s.keyMaterialSectors(),
			Stripes:            s.stripes(),
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
		bad(luksPayloadField, "the payload offset of %d sectors lies in the header", l.PayloadSectors)
	}
	if l.KeyBytes == 0 {
		bad(luksKeyBytesField, "the master key has 0 bytes")
	}
	if l.KeyIterations == 0 {
		bad(luksKeyIterationsField, "the digest of the master key has 0 iterations")
	}
	for i, s := range l.KeySlots {
		at := uint64(luksKeySlotsField + i*luksKeySlotRecordLength)
		switch length := uint64(l.KeyBytes) * uint64(s.Stripes); {
		case s.State == luksKeyDisabled:
		case s.State != luksKeyEnabled:
			bad(at, "key slot %d is neither enabled nor disabled: 0x%08x", i, s.State)
		case s.Iterations == 0:
			bad(at+luksSlotIterationsField, "key slot %d has 0 iterations", i)
		case s.KeyOffset() < luksHeaderLength:
			bad(at+luksSlotKeyField, "the key material of key slot %d, at sector %d, lies in the header", i, s.KeyMaterialSectors)
		case length > l.PayloadOffset() || s.KeyOffset() > l.PayloadOffset()-length:
			bad(at+luksSlotKeyField, "the key material of key slot %d, %d bytes at sector %d, reaches beyond the payload offset of %d sectors", i, length, s.KeyMaterialSectors, l.PayloadSectors)
		}
	}
}
