package cmd

import (
	"fmt"
	"iter"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// extensionsSection declares the list of header extensions. What an extension
// of another type would decode to is null.
func extensionsSection() *render.Section {
	return &render.Section{
		Key:    "extensions",
		Layout: render.LayoutList,
		Empty:  "no header extensions",
		Columns: []render.Column{
			{Key: "type", Title: "TYPE", Kind: render.KindText, Drop: 2},
			{Key: "name", Title: "NAME", Kind: render.KindText},
			{Key: "offset", Title: "OFFSET", Kind: render.KindOffset},
			{Key: "length", Title: "LENGTH", Kind: render.KindUint, Drop: 1},
			{Key: "content", Title: "CONTENT", Kind: render.KindImageText, Show: render.InTable},
			{Key: "text", Kind: render.KindImageText, Show: render.InPlain | render.InJSON},
			{Key: "features", Kind: render.KindRows},
			{Key: "bitmap-directory", Kind: render.KindRows},
			{Key: "bitmaps", Kind: render.KindRows},
			{Key: "encryption-header", Kind: render.KindRows},
			{Key: "encrypt", Kind: render.KindRows},
			{Key: "preview", Kind: render.KindText, Show: render.InPlain | render.InJSON},
		},
	}
}

func (a *app) newExtensionsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "extensions IMAGE...",
		Short: "Show the header extensions, each decoded",
		Long: `Show every header extension: the feature name table, backing format, external
data file, the bitmap directory with each bitmap, the LUKS header with its key
slots, and the first bytes of the unknown ones.

Use it to see which dirty bitmaps an image has and whether they can be trusted,
how it is encrypted, and what its unknown features are called.

A broken bitmap directory or LUKS header hides nothing else; what is wrong goes
to standard error.

Exit status: 0 fine, 1 nothing could be shown, 2 an extension is damaged.`,
		Example: `  $ qinspect extensions disk.qcow2
  $ qinspect extensions backup.qcow2
  $ qinspect extensions -o json backup.qcow2 | jq '.extensions[].bitmaps // empty'`,
		SuggestFor: []string{"bitmap", "bitmaps"},
		Args:       images,
		RunE:       a.load(runExtensions),

		ValidArgsFunction: completeImages,
	}
}

func runExtensions(rep *report) error {
	if _, err := rep.img.Geometry(); err != nil {
		return err
	}
	for _, e := range rep.img.HeaderErrors() {
		if e.Section == qcow2.SectionExtensions {
			rep.damaged(e)
		}
	}
	return listExtensions(rep, extensionsSection())
}

// listExtensions pushes the rows of the extensions section.
func listExtensions(rep *report, s *render.Section) error {
	rep.Section(s)
	last := lastExtensions(rep.img)
	for x, err := range rep.img.Extensions() {
		if err != nil {
			rep.damaged(err)
			rep.Incomplete()
			break
		}
		c := newExtensionContent(rep, x, last[x.Type] == x.Offset)
		if err := rep.Row(c.row()); err != nil {
			return err
		}
		if err := rep.interrupted(); err != nil {
			return err
		}
	}
	return nil
}

// lastExtensions returns where the last extension of each type lies that leads
// to more than a text. Only that one counts, and only that one is decoded,
// however often an image repeats it.
func lastExtensions(img *qcow2.File) map[qcow2.ExtensionType]uint64 {
	last := map[qcow2.ExtensionType]uint64{}
	for _, t := range []qcow2.ExtensionType{qcow2.ExtFeatureNames, qcow2.ExtBitmaps, qcow2.ExtEncryption} {
		if x, ok := img.Extension(t); ok {
			last[t] = x.Offset
		}
	}
	return last
}

// extensionContent is an extension and what it decodes to; the rest is null.
type extensionContent struct {
	qcow2.Extension
	summary, text, features, directory, bitmaps, location, encrypt, preview render.Value
}

func (c *extensionContent) row() []render.Value {
	return []render.Value{
		render.Text(fmt.Sprintf("0x%08x", uint32(c.Type))),
		render.Text(c.Type.String()),
		render.Offset(c.Offset),
		render.Uint(uint64(len(c.Data))),
		c.summary, c.text, c.features, c.directory, c.bitmaps, c.location, c.encrypt, c.preview,
	}
}

// newExtensionContent decodes an extension, and reports what is wrong with it.
// last tells whether it is the last of its type.
func newExtensionContent(rep *report, x qcow2.Extension, last bool) *extensionContent {
	c := &extensionContent{Extension: x}
	if err := rep.img.ExtensionError(x); err != nil {
		rep.damaged(err)
	}
	switch x.Type {
	case qcow2.ExtBackingFormat, qcow2.ExtDataFile:
		c.text = render.ImageText(x.Text())
		c.summary = c.text
	case qcow2.ExtFeatureNames, qcow2.ExtBitmaps, qcow2.ExtEncryption:
		c.summary = render.Text("replaced by a later one")
		if last {
			c.decode(rep)
		}
	default:
		c.preview = render.Text(preview(x.Data))
		c.summary = c.preview
	}
	return c
}

// decode follows an extension that points to more than a text.
func (c *extensionContent) decode(rep *report) {
	c.summary = render.Null
	switch c.Type {
	case qcow2.ExtFeatureNames:
		c.decodeFeatureNames()
	case qcow2.ExtBitmaps:
		c.decodeBitmaps(rep)
	case qcow2.ExtEncryption:
		c.decodeEncryption(rep)
	}
}

func (c *extensionContent) decodeFeatureNames() {
	s := &render.Section{
		Title:  fmt.Sprintf("Feature names (extension at %#x)", c.Offset),
		Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "type", Title: "TYPE", Kind: render.KindText},
			{Key: "bit", Title: "BIT", Kind: render.KindUint},
			{Key: "name", Title: "NAME", Kind: render.KindImageText},
		},
	}
	c.features = render.Rows(s, func(yield func([]render.Value) bool) {
		for f := range c.FeatureNames() {
			if !yield([]render.Value{render.Text(f.Kind.String()), render.Uint(uint64(f.Bit)), render.ImageText(f.Name)}) {
				return
			}
		}
	})
	names := uint64(0)
	for range c.FeatureNames() {
		names++
	}
	c.summary = render.Text(counted(names, "name", "names"))
}

func (c *extensionContent) decodeBitmaps(rep *report) {
	d, err := c.BitmapDirectory()
	if err != nil {
		return // newExtensionContent has said it
	}
	g, _ := rep.img.Geometry() // there is one: extensions were read
	consistent := rep.img.Header().AutoclearFeatures&qcow2.BitmapsConsistent != 0
	c.directory = oneRow(&render.Section{
		Title:       fmt.Sprintf("Bitmap directory (extension at %#x)", c.Offset),
		ClusterBits: g.ClusterBits,
		Columns: []render.Column{
			{Key: "offset", Title: "Offset", Kind: render.KindAddr},
			{Key: "size", Title: "Size", Kind: render.KindSize},
			{Key: "count", Title: "Bitmaps", Kind: render.KindUint},
			{Key: "consistent", Title: "Consistent (autoclear bit 0)", Kind: render.KindBool},
		},
	}, render.Addr(d.Offset), render.Size(d.Size), render.Uint(uint64(d.NbBitmaps)), render.Bool(consistent))
	c.bitmaps = render.Rows(bitmapsSection(g.ClusterBits), bitmapRows(rep, d, consistent))
	c.summary = render.Text(counted(uint64(d.NbBitmaps), "bitmap", "bitmaps"))
}

func bitmapsSection(clusterBits uint) *render.Section {
	return &render.Section{
		Title:       "Bitmaps",
		Layout:      render.LayoutList,
		ClusterBits: clusterBits,
		Columns: []render.Column{
			{Key: "name", Title: "NAME", Kind: render.KindImageText},
			{Key: "granularity", Title: "GRANULARITY", Kind: render.KindSize, Drop: 1},
			{Key: "flags", Title: "FLAGS", Kind: render.KindList, Drop: 2},
			{Key: "type", Title: "TYPE", Kind: render.KindText, Drop: 4},
			{Key: "table.offset", Title: "TABLE", Kind: render.KindAddr, Drop: 3},
			{Key: "table.entries", Title: "ENTRIES", Kind: render.KindUint, Drop: 5},
			{Key: "extra-data-size", Kind: render.KindSize, Show: render.InPlain | render.InJSON},
			{Key: "offset", Title: "DIRECTORY ENTRY", Kind: render.KindOffset, Drop: 6},
		},
	}
}

// bitmapRows yields the rows of the bitmaps. What is wrong with those that are
// not consistent is no damage: they mean nothing, and QEMU does not read them.
func bitmapRows(rep *report, d qcow2.BitmapDirectory, consistent bool) iter.Seq[[]render.Value] {
	damaged := rep.damaged
	if !consistent {
		damaged = func(error) {}
	}
	return func(yield func([]render.Value) bool) {
		for b, err := range rep.img.Bitmaps(d) {
			if err != nil {
				damaged(err)
				return
			}
			for _, e := range b.Damage {
				damaged(e)
			}
			if rep.interrupted() != nil || !yield(bitmapRow(&b)) {
				return
			}
		}
	}
}

func bitmapRow(b *qcow2.Bitmap) []render.Value {
	granularity := render.Null
	if n, ok := b.Granularity(); ok {
		granularity = render.Size(n)
	}
	return []render.Value{
		render.ImageText(b.Name),
		granularity,
		render.List(b.Flags.Names()),
		render.Text(b.Type.String()),
		render.Addr(b.TableOffset),
		render.Uint(uint64(b.TableSize)),
		render.Size(uint64(b.ExtraSize)),
		render.Offset(b.Offset),
	}
}

func (c *extensionContent) decodeEncryption(rep *report) {
	e, err := c.EncryptionHeader()
	if err != nil {
		return // newExtensionContent has said it
	}
	g, _ := rep.img.Geometry() // there is one: extensions were read
	c.location = oneRow(&render.Section{
		Title:       fmt.Sprintf("Encryption header (extension at %#x)", c.Offset),
		ClusterBits: g.ClusterBits,
		Columns: []render.Column{
			{Key: "offset", Title: "Offset", Kind: render.KindAddr},
			{Key: "length", Title: "Length", Kind: render.KindSize},
		},
	}, render.Addr(e.Offset), render.Size(e.Length))
	l, err := rep.img.LUKS(e)
	if err != nil {
		rep.damaged(err)
	}
	if l == nil {
		return
	}
	for _, e := range l.Damage {
		rep.damaged(e)
	}
	c.encrypt = oneRow(luksSection(), luksRow(l)...)
	c.summary = render.Text(fmt.Sprintf("LUKS version %d", l.Version))
}

func luksSection() *render.Section {
	return &render.Section{
		Title: "LUKS",
		Columns: []render.Column{
			{Key: "format", Title: "Format", Kind: render.KindText, Show: render.InPlain | render.InJSON},
			{Key: "version", Title: "Version", Kind: render.KindUint},
			{Key: "cipher-alg", Title: "Cipher", Kind: render.KindImageText},
			{Key: "cipher-mode", Title: "Cipher mode", Kind: render.KindImageText},
			{Key: "ivgen-alg", Title: "IV generator", Kind: render.KindImageText},
			{Key: "ivgen-hash-alg", Title: "IV generator hash", Kind: render.KindImageText},
			{Key: "hash-alg", Title: "Hash", Kind: render.KindImageText},
			{Key: "uuid", Title: "UUID", Kind: render.KindImageText},
			{Key: "payload-offset", Title: "Payload offset", Kind: render.KindSize},
			{Key: "master-key-iters", Title: "Master key iterations", Kind: render.KindUint},
			{Key: "slots", Kind: render.KindRows},
		},
	}
}

// luksRow is the row of a LUKS header; of versions other than 1 only the
// version is known.
func luksRow(l *qcow2.LUKS) []render.Value {
	row := make([]render.Value, len(luksSection().Columns))
	row[0], row[1] = render.Text("luks"), render.Uint(uint64(l.Version))
	if l.Version != 1 {
		return row
	}
	copy(row[2:], []render.Value{
		render.ImageText(l.CipherAlg()),
		render.ImageText(l.CipherModeAlg()),
		imageText(l.IVGenAlg(), l.IVGenAlg() != ""),
		imageText(l.IVGenHashAlg(), l.IVGenHashAlg() != ""),
		render.ImageText(l.HashSpec),
		render.ImageText(l.UUID),
		render.Size(l.PayloadOffset()),
		render.Uint(uint64(l.KeyIterations)),
		render.Rows(keySlotsSection(), keySlotRows(l)),
	})
	return row
}

func keySlotsSection() *render.Section {
	return &render.Section{
		Title:  "LUKS key slots",
		Layout: render.LayoutList,
		Columns: []render.Column{
			{Key: "active", Title: "ACTIVE", Kind: render.KindBool},
			{Key: "iters", Title: "ITERATIONS", Kind: render.KindUint},
			{Key: "key-offset", Title: "KEY OFFSET", Kind: render.KindOffset},
			{Key: "stripes", Title: "STRIPES", Kind: render.KindUint},
		},
	}
}

func keySlotRows(l *qcow2.LUKS) iter.Seq[[]render.Value] {
	return func(yield func([]render.Value) bool) {
		for _, s := range l.KeySlots {
			row := []render.Value{render.Bool(s.Active()), render.Null, render.Offset(s.KeyOffset()), render.Null}
			if s.Active() {
				row[1], row[3] = render.Uint(uint64(s.Iterations)), render.Uint(uint64(s.Stripes))
			}
			if !yield(row) {
				return
			}
		}
	}
}
