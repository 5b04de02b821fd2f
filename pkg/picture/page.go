package picture

import (
	"crypto/sha256"
	_ "embed" // the script and the style of a page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"strconv"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

//go:embed page.js
var pageScript string

//go:embed page.css
var pageStyle string

// A Page is an HTML page that shows a picture and explains it: one file, which
// loads nothing and runs no script but its own. Its texts are shown as they are, so
// they must not have characters that mislead a reader's eye.
type Page struct {
	Title    string       // the name of the image
	File     string       // the name of the image as a word for the shell
	By       By           // what the squares are coloured by at first
	Usage    *qcow2.Usage // not nil
	Owners   []string     // the name of each of the owners in Usage
	Verdict  string       // how consistent the image is, in words
	Problems []string     // what is wrong with it
	// SnapshotIDs has the ids of the snapshots, in the order of their table.
	SnapshotIDs []string
	// Size returns a number of bytes as people read it; it is not nil.
	Size func(bytes uint64) string
}

// HTML draws the page.
func (p *Picture) HTML(o Page) string {
	script, style := pageScript, pageStyle+shadeStyles()
	data, err := json.Marshal(p.pageData(&o)) // which escapes what could end the element
	if err != nil {
		panic("picture: " + err.Error()) // all its types can be marshalled
	}
	return fmt.Sprintf(pageFrame, hash(script), hash(style), html.EscapeString(o.Title), style, html.EscapeString(o.Title),
		html.EscapeString(p.subtitle(&o)), html.EscapeString(p.Sentence(o.Usage, o.Size)),
		attribute("checked", o.By == ByNeed), attribute("checked", o.By == ByRuns), attribute("hidden", o.By == ByNeed), html.EscapeString(o.Verdict), data, script)
}

// pageFrame is the page without what depends on the image.
const pageFrame = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '%s'; style-src '%s'; img-src data:; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>%s</title>
<style>%s</style>
</head>
<body>
<h1>%s</h1>
<p class="faint">%s</p>
<p id="sentence">%s</p>
<div id="bar" aria-hidden="true"></div>
<ul class="legend" id="need"></ul>
<h2>The file, from its first byte to its last</h2>
<fieldset aria-label="What colours the squares">
<label><input type="radio" name="by" value="need"%s> who needs it</label>
<label><input type="radio" name="by" value="runs"%s> how long the contiguous run is, in clusters</label>
<span class="faint" id="scale"></span>
</fieldset>
<ul class="legend" id="lengths"%s></ul>
<canvas id="map" tabindex="0" role="img" aria-label="Map of the file: arrow keys choose a square" aria-describedby="info"></canvas>
<output id="info">Point at a square, or choose one with a click or the arrow keys.</output>
<div class="columns">
<section><h2>Guest address (across) to host address (down)</h2><canvas id="scatter" role="img" aria-label="Where guest addresses lie in the file"></canvas>
<p class="faint"><span id="axes"></span> A line that falls evenly is contiguous; dust is fragmentation.</p></section>
<div>
<section><h2>Who needs the space</h2><div class="rows" id="owners"></div>
<p class="faint">With the tables of each. What snapshots share with each other is for none of them alone.</p></section>
<section><h2>Free gaps by size, bytes</h2><div class="rows" id="gaps"></div></section>
<section><h2>Is it consistent?</h2><p>%s</p><ul id="problems" tabindex="0"></ul></section>
</div>
</div>
<script type="application/json" id="data">%s</script>
<script>%s</script>
</body>
</html>
`

// hash returns a text as the policy of the page names it.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// attribute returns an attribute of an element, if ok.
func attribute(name string, ok bool) string {
	if ok {
		return " " + name
	}
	return ""
}

// shadeStyles returns the styles of the shades.
func shadeStyles() string {
	var light, dark strings.Builder
	for _, l := range looks {
		fmt.Fprintf(&light, ".shade-%s { background: %s; }\n", l.key, l.light)
		fmt.Fprintf(&dark, ".shade-%s { background: %s; }\n", l.key, l.dark)
	}
	return light.String() + "@media (prefers-color-scheme: dark) {\n" + dark.String() + "}\n"
}

// subtitle returns what stands below the name of the image.
func (p *Picture) subtitle(o *Page) string {
	snapshots := strconv.Itoa(len(o.SnapshotIDs)) + " snapshots"
	if len(o.SnapshotIDs) == 1 {
		snapshots = "1 snapshot"
	}
	runs := uint64(0)
	for i := range p.Squares {
		runs += p.Squares[i].Runs
	}
	return fmt.Sprintf("clusters of %s · %s · %d runs", o.Size(p.ClusterSize), snapshots, runs)
}
