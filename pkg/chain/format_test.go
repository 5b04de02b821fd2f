package chain_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestFormats: a format that is declared wins over what the file looks like.
func TestFormats(t *testing.T) {
	qcow := qcow2test.Image{Size: 4 * cluster}.Build().Bytes
	vmdk := append([]byte("KDMV"), make([]byte, 1020)...)
	fixed := append(make([]byte, 1024), append([]byte("conectix"), make([]byte, 504)...)...)
	luks := append([]byte("LUKS\xba\xbe\x00\x01"), make([]byte, 1016)...)
	tests := []struct {
		content  []byte
		declared string
		status   chain.Status
		format   string
		probed   bool
		reason   string
		remarks  []chain.RemarkKind
	}{
		{qcow, "qcow2", chain.Opened, "qcow2", false, "", nil},
		{qcow, "", chain.Opened, "qcow2", true, "", []chain.RemarkKind{chain.FormatUndeclared}},
		{qcow, "raw", chain.Opened, "raw", false, "", []chain.RemarkKind{chain.FormatContradicted}},
		{make([]byte, 1000), "raw", chain.Opened, "raw", false, "", []chain.RemarkKind{chain.SizesDiffer}},
		{nil, "raw", chain.Opened, "raw", false, "", []chain.RemarkKind{chain.SizesDiffer}},
		{make([]byte, 1000), "", chain.Opened, "raw", true, "", []chain.RemarkKind{chain.FormatUndeclared, chain.SizesDiffer}},
		{fixed, "", chain.Opened, "raw", true, "", []chain.RemarkKind{chain.FormatUndeclared, chain.SizesDiffer}},
		{make([]byte, 1000), "qcow2", chain.Unreadable, "raw", false, "looks like raw", nil},
		{vmdk, "qcow2", chain.Unreadable, "vmdk", false, "looks like vmdk", nil},
		{qcow[:50], "qcow2", chain.Unreadable, "qcow2", false, "72", nil},
		{vmdk, "vmdk", chain.Opaque, "vmdk", false, `"vmdk"`, nil},
		{vmdk, "", chain.Opaque, "vmdk", true, "looks like vmdk", []chain.RemarkKind{chain.FormatUndeclared}},
		{luks, "", chain.Opaque, "luks", true, "looks like luks", []chain.RemarkKind{chain.FormatUndeclared}},
		{[]byte("#x\nversion=1\n"), "", chain.Opaque, "vmdk", true, "looks like vmdk", []chain.RemarkKind{chain.FormatUndeclared}},
		{[]byte("Bochs Virtual HD Image"), "", chain.Opaque, "bochs", true, "looks like bochs", []chain.RemarkKind{chain.FormatUndeclared}},
		{[]byte("#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"), "", chain.Opaque, "cloop", true, "looks like cloop", []chain.RemarkKind{chain.FormatUndeclared}},
		{qcow, "nbd", chain.Opaque, "qcow2", false, `"nbd", and looks like qcow2`, nil},
		{qcow, "fo\x1bo", chain.Opaque, "qcow2", false, `"fo\x1bo"`, nil},
	}
	for _, tt := range tests {
		t.Chdir(t.TempDir())
		write(t, ".", "base", tt.content)
		write(t, ".", "top", overlay("base", tt.declared).Build().Bytes)
		c, _ := follow(t, "top", 0)
		l := c.Layers[1]
		if l.Status != tt.status || l.Format != tt.format || l.Probed != tt.probed || !strings.Contains(l.Reason, tt.reason) {
			t.Errorf("%.4q declared %q: %v, format %q, probed %v, reason %q", tt.content, tt.declared, l.Status, l.Format, l.Probed, l.Reason)
		}
		var kinds []chain.RemarkKind
		for _, r := range c.Remarks {
			kinds = append(kinds, r.Kind)
		}
		if !slices.Equal(kinds, tt.remarks) {
			t.Errorf("%.4q declared %q: remarks %v, want %v", tt.content, tt.declared, kinds, tt.remarks)
		}
		holdSums(t, c)
	}
}

// TestDMG: QEMU takes a file of this name for an image of that format.
func TestDMG(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, ".", "base.dmg", make([]byte, 1024))
	for declared, want := range map[string]chain.Status{"": chain.Opaque, "raw": chain.Opened} {
		write(t, ".", "top", overlay("base.dmg", declared).Build().Bytes)
		c, _ := follow(t, "top", 0)
		if l := c.Layers[1]; l.Status != want {
			t.Errorf("declared %q: %v, format %q", declared, l.Status, l.Format)
		}
	}
}
