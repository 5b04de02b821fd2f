package cmd

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// What is dirty through all layers of a chain: the list of dirty, with the layer that
// each row is of.

// checkFollow returns an error if flags were given that are about one image.
func (o *dirtyOptions) checkFollow(cmd *cobra.Command) error {
	if o.chain.follow && len(o.bitmaps) > 1 {
		return usageError(cmd, errors.New("--follow takes one --bitmap"))
	}
	return nil
}

// runDirtyFollow is runDirty through all layers.
func (a *app) runDirtyFollow(rep *report, o dirtyOptions) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	return a.withChain(rep, &o.chain, func(c *chain.Chain) error {
		point, err := c.Checkpoint(o.bitmaps[0])
		if err != nil {
			return err
		}
		for _, err := range point.Broken {
			rep.damaged(err)
		}
		rep.facts(&render.Section{Show: render.InJSON},
			fact{render.Column{Key: "virtual-size", Kind: render.KindSize}, render.Size(g.VirtualSize)},
			fact{render.Column{Key: "data-file", Kind: render.KindImageText}, imageText(rep.img.DataFile())},
			fact{render.Column{Key: "bitmaps", Kind: render.KindRows}, chosenBitmaps(point.Bitmaps)},
		)
		err = listDirtyExtents(rep, c, g, chain.DirtyOptions{Checkpoint: point, All: o.all})
		noteLayers(rep, c, forPrograms(a.output.value))
		return err
	})
}

// listDirtyExtents pushes the rows of the dirty section.
func listDirtyExtents(rep *report, c *chain.Chain, g qcow2.Geometry, o chain.DirtyOptions) error {
	reach := addressReach{guest: g.VirtualSize}
	for _, l := range c.Layers {
		reach.host = max(reach.host, l.FileSize, l.VirtualSize)
	}
	s := dirtySection(g, reach, o.All)
	s.ClusterBits = 0 // those of layers can differ
	s.Columns[dirtyDepth].Title, s.Columns[dirtyDepth].Show = "DEPTH", render.InTable|render.InJSON
	rep.Section(s)
	cells := make([]render.Value, dirtyColumns)
	var damaged damagedPlaces
	err := each(rep, c.Dirty(rep.ctx, o), func(e *chain.DirtyExtent) error {
		rep.progress.report(e.Start, g.VirtualSize)
		if e.Problems != 0 {
			first := e.Start >> g.ClusterBits
			damaged.add(first, (e.Start+(e.Length-1))>>g.ClusterBits-first+1)
		}
		setDirty(cells, dirtyMapping(c, e), false)
		cells[dirtyDepth] = render.Uint(uint64(e.Depth))
		return rep.Row(cells)
	})
	rep.damagedEntries(damaged.n)
	return err
}

// dirtyMapping returns an extent as the mapping of one image.
func dirtyMapping(c *chain.Chain, e *chain.DirtyExtent) *qcow2.DirtyMapping {
	return &qcow2.DirtyMapping{
		GuestRange: qcow2.GuestRange{Start: e.Start, Length: e.Length}, Dirty: e.Dirty,
		Known: !e.Unknown, Kind: e.Kind, Problems: e.Problems,
		Offset: e.HostOffset, HasOffset: e.HasHost && e.Kind != qcow2.MappingCompressed && !encrypted(c.Layers[e.Depth]),
	}
}
