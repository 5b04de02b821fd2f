package cmd

import (
	"fmt"
	"iter"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// decodeEncryption sets the cells about the LUKS header.
func (r *extensionRow) decodeEncryption(x qcow2.Extension) {
	e, err := x.EncryptionHeader()
	if err != nil {
		return // ExtensionError returns the same error
	}
	g, _ := r.rep.img.Geometry() // there is one: extensions were read
	r.cells[extensionLocation] = nestedFacts(
		&render.Section{Title: fmt.Sprintf("Encryption header (extension at %#x)", x.Offset), ClusterBits: g.ClusterBits},
		fact{render.Column{Key: "offset", Title: "Offset", Kind: render.KindAddr}, render.Addr(e.Offset)},
		fact{render.Column{Key: "length", Title: "Length", Kind: render.KindSize}, render.Size(e.Length)},
	)
	l, _, err := r.rep.img.LUKS()
	if err != nil {
		r.rep.damaged(err)
		return
	}
	for _, e := range l.Damage {
		r.rep.damaged(e)
	}
	r.cells[extensionEncrypt] = nestedFacts(&render.Section{Title: "LUKS"}, luksFacts(l)...)
	r.cells[extensionContent] = render.Text(fmt.Sprintf("LUKS version %d", l.Version))
}

// luksFacts describe a LUKS header. Only the version is known if that is not 1.
func luksFacts(l *qcow2.LUKS) []fact {
	known := l.Version == 1
	text := func(s string) render.Value { return imageText(s, known) }
	name := func(s string) render.Value { return imageText(s, known && s != "") }
	return []fact{
		{render.Column{Key: "format", Title: "Format", Kind: render.KindText, Show: render.InPlain | render.InJSON}, render.Text("luks")},
		{render.Column{Key: "version", Title: "Version", Kind: render.KindUint}, render.Uint(uint64(l.Version))},
		{render.Column{Key: "cipher-alg", Title: "Cipher", Kind: render.KindImageText}, text(l.CipherAlg())},
		{render.Column{Key: "cipher-mode", Title: "Cipher mode", Kind: render.KindImageText}, text(l.CipherModeAlg())},
		{render.Column{Key: "ivgen-alg", Title: "IV generator", Kind: render.KindImageText}, name(l.IVGenAlg())},
		{render.Column{Key: "ivgen-hash-alg", Title: "IV generator hash", Kind: render.KindImageText}, name(l.IVGenHashAlg())},
		{render.Column{Key: "hash-alg", Title: "Hash", Kind: render.KindImageText}, text(l.HashSpec)},
		{render.Column{Key: "uuid", Title: "UUID", Kind: render.KindImageText}, text(l.UUID)},
		{render.Column{Key: "payload-offset", Title: "Payload offset", Kind: render.KindSize}, valueIf(known, render.Size(l.PayloadOffset()))},
		{render.Column{Key: "master-key-iters", Title: "Master key iterations", Kind: render.KindUint}, valueIf(known, render.Uint(uint64(l.KeyIterations)))},
		{render.Column{Key: "slots", Kind: render.KindRows}, valueIf(known, render.Rows(keySlotsSection(), keySlotRows(l)))},
	}
}

// Columns of the section of key slots.
const (
	slotActive = iota
	slotIterations
	slotKeyOffset
	slotStripes

	slotColumns // how many
)

// keySlotsSection declares the key slots of a LUKS header.
func keySlotsSection() *render.Section {
	return &render.Section{
		Title:  "LUKS key slots",
		Layout: render.LayoutList,
		Columns: []render.Column{
			slotActive:     {Key: "active", Title: "ACTIVE", Kind: render.KindBool},
			slotIterations: {Key: "iters", Title: "ITERATIONS", Kind: render.KindUint},
			slotKeyOffset:  {Key: "key-offset", Title: "KEY OFFSET", Kind: render.KindOffset},
			slotStripes:    {Key: "stripes", Title: "STRIPES", Kind: render.KindUint},
		},
	}
}

// keySlotRows yields the rows of the key slots.
func keySlotRows(l *qcow2.LUKS) iter.Seq[[]render.Value] {
	return func(yield func([]render.Value) bool) {
		c := make([]render.Value, slotColumns)
		for _, s := range l.KeySlots {
			c[slotActive], c[slotKeyOffset] = render.Bool(s.Active()), render.Offset(s.KeyOffset())
			c[slotIterations] = valueIf(s.Active(), render.Uint(uint64(s.Iterations)))
			c[slotStripes] = valueIf(s.Active(), render.Uint(uint64(s.Stripes)))
			if !yield(c) {
				return
			}
		}
	}
}
