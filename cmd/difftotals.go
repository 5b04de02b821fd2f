package cmd

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// diffFacts are what was compared, and the totals.
func diffFacts(g qcow2.Geometry, o qcow2.DiffOptions, t *qcow2.DiffTotals) []fact {
	const keys = render.InPlain | render.InJSON
	side := func(key string, s *qcow2.Snapshot) []fact {
		id, size := render.Null, g.VirtualSize
		if s != nil {
			id, size = render.ImageText(s.ID), s.DiskSize&^511
		}
		return []fact{
			{render.Column{Key: key, Kind: render.KindImageText, Show: keys}, id},
			{render.Column{Key: key + "-size", Kind: render.KindSize, Show: keys}, render.Size(size)},
		}
	}
	all := append(side("from", o.From), side("to", o.To)...)
	total := func(key string, ok bool, n uint64) {
		all = append(all, fact{render.Column{Key: "totals." + key, Kind: render.KindUint, Show: keys}, valueIf(ok, render.Uint(n))})
	}
	total("changed", true, t.Changed)
	total("data", true, t.Data)
	total("zero", true, t.Zero)
	total("unknown", true, t.Unknown)
	total("ranges", true, t.Ranges)
	total("written", !t.Incomplete, t.Written)
	total("dropped", !t.Incomplete, t.Dropped)
	total("vm-state-written", !t.Incomplete, t.VMStateWritten)
	total("vm-state-dropped", !t.Incomplete, t.VMStateDropped)
	words := render.Text(diffWords(t))
	return append(all, fact{render.Column{Key: "summary", Title: "Summary", Kind: render.KindText, Show: render.InTable}, words})
}

// diffWords returns the totals in words.
func diffWords(t *qcow2.DiffTotals) string {
	words := fmt.Sprintf("%s may differ, %s of it data", render.SizeText(t.Changed), render.SizeText(t.Data))
	if t.Unknown > 0 {
		words += fmt.Sprintf(", %s of it unknown", render.SizeText(t.Unknown))
	}
	if t.Incomplete {
		return words + "; how much is written and dropped is not known"
	}
	words += fmt.Sprintf("; %s written, %s dropped", render.SizeText(t.Written), render.SizeText(t.Dropped))
	if t.VMStateWritten+t.VMStateDropped > 0 {
		words += fmt.Sprintf("; of VM state %s written, %s dropped", render.SizeText(t.VMStateWritten), render.SizeText(t.VMStateDropped))
	}
	return words
}
