package picture

import (
	"math/bits"
	"strconv"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// pageData is what the script of a page reads. Numbers that can exceed 2^53 are
// texts.
type pageData struct {
	File        string        `json:"file"`
	ClusterSize uint64        `json:"clusterSize"`
	Square      string        `json:"square"`
	From        string        `json:"from"`
	FileSize    string        `json:"fileSize"`
	Need        string        `json:"need"` // a letter for each square
	Runs        string        `json:"runs"`
	Squares     [][]uint64    `json:"squares,omitempty"` // runs, length of the longest, then class and bytes in turn
	Ranges      []pageRange   `json:"ranges,omitempty"`  // in place of Squares, if a square is one cluster
	Classes     []pageLook    `json:"classes"`
	Levels      []pageLook    `json:"levels"`
	Scatter     pageScatter   `json:"scatter"`
	Owners      []pageOwner   `json:"owners"`
	Gaps        []pageFreeGap `json:"gaps"`
	Problems    []string      `json:"problems"`
}

// A pageLook is a shade.
type pageLook struct {
	Key    string `json:"key"`
	Title  string `json:"title"`
	Letter string `json:"letter"`
	Bytes  uint64 `json:"bytes"`
	Share  string `json:"share"`
}

// A pageRange is a range of host clusters.
type pageRange struct {
	First      uint64  `json:"first"` // square
	Run        uint64  `json:"run"`   // clusters
	Kind       string  `json:"kind"`
	Owner      string  `json:"owner,omitempty"`
	Guest      string  `json:"guest,omitempty"`
	Index      *uint64 `json:"index,omitempty"`
	References uint64  `json:"references"`
	Refcount   *uint64 `json:"refcount,omitempty"`
	Problems   string  `json:"problems,omitempty"`
}

// A pageScatter has the letter of each cell, and from 0 to 9 how much is in it.
type pageScatter struct {
	GuestSize string   `json:"guestSize"`
	Columns   int      `json:"columns"`
	Rows      int      `json:"rows"`
	Classes   []string `json:"classes"`
	Density   []string `json:"density"`
}

type pageOwner struct {
	Name      string `json:"name"`
	Look      string `json:"look"` // of what is exclusive
	Exclusive uint64 `json:"exclusive"`
	Shared    uint64 `json:"shared"`
}

type pageFreeGap struct {
	Min   uint64 `json:"min"` // bytes
	Runs  uint64 `json:"runs"`
	Bytes uint64 `json:"bytes"`
}

// pageData returns the data of a page.
func (p *Picture) pageData(o *Page) *pageData {
	d := &pageData{
		File: o.File, ClusterSize: p.ClusterSize, Square: decimal(p.SquareSize), From: "0", FileSize: decimal(p.FileSize),
		Owners: []pageOwner{}, Gaps: []pageFreeGap{}, Problems: append([]string{}, o.Problems...),
	}
	if len(p.Squares) > 0 {
		d.From = decimal(p.Squares[0].Offset)
	}
	d.addSquares(p, o)
	d.addLooks(p)
	d.Scatter = p.Scatter.pageData()
	for i, u := range o.Usage.Owners {
		look := Snapshots
		if u.Owner == qcow2.OwnerActive {
			look = Active
		}
		d.Owners = append(d.Owners, pageOwner{o.Owners[i], look.String(), u.Exclusive, u.Shared})
	}
	for _, g := range o.Usage.Free.Histogram {
		d.Gaps = append(d.Gaps, pageFreeGap{g.Min * p.ClusterSize, g.Runs, g.Clusters * p.ClusterSize})
	}
	return d
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// addSquares adds the squares.
func (d *pageData) addSquares(p *Picture, o *Page) {
	need, runs := make([]byte, len(p.Squares)), make([]byte, len(p.Squares))
	for i := range p.Squares {
		need[i], runs[i] = p.shade(i, ByNeed).look().letter, p.shade(i, ByRuns).look().letter
	}
	d.Need, d.Runs = string(need), string(runs)
	if p.SquareSize == p.ClusterSize {
		for i := range p.Ranges {
			d.Ranges = append(d.Ranges, p.pageRange(&p.Ranges[i], o.SnapshotIDs))
		}
		return
	}
	for i := range p.Squares {
		s := &p.Squares[i]
		numbers := []uint64{s.Runs, s.RunLength}
		for c, n := range s.Bytes {
			if n > 0 {
				numbers = append(numbers, uint64(c), n)
			}
		}
		d.Squares = append(d.Squares, numbers)
	}
}

// pageRange returns a range of host clusters.
func (p *Picture) pageRange(r *qcow2.HostRange, ids []string) pageRange {
	g := pageRange{
		First: uint64(p.at(r.Offset)), Run: (r.Length-1)/p.ClusterSize + 1, Kind: r.Kind.String(),
		References: r.References,
	}
	if r.Problems != 0 {
		g.Problems = r.Problems.String()
	}
	if r.HasRefcount {
		g.Refcount = &r.Refcount
	}
	if !r.HasReference {
		return g
	}
	if r.Kind.Metadata() {
		g.Index = &r.Reference.Index
	} else {
		g.Guest = decimal(r.Reference.GuestOffset)
	}
	switch i, ok := r.Reference.Owner.Snapshot(); {
	case ok && i < len(ids):
		g.Owner = "snapshot " + ids[i]
	case ok:
		g.Owner = "snapshot " + r.Reference.Owner.String()
	case r.Reference.Owner == qcow2.OwnerActive:
		g.Owner = "active image"
	}
	return g
}

// addLooks adds the legend.
func (d *pageData) addLooks(p *Picture) {
	all := p.Bytes()
	sum := total(&all)
	for s, l := range looks {
		look := pageLook{Key: l.key, Title: l.title, Letter: string(l.letter)}
		if s < Classes {
			look.Bytes, look.Share = all[s], share(all[s], sum)
			d.Classes = append(d.Classes, look)
		} else {
			d.Levels = append(d.Levels, look)
		}
	}
}

// pageData returns the grid.
func (s *Scatter) pageData() pageScatter {
	d := pageScatter{GuestSize: decimal(s.GuestSize), Columns: s.Columns, Rows: s.Rows, Classes: []string{}, Density: []string{}}
	var most uint64
	for i := range s.Cells {
		for _, n := range s.Cells[i] {
			most = max(most, n)
		}
	}
	for row := range s.Rows {
		classes, density := make([]byte, s.Columns), make([]byte, s.Columns)
		for column := range s.Columns {
			classes[column], density[column] = ' ', '0'
			if class, n := s.At(column, row); n > 0 {
				classes[column] = class.Letter()
				density[column] = '0' + byte(9*(bits.Len64(min(n, most))-1)/max(bits.Len64(most)-1, 1))
			}
		}
		d.Classes, d.Density = append(d.Classes, string(classes)), append(d.Density, string(density))
	}
	return d
}
