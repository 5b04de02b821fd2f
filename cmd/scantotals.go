package cmd

import (
	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/render"
)

// totalsSection declares the sums over all images.
func totalsSection() *render.Section { return &render.Section{Title: "Totals"} }

// totalFacts are the sums.
func totalFacts(t *fleet.Totals) []fact {
	facts := []fact{{render.Column{Key: "images", Title: "Images", Kind: render.KindUint}, render.Uint(t.Images)}}
	for i, name := range fleet.StatusNames() {
		facts = append(facts, fact{render.Column{Key: "by-status." + name, Title: name, Kind: render.KindUint}, render.Uint(t.ByStatus[i])})
	}
	return append(facts,
		fact{render.Column{Key: "virtual-size", Title: "Virtual size", Kind: render.KindSize}, render.Size(t.VirtualSize)},
		fact{render.Column{Key: "file-size", Title: "File size", Kind: render.KindSize}, render.Size(t.FileSize)},
		fact{render.Column{Key: "actual-size", Title: "Allocated on disk", Kind: render.KindSize}, render.Size(t.ActualSize)},
		fact{render.Column{Key: "snapshots-only", Title: "Held by snapshots", Kind: render.KindSize}, render.Size(t.SnapshotsOnly)},
		fact{render.Column{Key: "free-bytes", Title: "Free", Kind: render.KindSize}, render.Size(t.FreeBytes)},
		fact{render.Column{Key: "leaked-bytes", Title: "Leaked", Kind: render.KindSize}, render.Size(t.LeakedBytes)},
	)
}

// showTotals writes the sums: in JSON and plain output under a key.
func showTotals(rep *report, t *fleet.Totals) {
	rep.facts(&render.Section{Show: render.InPlain | render.InJSON},
		fact{render.Column{Key: "totals", Kind: render.KindRows}, nestedFacts(totalsSection(), totalFacts(t)...)})
}

// totalsRow sets the cells of the last line of a table.
func totalsRow(c []render.Value, t *fleet.Totals) {
	clear(c)
	c[scanFile] = render.ImageText(counted(t.Images, "image", "images") + " in all")
	c[scanVirtualSize], c[scanActualSize] = render.Size(t.VirtualSize), render.Size(t.ActualSize)
	c[scanSnapshotsOnly], c[scanFreeBytes], c[scanLeakedBytes] = render.Size(t.SnapshotsOnly), render.Size(t.FreeBytes), render.Size(t.LeakedBytes)
}
