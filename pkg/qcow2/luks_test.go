package qcow2_test

import (
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
	img := open(t, b)
	x, ok := img.Extension(qcow2.ExtEncryption)
	if !ok {
		t.Fatal("no encryption extension")
	}
	e, err := x.EncryptionHeader()
	if err != nil {
		t.Fatal(err)
	}
	return img.LUKS(e)
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
		qcow2.LUKSKeySlot{State: 0x00ac71f3, Iterations: 5678, KeyMaterialSectors: 9, Stripes: 4000}, false, uint64(15 * 512),
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
	tests := map[string]struct {
		header  []byte
		patches map[string]uint64
		kind    error
		words   string // of the error, or of the damage where kind is nil
	}{
		"wrong magic":    {append([]byte("XXXX"), header[4:]...), nil, corrupt, "it begins with 58585858babe"},
		"version 3":      {append([]byte("LUKS\xba\xbe\x00\x03"), header[8:]...), nil, qcow2.ErrUnsupported, "LUKS version 3 is not known"},
		"past the end":   {header, map[string]uint64{offset: 1 << 40}, qcow2.ErrTruncated, "the LUKS magic of 8 bytes, but the file ends at 0x40000"},
		"overflow":       {header, map[string]uint64{offset: 1<<64 - 4}, corrupt, "is not a multiple of the cluster size"},
		"unaligned":      {append([]byte{0, 0, 0, 0, 0, 0, 0, 0}, header...), map[string]uint64{offset: 65536 + 8}, corrupt, "the offset 0x10008 is not a multiple of the cluster size 0x10000"},
		"no length":      {header, map[string]uint64{length: 0}, nil, "gives it 0 bytes"},
		"key slot state": {append(append([]byte{}, header[:208]...), make([]byte, 384)...), nil, nil, "key slot 0 is neither enabled nor disabled: 0x00000000"},
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
			if e := asError(t, err); !errors.Is(e, test.kind) || !strings.Contains(e.Detail, test.words) {
				t.Errorf("error %q of kind %v, want %q of kind %v", e, e.Kind, test.words, test.kind)
			}
		})
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
