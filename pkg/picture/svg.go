package picture

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// An SVG draws a picture that needs no program: without scripts, the same bytes for
// the same picture, readable on a light and on a dark ground.
type SVG struct {
	Title string // above the picture
	By    By
	// Size returns a number of bytes as people read it; it is not nil.
	Size func(bytes uint64) string
}

// The measures of the drawing, in its units.
const (
	svgWidth    = 1000
	svgAxis     = 84 // of the addresses to the left of the map
	svgMap      = svgWidth - svgAxis - 12
	svgTop      = 34 // of the title above the map
	svgEntries  = 3  // of the legend in a line
	svgLine     = 22 // of the legend
	svgColumns  = 160
	svgMaxStep  = 20 // from one square to the next
	svgAxisStep = 60 // from one address to the next, at least
)

// SVG draws the picture: the squares of a shade are one path.
func (p *Picture) SVG(o SVG) string {
	d := svgDrawing{SVG: o, picture: p}
	n := len(p.Squares)
	d.columns = roundColumns(max(min(int(math.Sqrt(2.4*float64(n))), svgColumns, n), min(n, svgMap/svgMaxStep), 1))
	d.step = min(svgMaxStep, svgMap/float64(d.columns))
	d.rows = (n + d.columns - 1) / d.columns
	entries := p.legend(o.By, o.Size)
	bottom := svgTop + float64(d.rows)*d.step
	height := int(bottom) + svgLine*(1+(len(entries)+svgEntries-1)/svgEntries)
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui,sans-serif" font-size="13">`+"\n", svgWidth, height)
	d.printf("<title>%s</title>\n<style>\n%s</style>\n", html.EscapeString(d.Title), d.style(entries))
	d.printf(`<text class="title" x="%d" y="18">%s</text>`+"\n", svgAxis, html.EscapeString(d.Title))
	d.axis()
	d.paths()
	d.legend(entries, bottom+svgLine)
	d.WriteString("</svg>\n")
	return d.String()
}

// An svgDrawing is a picture that is being drawn.
type svgDrawing struct {
	drawing
	SVG
	picture *Picture
	columns int // squares in a line
	rows    int
	step    float64 // from one square to the next
}

// style returns the colours of the shades in the legend.
func (d *svgDrawing) style(entries []legendEntry) string {
	var light, dark strings.Builder
	for _, e := range entries {
		look := e.shade.look()
		fmt.Fprintf(&light, ".%s{stroke:%s;fill:%s}\n", look.key, look.light, look.light)
		fmt.Fprintf(&dark, ".%s{stroke:%s;fill:%s}\n", look.key, look.dark, look.dark)
	}
	return fmt.Sprintf("text{fill:#333}.title{font-weight:600}.axis{text-anchor:end;font-size:12px}path{fill:none!important;stroke-width:.86}\n%s"+
		"@media(prefers-color-scheme:dark){\ntext{fill:#ddd}\n%s}\n", light.String(), dark.String())
}

// axis draws the addresses of some lines.
func (d *svgDrawing) axis() {
	every := max(int(svgAxisStep/d.step), 1)
	for row := 0; row < d.rows; row += every {
		y := svgTop + (float64(row)+.5)*d.step + 4
		d.printf(`<text class="axis" x="%d" y="%.4g">%s</text>`+"\n", svgAxis-8, y, d.Size(d.picture.Squares[row*d.columns].Offset))
	}
}

// paths draws the squares: a path for each shade, a stroke for each of its runs in
// a line.
func (d *svgDrawing) paths() {
	paths := make([]strings.Builder, shades)
	for i, n := 0, 0; i < len(d.picture.Squares); i += n {
		s := d.picture.shade(i, d.By)
		n = 1
		for left := d.columns - i%d.columns; n < left && i+n < len(d.picture.Squares) && d.picture.shade(i+n, d.By) == s; {
			n++
		}
		fmt.Fprintf(&paths[s], "M%d %dh%d", i%d.columns, i/d.columns, n)
	}
	d.printf(`<g transform="translate(%d %.4g) scale(%.6g)">`+"\n", svgAxis, svgTop+d.step/2, d.step)
	for s := range paths {
		if paths[s].Len() > 0 {
			d.printf(`<path class="%s" d="%s"/>`+"\n", shade(s).look().key, paths[s].String())
		}
	}
	d.WriteString("</g>\n")
}

// legend draws the legend below a height.
func (d *svgDrawing) legend(entries []legendEntry, y float64) {
	for i, e := range entries {
		x, y := svgAxis+i%svgEntries*(svgMap/svgEntries), int(y)+i/svgEntries*svgLine
		d.printf(`<rect class="%s" x="%d" y="%d" width="12" height="12"/><text x="%d" y="%d">%s</text>`+"\n",
			e.shade.look().key, x, y-11, x+18, y, html.EscapeString(e.text))
	}
}
