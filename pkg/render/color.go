package render

// A Color is how a table on a terminal shows a value. It is one of the colours
// that every terminal has, whose shades its user has chosen: they can be read on
// a light background as on a dark one.
type Color uint8

// The colours.
const (
	ColorNone Color = iota // that of the terminal
	ColorRed
	ColorGreen
	ColorYellow
	ColorMagenta
	ColorCyan
	ColorDim

	colorBold // of titles
)

// begin returns the sequence that begins a colour.
func (c Color) begin() string {
	switch c {
	case ColorRed:
		return "\x1b[31m"
	case ColorGreen:
		return "\x1b[32m"
	case ColorYellow:
		return "\x1b[33m"
	case ColorMagenta:
		return "\x1b[35m"
	case ColorCyan:
		return "\x1b[36m"
	case ColorDim:
		return "\x1b[2m"
	case colorBold:
		return "\x1b[1m"
	}
	return ""
}

// end returns the sequence that ends a colour.
func (c Color) end() string {
	if c == ColorNone {
		return ""
	}
	return "\x1b[0m"
}

// paint returns text in a colour.
func (c Color) paint(s string) string { return c.begin() + s + c.end() }

// color returns the colour of a value of the column.
func (c *Column) color(v *Value) Color {
	i := uint64(0)
	switch {
	case v.isAbsent():
		return ColorDim
	case v.kind == KindEnum:
		i = v.num
	case v.num == 0 && v.str == "" && v.ref == nil:
		return ColorNone
	}
	if i < uint64(len(c.Colors)) {
		return c.Colors[i]
	}
	return ColorNone
}
