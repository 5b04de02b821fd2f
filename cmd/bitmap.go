package cmd

import (
	"fmt"
	"iter"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the bitmaps section.
const (
	bitmapName = iota
	bitmapGranularity
	bitmapFlags
	bitmapType
	bitmapTableOffset
	bitmapTableEntries
	bitmapExtraSize
	bitmapOffset

	bitmapColumns // how many
)

// bitmapsSection declares the bitmaps of a bitmap directory.
func bitmapsSection(clusterBits uint) *render.Section {
	return &render.Section{
		Title:       "Bitmaps",
		Layout:      render.LayoutList,
		ClusterBits: clusterBits,
		Columns: []render.Column{
			bitmapName:         {Key: "name", Title: "NAME", Kind: render.KindImageText},
			bitmapGranularity:  {Key: "granularity", Title: "GRANULARITY", Kind: render.KindSize, Drop: 1},
			bitmapFlags:        {Key: "flags", Title: "FLAGS", Kind: render.KindList, Drop: 2},
			bitmapType:         {Key: "type", Title: "TYPE", Kind: render.KindText, Drop: 4},
			bitmapTableOffset:  {Key: "table.offset", Title: "TABLE", Kind: render.KindAddr, Drop: 3},
			bitmapTableEntries: {Key: "table.entries", Title: "ENTRIES", Kind: render.KindUint, Drop: 5},
			bitmapExtraSize:    {Key: "extra-data-size", Kind: render.KindSize, Show: render.InPlain | render.InJSON},
			bitmapOffset:       {Key: "offset", Title: "DIRECTORY ENTRY", Kind: render.KindOffset, Drop: 6},
		},
	}
}

// setBitmap sets the cells of a row of the bitmaps section.
func setBitmap(c []render.Value, b *qcow2.Bitmap) {
	granularity, ok := b.Granularity()
	c[bitmapName] = render.ImageText(b.Name)
	c[bitmapGranularity] = valueIf(ok, render.Size(granularity))
	c[bitmapFlags] = render.List(b.Flags.Names())
	c[bitmapType] = render.Text(b.Type.String())
	c[bitmapTableOffset] = render.Addr(b.TableOffset)
	c[bitmapTableEntries] = render.Uint(uint64(b.TableSize))
	c[bitmapExtraSize] = render.Size(uint64(b.ExtraSize))
	c[bitmapOffset] = render.Offset(b.Offset)
}

// bitmapRows yields the rows of the bitmaps. If they are not consistent, what is
// wrong with them is not damage: QEMU does not read them.
func bitmapRows(rep *report, consistent bool) iter.Seq[[]render.Value] {
	damaged := rep.damaged
	if !consistent {
		damaged = func(error) {}
	}
	return func(yield func([]render.Value) bool) {
		c := make([]render.Value, bitmapColumns)
		for b, err := range rep.img.Bitmaps() {
			if err != nil {
				damaged(err)
				return
			}
			for _, e := range b.Damage {
				damaged(e)
			}
			setBitmap(c, &b)
			if rep.interrupted() != nil || !yield(c) {
				return
			}
		}
	}
}

// decodeBitmaps sets the cells about the bitmaps.
func (r *extensionRow) decodeBitmaps(x qcow2.Extension) {
	d, err := x.BitmapDirectory()
	if err != nil {
		return // ExtensionError returns the same error
	}
	g, _ := r.rep.img.Geometry() // there is one: extensions were read
	consistent := r.rep.img.BitmapsConsistent()
	r.cells[extensionDirectory] = nestedFacts(
		&render.Section{Title: fmt.Sprintf("Bitmap directory (extension at %#x)", x.Offset), ClusterBits: g.ClusterBits},
		fact{render.Column{Key: "offset", Title: "Offset", Kind: render.KindAddr}, render.Addr(d.Offset)},
		fact{render.Column{Key: "size", Title: "Size", Kind: render.KindSize}, render.Size(d.Size)},
		fact{render.Column{Key: "count", Title: "Bitmaps", Kind: render.KindUint}, render.Uint(uint64(d.NbBitmaps))},
		fact{render.Column{Key: "consistent", Title: "Consistent (autoclear bit 0)", Kind: render.KindBool}, render.Bool(consistent)},
	)
	r.cells[extensionBitmaps] = render.Rows(bitmapsSection(g.ClusterBits), bitmapRows(r.rep, consistent))
	r.cells[extensionContent] = render.Text(counted(uint64(d.NbBitmaps), "bitmap", "bitmaps"))
}
