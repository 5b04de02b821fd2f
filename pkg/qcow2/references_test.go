package qcow2_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// references returns the references of an image, and the words of its errors.
func references(img *qcow2.Image) (refs []qcow2.FileReference, errs []string) {
	for r, err := range img.References() {
		if err != nil {
			errs = append(errs, err.Error())
		} else {
			refs = append(refs, r)
		}
	}
	return refs, errs
}

// TestNameKinds distinguishes names as QEMU does.
func TestNameKinds(t *testing.T) {
	for name, want := range map[string]qcow2.NameKind{
		"base.qcow2":                     qcow2.NameInside,
		"./a:b.qcow2":                    qcow2.NameInside,
		"sub/../base.qcow2":              qcow2.NameInside,
		"..base.qcow2":                   qcow2.NameInside,
		"..":                             qcow2.NameOutside,
		"../base.qcow2":                  qcow2.NameOutside,
		"sub/../../base.qcow2":           qcow2.NameOutside,
		"./..//x":                        qcow2.NameOutside,
		"/base.qcow2":                    qcow2.NameAbsolute,
		"/../base.qcow2":                 qcow2.NameAbsolute,
		"file:base.qcow2":                qcow2.NameProtocol,
		"nbd://host/disk":                qcow2.NameProtocol,
		"a:b.qcow2":                      qcow2.NameProtocol,
		":base":                          qcow2.NameProtocol,
		`json:{"file.filename":"x"}`:     qcow2.NameJSON,
		"json:":                          qcow2.NameJSON,
		"jso\x00n:":                      qcow2.NameInside, // QEMU opens "jso"
		"../x\x00qcow2":                  qcow2.NameOutside,
		"dir/json:{}":                    qcow2.NameInside,
		"\xff":                           qcow2.NameInside,
		"nbd\x00://host":                 qcow2.NameInside,
		strings.Repeat("../", 300) + "e": qcow2.NameOutside,
	} {
		refs, errs := references(open(t, qcow2test.Image{BackingFile: name}.Build()))
		if len(errs) > 0 || len(refs) != 1 || refs[0].Kind != want || refs[0].Name != name {
			t.Errorf("%q: %+v, errors %q; want %v", name, refs, errs, want)
		}
	}
}

func TestReferences(t *testing.T) {
	const dataFile = uint64(qcow2.ExternalDataFile)
	named := qcow2test.Extension{Type: uint32(qcow2.ExtDataFile), Data: []byte("disk.raw")}
	format := qcow2test.Extension{Type: uint32(qcow2.ExtBackingFormat), Data: []byte("raw")}
	tests := map[string]struct {
		img  qcow2test.Image
		want []string
		errs []string
	}{
		"none":             {img: qcow2test.Image{}},
		"backing file":     {img: qcow2test.Image{BackingFile: "base"}, want: []string{"backing-file base inside used"}},
		"with a format":    {img: qcow2test.Image{BackingFile: "/base", Extensions: []qcow2test.Extension{format}}, want: []string{"backing-file /base absolute used raw"}},
		"data file":        {img: qcow2test.Image{IncompatibleFeatures: dataFile, Extensions: []qcow2test.Extension{named}}, want: []string{"data-file disk.raw inside used"}},
		"data file, idle":  {img: qcow2test.Image{Extensions: []qcow2test.Extension{named}}, want: []string{"data-file disk.raw inside"}},
		"data file, twice": {img: qcow2test.Image{IncompatibleFeatures: dataFile, Extensions: []qcow2test.Extension{{Type: named.Type, Data: []byte("x:y")}, named}}, want: []string{"data-file disk.raw inside used"}},
		"no name": {img: qcow2test.Image{IncompatibleFeatures: dataFile},
			errs: []string{"header at offset 0x48: bit 2 (external data file) is set, but the image does not name the file"}},
		"an empty name": {img: qcow2test.Image{IncompatibleFeatures: dataFile, Extensions: []qcow2test.Extension{{Type: named.Type, Data: []byte("\x00x")}}},
			errs: []string{"header at offset 0x48: bit 2 (external data file) is set, but the image does not name the file"}},
		"unknown feature": {img: qcow2test.Image{IncompatibleFeatures: 1 << 60, BackingFile: "base"}, want: []string{"backing-file base inside used"},
			errs: []string{`header at offset 0x48: the image has incompatible features that are not known: "bit-60"`}},
		"no geometry": {img: qcow2test.Image{BackingFile: "base", Patches: map[string]uint64{"cluster_bits": 63}},
			errs: []string{"header at offset 0x14: cluster_bits 63 is outside 9 to 21"}},
		"a name too long": {img: qcow2test.Image{BackingFile: "base", Patches: map[string]uint64{"backing_file_size": 1024}},
			errs: []string{"header at offset 0x10: backing_file_size 1024 is above the limit of 1023 bytes (BackingNameBytes)"}},
	}
	for name, test := range tests {
		refs, errs := references(open(t, test.img.Build()))
		var got []string
		for _, r := range refs {
			words := []string{r.Role.String(), r.Name, r.Kind.String()}
			if r.Used {
				words = append(words, "used")
			}
			if r.Format != "" {
				words = append(words, r.Format)
			}
			got = append(got, strings.Join(words, " "))
		}
		if diff := cmp.Diff([][]string{test.want, test.errs}, [][]string{got, errs}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestReferencesFailClosed: an extension that cannot be read may hide a name.
func TestReferencesFailClosed(t *testing.T) {
	named := qcow2test.Extension{Type: uint32(qcow2.ExtDataFile), Data: []byte("/etc/passwd")}
	b := qcow2test.Image{Extensions: []qcow2test.Extension{{Type: 1, Data: make([]byte, 8)}, named}}.Build()
	refs, errs := references(open(t, b))
	if len(refs) != 1 || len(errs) > 0 {
		t.Fatalf("%+v, %q", refs, errs)
	}
	at := int(refs[0].Offset)
	if got := string(b.Bytes[at : at+len(named.Data)]); got != string(named.Data) {
		t.Errorf("at offset %#x there is %q", at, got)
	}
	for x := range open(t, b).Extensions() {
		b.Bytes[x.Offset+4] = 0xff // its length
		break
	}
	refs, errs = references(open(t, b))
	if len(errs) == 0 {
		t.Errorf("%+v without an error: a gate would let it in", refs)
	}
}

// TestReferencesStop: the sequence ends when the caller stops it.
func TestReferencesStop(t *testing.T) {
	img := open(t, qcow2test.Image{IncompatibleFeatures: 1<<60 | 1<<2, BackingFile: "base"}.Build())
	for n := range 4 {
		seen := 0
		for range img.References() {
			if seen++; seen > n {
				break
			}
		}
		if want := min(n+1, 3); seen != want {
			t.Errorf("stopped after %d: %d were yielded, want %d", n+1, seen, want)
		}
	}
	if got := fmt.Sprint(qcow2.FileRole(9), qcow2.NameKind(9)); got != "unknown-9 unknown-9" {
		t.Errorf("names %q", got)
	}
	if !slices.Contains(qcow2.NameKindNames(), "json") {
		t.Error("no name for json")
	}
}
