package render

// A Tone is what a value means, which decides how it looks. On a terminal a tone is
// one of the colours that every terminal has, in the shades that its user has
// chosen, so that it can be read on any background.
type Tone uint8

// The tones.
const (
	ToneNone       Tone = iota // nothing in particular
	ToneAlarm                  // broken
	ToneCaution                // worth a look
	ToneGood                   // as it should be
	ToneMetadata               // what describes data
	ToneZeros                  // data that reads as zeros
	ToneCompressed             // data that is stored in another form
	ToneAbsent                 // nothing there

	toneTitle
)

// begin returns the sequence that begins a tone on a terminal. The sequences
// are known to this function and to end alone.
func (t Tone) begin() string {
	switch t {
	case ToneAlarm:
		return "\x1b[31m" // red
	case ToneCaution:
		return "\x1b[33m" // yellow
	case ToneGood, ToneZeros:
		return "\x1b[32m" // green
	case ToneMetadata:
		return "\x1b[36m" // cyan
	case ToneCompressed:
		return "\x1b[35m" // magenta
	case ToneAbsent:
		return "\x1b[2m" // dim
	case toneTitle:
		return "\x1b[1m" // bold
	}
	return ""
}

// end returns the sequence that ends a tone on a terminal.
func (t Tone) end() string {
	if t == ToneNone {
		return ""
	}
	return "\x1b[0m"
}

// paint returns text in a tone.
func (t Tone) paint(s string) string { return t.begin() + s + t.end() }

// tone returns the tone of a value of the column.
func (c *Column) tone(v *Value) Tone {
	i := uint64(0)
	switch {
	case v.isAbsent():
		return ToneAbsent
	case v.kind == KindEnum:
		i = v.num
	case v.num == 0 && v.str == "" && v.ref == nil:
		return ToneNone
	}
	if i < uint64(len(c.Tones)) {
		return c.Tones[i]
	}
	return ToneNone
}
