package picture

import "fmt"

// A Text draws a picture on a terminal, or in letters.
type Text struct {
	Width, Height int // columns and lines that there are
	// Color draws two squares in a character, one above the other, in the 256
	// colours of terminals; else there is a letter for each square.
	Color bool
	By    By
	// Size returns a number of bytes as people read it; it is not nil.
	Size func(bytes uint64) string
}

const (
	axisWidth   = 12 // of the addresses before each line, and the space between
	legendWidth = 39 // of an entry of the legend, at most
)

// Squares returns how many squares there is room for.
func (t *Text) Squares() int {
	return min(t.columns()*t.lines()*t.perCharacter(), MaxSquares)
}

// columns returns how many squares there are in a line.
func (t *Text) columns() int { return roundColumns(max(t.Width-axisWidth, 1)) }

// roundColumns returns how many columns to draw where there is room for n, so that
// lines begin at round addresses.
func roundColumns(n int) int {
	if n < 32 {
		return n
	}
	return n &^ 15
}

// lines returns how many lines there are for the squares: what the legend leaves.
func (t *Text) lines() int {
	legend := (Classes-1)/max(t.Width/legendWidth, 1) + 1
	return max(t.Height-legend-3, 1) // an empty line, that of the scale, and the prompt
}

// perCharacter returns how many squares there are in a character.
func (t *Text) perCharacter() int {
	if t.Color {
		return 2
	}
	return 1
}

// Text draws the picture. Lines end with a newline.
func (p *Picture) Text(t Text) string {
	d := textDrawing{Text: t, picture: p, ink: noColor, paper: noColor}
	step := d.columns() * d.perCharacter()
	for first := 0; first < len(p.Squares); first += step {
		d.printf("%*s ", axisWidth-1, d.Size(p.Squares[first].Offset))
		d.line(first, min(first+step, len(p.Squares)))
	}
	if len(p.Squares) == 0 {
		d.WriteString("no clusters there\n")
		return d.String()
	}
	d.scale()
	d.legend()
	return d.String()
}

// A textDrawing is a picture that is being drawn.
type textDrawing struct {
	drawing
	Text
	picture    *Picture
	ink, paper int // the colours that are set; noColor: those of the terminal
}

// noColor is the terminal's own colour.
const noColor = -1

// line draws the squares from first up to end, which are one line.
func (d *textDrawing) line(first, end int) {
	for i := first; i < min(first+d.columns(), end); i++ {
		s := d.picture.shade(i, d.By).look()
		if !d.Color {
			d.WriteByte(s.letter)
			continue
		}
		below := noColor
		if i+d.columns() < end {
			below = int(d.picture.shade(i+d.columns(), d.By).look().ansi)
		}
		d.set(int(s.ansi), below)
		d.WriteString("▀")
	}
	d.set(noColor, noColor)
	d.WriteByte('\n')
}

// set sets the colours of the characters that follow.
func (d *textDrawing) set(ink, paper int) {
	switch {
	case !d.Color || ink == d.ink && paper == d.paper:
		return
	case ink == noColor:
		d.WriteString("\x1b[0m")
	case paper == noColor && d.paper != noColor:
		d.printf("\x1b[0;38;5;%dm", ink)
	case paper == d.paper:
		d.printf("\x1b[38;5;%dm", ink)
	case ink == d.ink:
		d.printf("\x1b[48;5;%dm", paper)
	default:
		d.printf("\x1b[38;5;%d;48;5;%dm", ink, paper)
	}
	d.ink, d.paper = ink, paper
}

// scale says how large squares and lines are.
func (d *textDrawing) scale() {
	p := d.picture
	square := "square"
	if !d.Color {
		square = "letter"
	}
	clusters := "one cluster"
	if n := p.SquareSize / p.ClusterSize; n > 1 {
		clusters = fmt.Sprintf("%d clusters", n)
	}
	line := p.SquareSize * uint64(d.columns()*d.perCharacter())
	d.printf("\none %s: %s, %s; one line: %s\n", square, d.Size(p.SquareSize), clusters, d.Size(line))
}

// legend draws what the shades mean.
func (d *textDrawing) legend() {
	entries := d.picture.legend(d.By, d.Size)
	wide := 0
	for _, e := range entries {
		wide = max(wide, len(e.text)+4)
	}
	per := max(d.Width/wide, 1)
	for i, e := range entries {
		d.sample(e.shade)
		if i%per == per-1 || i == len(entries)-1 {
			d.WriteString(e.text + "\n")
		} else {
			d.printf("%-*s", wide-2, e.text)
		}
	}
}

// sample draws a shade, and a space.
func (d *textDrawing) sample(s shade) {
	if !d.Color {
		d.printf("%c ", s.look().letter)
		return
	}
	d.set(int(s.look().ansi), noColor)
	d.WriteString("█")
	d.set(noColor, noColor)
	d.WriteByte(' ')
}
