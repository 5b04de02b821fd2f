package qcow2_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// openLUKS opens an image with the given LUKS header and decodes it.
func openLUKS(t *testing.T, b *qcow2test.Built) (*qcow2.LUKS, error) {
	t.Helper()
	l, ok, err := open(t, b).LUKS()
	if !ok {
		t.Fatal("no encryption extension")
	}
	return l, err
}

func TestLUKS(t *testing.T) {
	l, err := openLUKS(t, qcow2test.Image{LUKS: qcow2test.LUKSHeader("aes", "cbc-essiv:sha256", 32)}.Build())
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Damage) > 0 || len(l.KeySlots) != 8 {
		t.Fatalf("damage %v, %d key slots", l.Damage, len(l.KeySlots))
	}
	got := []any{l.Offset, l.Version, l.HashSpec, l.UUID, l.PayloadOffset(), l.KeyIterations, l.KeySlots[1].Active(), l.KeySlots[1], l.KeySlots[2].Active(), l.KeySlots[7].KeyOffset()}
	want := []any{
		uint64(65536), uint16(1), "sha256", "7e16877b-bd1f-4f8b-86f3-e5f2c6f33d6d", uint64(4096 * 512), uint32(1234), true,
		qcow2.LUKSKeySlot{State: 0x00ac71f3, Iterations: 5678, KeyMaterialSectors: 512, Stripes: 4000}, false, uint64(3536 * 512),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("LUKS header (-want +got):\n%s", diff)
	}
}

// TestLUKSNames holds the names that qemu-img info gives.
func TestLUKSNames(t *testing.T) {
	for _, test := range []struct {
		cipher, mode string
		keyBytes     uint32
		want         []string // cipher-alg, cipher-mode, ivgen-alg, ivgen-hash-alg
	}{
		{"aes", "xts-plain64", 64, []string{"aes-256", "xts", "plain64", ""}},
		{"aes", "xts-plain64", 32, []string{"aes-128", "xts", "plain64", ""}},
		{"aes", "cbc-essiv:sha256", 32, []string{"aes-256", "cbc", "essiv", "sha256"}},
		{"serpent", "cbc-plain", 24, []string{"serpent-192", "cbc", "plain", ""}},
		{"cast5", "cbc-plain64", 16, []string{"cast5-128", "cbc", "plain64", ""}},
		{"twofish", "ecb", 32, []string{"twofish-256", "ecb", "", ""}},
		{"aes", "xts-plain64", 7, []string{"aes", "xts", "plain64", ""}},
		{"rot\x1b13", "none", 1, []string{"rot\x1b13", "none", "", ""}},
	} {
		l := qcow2.LUKS{CipherName: test.cipher, CipherMode: test.mode, KeyBytes: test.keyBytes}
		got := []string{l.CipherAlg(), l.CipherModeAlg(), l.IVGenAlg(), l.IVGenHashAlg()}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", test.cipher, test.mode, diff)
		}
	}
}

func TestBrokenLUKS(t *testing.T) {
	const offset, length = "extension[0].data[0]", "extension[0].data[1]"
	header := qcow2test.LUKSHeader("aes", "xts-plain64", 64)
	with := func(at int, value uint32) []byte { // of key slots the second is enabled
		p := bytes.Clone(header)
		binary.BigEndian.PutUint32(p[at:], value)
		return p
	}
	tests := map[string]struct {
		header  []byte
		patches map[string]uint64
		kind    error
		words   string // of the error, or of the damage where kind is nil
	}{
		"wrong magic":    {append([]byte("XXXX"), header[4:]...), nil, corrupt, "it begins with 58585858babe"},
		"version 3":      {append([]byte("LUKS\xba\xbe\x00\x03"), header[8:]...), nil, qcow2.ErrUnsupported, "LUKS version 3 is not known"},
		"past the end":   {header, map[string]uint64{offset: 1 << 40}, qcow2.ErrTruncated, "the LUKS header lies at 0x10000000000, but the file ends at 0x40000"},
		"overflow":       {header, map[string]uint64{offset: 1<<64 - 4}, corrupt, "is not a multiple of the cluster size"},
		"unaligned":      {append([]byte{0, 0, 0, 0, 0, 0, 0, 0}, header...), map[string]uint64{offset: 65536 + 8}, corrupt, "the offset 0x10008 is not a multiple of the cluster size 0x10000"},
		"no length":      {header, map[string]uint64{length: 0}, nil, "gives it 0 bytes"},
		"key slot state": {append(append([]byte{}, header[:208]...), make([]byte, 384)...), nil, nil, "key slot 0 is neither enabled nor disabled: 0x00000000"},

		"payload":            {with(104, 1), nil, nil, "the payload offset of 1 sectors lies in the header"},
		"no key":             {with(108, 0), nil, nil, "the master key has 0 bytes"},
		"large key":          {with(108, 1<<31), nil, nil, "the key material of key slot 1, 8589934592000 bytes at sector 512, reaches beyond the payload offset of 4096 sectors"},
		"no iterations":      {with(164, 0), nil, nil, "the digest of the master key has 0 iterations"},
		"no slot iterations": {with(260, 0), nil, nil, "key slot 1 has 0 iterations"},
		"key in header":      {with(296, 1), nil, nil, "the key material of key slot 1, at sector 1, lies in the header"},
		"key in payload":     {with(296, 4096-499), nil, nil, "the key material of key slot 1, 256000 bytes at sector 3597, reaches beyond the payload offset of 4096 sectors"},
		"key past 2 TiB":     {with(296, 1<<32-1), nil, nil, "bytes at sector 4294967295, reaches beyond"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l, err := openLUKS(t, qcow2test.Image{LUKS: test.header, Patches: test.patches}.Build())
			if test.kind == nil {
				if err != nil || len(l.Damage) == 0 || !strings.Contains(l.Damage[0].Detail, test.words) {
					t.Errorf("error %v, header %+v; want damage %q", err, l, test.words)
				}
				return
			}
			if err == nil && len(l.Damage) > 0 { // it could be decoded
				err = l.Damage[0]
			}
			if e := asError(t, err); !errors.Is(e, test.kind) || !strings.Contains(e.Detail, test.words) {
				t.Errorf("error %q of kind %v, want %q of kind %v", e, e.Kind, test.words, test.kind)
			}
		})
	}
}

// TestLUKSAtItsEnd: key material can end where the payload begins, and disabled
// slots do not matter.
func TestLUKSAtItsEnd(t *testing.T) {
	header := qcow2test.LUKSHeader("aes", "xts-plain64", 64)
	binary.BigEndian.PutUint32(header[296:], 4096-500)
	binary.BigEndian.PutUint32(header[248:], 1<<32-1)
	if l, err := openLUKS(t, qcow2test.Image{LUKS: header}.Build()); err != nil || len(l.Damage) > 0 {
		t.Errorf("LUKS = %+v, %v", l, err)
	}
}

// TestExtensionError: each extension is judged by itself.
func TestExtensionError(t *testing.T) {
	const bitmaps, encryption, backingFormat = uint32(qcow2.ExtBitmaps), uint32(qcow2.ExtEncryption), uint32(qcow2.ExtBackingFormat)
	for name, test := range map[string]struct {
		consistent qcow2.AutoclearFeatures
		extension  qcow2test.Extension
		want       string
	}{
		"bitmaps, short":             {0, qcow2test.Extension{Type: bitmaps, Data: make([]byte, 16)}, "the bitmaps extension has length 16, not 24"},
		"bitmaps, none, stale":       {0, qcow2test.Extension{Type: bitmaps, Data: make([]byte, 24)}, ""},
		"bitmaps, none":              {qcow2.BitmapsConsistent, qcow2test.Extension{Type: bitmaps, Data: make([]byte, 24)}, "the bitmaps extension counts no bitmaps"},
		"encryption, short":          {0, qcow2test.Extension{Type: encryption, Data: make([]byte, 8)}, "the full-disk-encryption extension has length 8, not 16"},
		"encryption, not aligned":    {0, qcow2test.Extension{Type: encryption, Data: []byte{14: 2, 15: 80, 7: 8}}, "the offset 0x8 is not a multiple of the cluster size 0x10000"},
		"encryption, somewhere":      {0, qcow2test.Extension{Type: encryption, Data: make([]byte, 16)}, ""},
		"backing format, long":       {0, qcow2test.Extension{Type: backingFormat, Data: make([]byte, 16)}, "a backing file format of 16 bytes is above the limit of 15 (BackingFormatBytes)"},
		"backing format, as allowed": {0, qcow2test.Extension{Type: backingFormat, Data: make([]byte, 15)}, ""},
		"unknown":                    {0, qcow2test.Extension{Type: 7, Data: make([]byte, 1)}, ""},
	} {
		b := qcow2test.Image{Extensions: []qcow2test.Extension{test.extension, {Type: test.extension.Type}}}.Build()
		b.Set("autoclear_features", uint64(test.consistent))
		img := open(t, b)
		for x, err := range img.Extensions() {
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := img.ExtensionError(x); err != nil {
				got = asError(t, err).Detail
			}
			if got != test.want {
				t.Errorf("%s: %q, want %q", name, got, test.want)
			}
			break
		}
	}
}

func TestLUKS2IsNamed(t *testing.T) {
	l, err := openLUKS(t, qcow2test.Image{LUKS: append([]byte("LUKS\xba\xbe\x00\x02"), make([]byte, 4096)...)}.Build())
	if err != nil || l.Version != 2 || l.KeySlots != nil {
		t.Errorf("LUKS = %+v, %v", l, err)
	}
}

// TestLUKSCut ends the file inside the LUKS header.
func TestLUKSCut(t *testing.T) {
	b := qcow2test.Image{LUKS: qcow2test.LUKSHeader("aes", "xts-plain64", 64)}.Build()
	if _, err := openLUKS(t, b.Truncate(65536+591)); !errors.Is(err, qcow2.ErrTruncated) {
		t.Errorf("error %v, want truncated", err)
	}
}
