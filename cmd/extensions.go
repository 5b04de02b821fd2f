package cmd

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the extensions section.
const (
	extensionType = iota
	extensionName
	extensionOffset
	extensionLength
	extensionContent
	extensionText
	extensionFeatures
	extensionDirectory
	extensionBitmaps
	extensionLocation
	extensionEncrypt
	extensionPreview

	extensionColumns // how many
)

// extensionsSection declares the list of header extensions. What an extension
// of another type would decode to is null.
func extensionsSection(title string) *render.Section {
	return &render.Section{
		Key:    "extensions",
		Title:  title,
		Layout: render.LayoutList,
		Empty:  "no header extensions",
		Columns: []render.Column{
			extensionType:      {Key: "type", Title: "TYPE", Kind: render.KindText, Drop: 2},
			extensionName:      {Key: "name", Title: "NAME", Kind: render.KindText},
			extensionOffset:    {Key: "offset", Title: "OFFSET", Kind: render.KindOffset},
			extensionLength:    {Key: "length", Title: "LENGTH", Kind: render.KindUint, Drop: 1},
			extensionContent:   {Key: "content", Title: "CONTENT", Kind: render.KindImageText, Show: render.InTable},
			extensionText:      {Key: "text", Kind: render.KindImageText, Show: render.InPlain | render.InJSON},
			extensionFeatures:  {Key: "features", Kind: render.KindRows},
			extensionDirectory: {Key: "bitmap-directory", Kind: render.KindRows},
			extensionBitmaps:   {Key: "bitmaps", Kind: render.KindRows},
			extensionLocation:  {Key: "encryption-header", Kind: render.KindRows},
			extensionEncrypt:   {Key: "encrypt", Kind: render.KindRows},
			extensionPreview:   {Key: "preview", Kind: render.KindText, Show: render.InPlain | render.InJSON},
		},
	}
}

// An extensionRow makes rows of extensions, and reports what is wrong with them.
type extensionRow struct {
	rep   *report
	cells []render.Value
	last  map[qcow2.ExtensionType]uint64 // see lastExtensions
}

func newExtensionRow(rep *report) *extensionRow {
	return &extensionRow{rep: rep, cells: make([]render.Value, extensionColumns), last: lastExtensions(rep.img)}
}

func (r *extensionRow) of(x qcow2.Extension) []render.Value {
	c := r.cells
	clear(c)
	c[extensionType], c[extensionName] = render.Text(fmt.Sprintf("0x%08x", uint32(x.Type))), render.Text(x.Type.String())
	c[extensionOffset], c[extensionLength] = render.Offset(x.Offset), render.Uint(uint64(len(x.Data)))
	if err := r.rep.img.ExtensionError(x); err != nil {
		r.rep.damaged(err)
	}
	switch x.Type {
	case qcow2.ExtBackingFormat, qcow2.ExtDataFile:
		c[extensionText] = render.ImageText(x.Text())
		c[extensionContent] = c[extensionText]
	case qcow2.ExtFeatureNames, qcow2.ExtBitmaps, qcow2.ExtEncryption:
		if r.last[x.Type] == x.Offset {
			r.decode(x)
		} else {
			c[extensionContent] = render.Text("replaced by a later one")
		}
	default:
		c[extensionPreview] = render.Text(preview(x.Data))
		c[extensionContent] = c[extensionPreview]
	}
	return c
}

// lastExtensions returns the offset of the last extension of each type that holds
// more than a text. Only the last counts and is decoded, however often an image
// repeats the type.
func lastExtensions(img *qcow2.Image) map[qcow2.ExtensionType]uint64 {
	last := map[qcow2.ExtensionType]uint64{}
	for _, t := range []qcow2.ExtensionType{qcow2.ExtFeatureNames, qcow2.ExtBitmaps, qcow2.ExtEncryption} {
		if x, ok := img.Extension(t); ok {
			last[t] = x.Offset
		}
	}
	return last
}

// decode sets the cells about an extension that holds more than a text.
func (r *extensionRow) decode(x qcow2.Extension) {
	switch x.Type {
	case qcow2.ExtFeatureNames:
		r.decodeFeatureNames(x)
	case qcow2.ExtBitmaps:
		r.decodeBitmaps(x)
	case qcow2.ExtEncryption:
		r.decodeEncryption(x)
	}
}

// Columns of the section of feature names.
const (
	featureType = iota
	featureBit
	featureName
)

// featureNamesSection declares the feature names of an extension.
func featureNamesSection(x qcow2.Extension) *render.Section {
	return &render.Section{
		Title:  fmt.Sprintf("Feature names (extension at %#x)", x.Offset),
		Layout: render.LayoutList,
		Columns: []render.Column{
			featureType: {Key: "type", Title: "TYPE", Kind: render.KindText},
			featureBit:  {Key: "bit", Title: "BIT", Kind: render.KindUint},
			featureName: {Key: "name", Title: "NAME", Kind: render.KindImageText},
		},
	}
}

func (r *extensionRow) decodeFeatureNames(x qcow2.Extension) {
	s := featureNamesSection(x)
	r.cells[extensionFeatures] = render.Rows(s, func(yield func([]render.Value) bool) {
		c := make([]render.Value, len(s.Columns))
		for f := range x.FeatureNames() {
			c[featureType], c[featureBit], c[featureName] = render.Text(f.Kind.String()), render.Uint(uint64(f.Bit)), render.ImageText(f.Name)
			if !yield(c) {
				return
			}
		}
	})
	names := uint64(0)
	for range x.FeatureNames() {
		names++
	}
	r.cells[extensionContent] = render.Text(counted(names, "name", "names"))
}

func (a *app) newExtensionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "extensions IMAGE...",
		Short: "Show the header extensions, each decoded",
		Long: `Show every header extension: the feature name table, backing format, external
data file, the bitmap directory with each bitmap, the LUKS header with its key
slots, and the first bytes of the unknown ones.

Use it to see where the dirty bitmaps of an image lie ('qinspect bitmaps' has
what they say), how it is encrypted, and what its unknown features are called.

A broken bitmap directory or LUKS header hides nothing else; what is wrong goes
to standard error.

Exit status: 0 fine, 1 nothing could be shown, 2 an extension is damaged.`,
		Example: `  $ qinspect extensions disk.qcow2
  $ qinspect extensions backup.qcow2
  $ qinspect extensions -o json backup.qcow2 | jq '.extensions[].bitmaps // empty'`,
		Args: images,
		RunE: a.load(runExtensions),

		ValidArgsFunction: completeImages,
	}
	addJobs(cmd, 1)
	return cmd
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
	return listExtensions(rep, "")
}

// listExtensions pushes the rows of the extensions section.
func listExtensions(rep *report, title string) error {
	rep.Section(extensionsSection(title))
	row := newExtensionRow(rep)
	return each(rep, rep.img.Extensions(), func(x qcow2.Extension) error { return rep.Row(row.of(x)) })
}
