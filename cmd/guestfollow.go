package cmd

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// The mapping through all layers of a chain: that of guest, with the layer that each
// row is of. Layers can have clusters of different sizes, so addresses have no
// cluster numbers.

// followSection declares the mapping through the layers.
func followSection(c *chain.Chain, g qcow2.Geometry, o qcow2.GuestOptions) *render.Section {
	s := guestSection("", c.Layers[0].Image, guestLines{g: g}, o)
	s.ClusterBits, s.Empty = 0, "nothing is mapped"
	s.Columns[guestDepth].Title, s.Columns[guestDepth].Show = "DEPTH", render.InTable|render.InJSON
	s.Columns[guestLayer].Title, s.Columns[guestLayer].Show = "FILE", render.InTable|render.InJSON
	s.Columns[guestKind].Names = dirtyKindNames()
	s.Columns[guestKind].Tones = append(mappingTones(), render.ToneAlarm)
	var lines followLines
	for _, l := range c.Layers {
		name := render.Escape(l.Filename)
		lines.layers = append(lines.layers, fmt.Sprintf(" [%d %s]", l.Depth, name))
		s.Columns[guestLayer].Max = max(s.Columns[guestLayer].Max, uint64(len(name)))
		s.Columns[guestHost].Max = max(s.Columns[guestHost].Max, l.FileSize, l.VirtualSize)
	}
	s.Write, s.Line = nil, lines.append
	return s
}

// followLines makes plain lines of extents: "0x0-0x1ffff: 0x50000-0x6ffff [1
// base.qcow2]". Problems in brackets follow.
type followLines struct {
	layers []string // " [1 base.qcow2]"
}

func (l *followLines) append(dst []byte, row []render.Value) []byte {
	dst = append(appendRange(dst, row[guestStart].Num(), row[guestLength].Num()), ": "...)
	dst = append(appendExtent(dst, row), l.layers[row[guestDepth].Num()]...)
	if problems := row[guestProblems].Num(); problems != 0 {
		dst = append(render.AppendNames(append(dst, " ["...), qcow2.ProblemNames(), problems), ']')
	}
	return dst
}

// appendExtent appends what an extent points to.
func appendExtent(dst []byte, row []render.Value) []byte {
	length, host := row[guestLength].Num(), row[guestHost].Num()
	kind := row[guestKind].Num()
	if kind == unknownMapping {
		return append(dst, "Unknown"...)
	}
	switch qcow2.MappingKind(kind) {
	case qcow2.MappingUnallocated:
		return append(dst, "Unallocated"...)
	case qcow2.MappingZero:
		return append(dst, "All zeros"...)
	case qcow2.MappingCompressed:
		dst = append(render.AppendAddr(dst, host, 0), " (compressed, "...)
		return append(append(dst, counted(row[guestSectors].Num(), "sector", "sectors")...), ')')
	case qcow2.MappingZeroAllocated:
		return append(appendRange(dst, host, length), " (all zeros)"...)
	}
	return appendRange(dst, host, length)
}

// appendRange appends the first and the last byte of a range.
func appendRange(dst []byte, first, length uint64) []byte {
	return render.AppendAddr(append(render.AppendAddr(dst, first, 0), '-'), first+(length-1), 0)
}

// followRows pushes rows of extents.
type followRows struct {
	guestRows
	layers []*chain.Layer
}

func newFollowRows(rep *report, c *chain.Chain, vmState uint64) *followRows {
	r := &followRows{guestRows: *newGuestRows(rep, vmState), layers: c.Layers}
	r.backing = false // what no layer holds is zeros
	return r
}

// add adds the row of an extent.
func (r *followRows) add(e *chain.Extent) error {
	if depth := uint64(e.Depth); r.n == 0 || depth != r.depth || e.Unknown != r.unknown {
		if err := r.flush(); err != nil {
			return err
		}
		layer := r.layers[e.Depth]
		r.depth, r.layer, r.unknown = depth, imageText(layer.Filename, layer.HasName), e.Unknown
		r.encrypted = encrypted(layer)
	}
	return r.guestRows.add(&e.Mapping)
}

// checkFollow returns an error if flags were given that are about one image.
func (o *guestOptions) checkFollow(cmd *cobra.Command) error {
	if o.chain.follow && (o.each || o.vmState) {
		return usageError(cmd, errors.New("--follow goes without --per-cluster and --vm-state"))
	}
	return nil
}

// runGuestFollow is runGuest through all layers.
func (a *app) runGuestFollow(rep *report, o guestOptions) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	opts, err := o.resolve(rep.img, g)
	if err != nil {
		return err
	}
	return a.withChain(rep, &o.chain, func(c *chain.Chain) error {
		rep.facts(&render.Section{Show: render.InJSON}, guestFacts(rep.img, g, opts.Snapshot)...)
		err := listExtents(rep, c, g, opts)
		noteLayers(rep, c, forPrograms(a.output.value))
		return err
	})
}

// listExtents pushes the rows of the guest section.
func listExtents(rep *report, c *chain.Chain, g qcow2.Geometry, opts qcow2.GuestOptions) error {
	rep.Section(followSection(c, g, opts))
	rows := newFollowRows(rep, c, vmStateOffset(g, opts.Snapshot))
	total := guestTotal(rep.img, opts)
	var damaged damagedPlaces
	o := chain.MapOptions{Snapshot: opts.Snapshot, Offset: opts.Offset, Length: opts.Length, Mapped: opts.Mapped}
	err := each(rep, c.Map(rep.ctx, o), func(e *chain.Extent) error {
		rep.progress.report(e.Start-min(e.Start, opts.Offset), total)
		if e.Problems != 0 {
			first := e.Start >> g.ClusterBits
			damaged.add(first, (e.Start+(e.Length-1))>>g.ClusterBits-first+1)
		}
		return rows.add(e)
	})
	err = cmp.Or(err, rows.flush())
	rep.damagedEntries(damaged.n)
	return err
}

// noteLayers notes what is to be known of the layers below the image.
func noteLayers(rep *report, c *chain.Chain, forPrograms bool) {
	c.RemarkOnUse()
	for _, r := range c.Remarks {
		if r.Kind == chain.InUse {
			rep.note(fmt.Errorf("layer %d: %s", r.Depth, r.Message))
		}
	}
	for _, l := range c.Layers {
		if l.DataFile != nil && !forPrograms {
			rep.note(fmt.Errorf("host offsets of layer %d are those of the external data file %q", l.Depth, l.DataFile.Name))
		}
	}
}
