package picture

import "math/bits"

// By is what the squares of a picture are coloured by.
type By uint8

// What squares are coloured by.
const (
	ByNeed By = iota // their class
	ByRuns           // how long the contiguous runs in them are
)

// A shade is a colour of a picture, and the letter in its place: first those of the
// classes, then those of the lengths of runs, then that of what has none.
type shade uint8

const (
	runShades = 11 // of 1 cluster, 2, 4, and so on; the last is that of 1024 and more

	firstRunShade = shade(Classes)
	noRunShade    = firstRunShade + runShades
	shades        = int(noRunShade) + 1 // how many
)

// A look is how a shade is named and drawn.
type look struct {
	key    string // in JSON, and in the names of styles
	title  string
	letter byte
	light  string // the colours in a page, on a light and on a dark ground
	dark   string
	ansi   uint8 // of the 256 colours of a terminal
}

// looks has the looks of all shades. Red stands out: what is leaked, and runs of one
// cluster.
var looks = [shades]look{
	Metadata:   {"metadata", "metadata", 'm', "#138d86", "#2aa79f", 30},
	Active:     {"active", "active only", 'D', "#4c78a8", "#5b8cc4", 67},
	Shared:     {"shared", "shared", 's', "#8fb3d9", "#9dbfe3", 110},
	Snapshots:  {"snapshots", "snapshots only", 'S', "#e8883a", "#e8883a", 208},
	VMState:    {"vm-state", "VM state", 'V', "#8e63b5", "#a27bc9", 97},
	Compressed: {"compressed", "compressed", 'c', "#59a14f", "#68b35e", 71},
	Zeros:      {"zeros", "allocated zeros", 'z', "#e3c84e", "#d9bf4a", 221},
	Free:       {"free", "free", '.', "#d9dde3", "#3a424d", 240},
	Leaked:     {"leaked", "leaked", '!', "#d0021b", "#ff4136", 196},
	Conflict:   {"conflict", "conflict", 'X', "#c2008b", "#ff3ec8", 201},
	Unknown:    {"unknown", "unknown", '?', "#7a7f87", "#8b929c", 245},

	firstRunShade + 0:  {"run-0", "1", '0', "#a50f23", "#e0162f", 124},
	firstRunShade + 1:  {"run-1", "2", '1', "#b92b35", "#dd3b44", 160},
	firstRunShade + 2:  {"run-2", "4", '2', "#cf5246", "#d85a4e", 167},
	firstRunShade + 3:  {"run-3", "8", '3', "#e27a5c", "#dd7c5f", 173},
	firstRunShade + 4:  {"run-4", "16", '4', "#f0a380", "#e0a084", 216},
	firstRunShade + 5:  {"run-5", "32", '5', "#f2cdb4", "#dcc4b4", 223},
	firstRunShade + 6:  {"run-6", "64", '6', "#cfe0ec", "#c3d5e2", 153},
	firstRunShade + 7:  {"run-7", "128", '7', "#a6cbe2", "#9cc5df", 117},
	firstRunShade + 8:  {"run-8", "256", '8', "#74aed3", "#71aed6", 74},
	firstRunShade + 9:  {"run-9", "512", '9', "#4490c0", "#4b97c9", 32},
	firstRunShade + 10: {"run-10", "1024 and more", '+', "#1f66ad", "#3277c2", 25},
	noRunShade:         {"run-none", "not guest data", '-', "#dfe2e7", "#343b45", 240},
}

// look returns how the shade is drawn.
func (s shade) look() look { return looks[s] }

// shade returns the shade of a square.
func (p *Picture) shade(i int, by By) shade {
	class := p.Shown(i)
	if by == ByNeed {
		return shade(class)
	}
	if !class.contents() {
		return noRunShade
	}
	clusters := max(p.Run(i)/p.ClusterSize, 1)
	return firstRunShade + shade(min(bits.Len64(clusters)-1, runShades-1))
}
