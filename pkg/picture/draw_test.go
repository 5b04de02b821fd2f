package picture_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/picture"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// bytes returns a number of bytes as the tests want it.
func bytes(n uint64) string { return fmt.Sprint(n, " B") }

// drawn is a picture of all classes that a small image can have.
func drawn(t *testing.T, n int) (*qcow2.Image, *picture.Picture) {
	t.Helper()
	b := sharedImage()
	b.Bytes = append(b.Bytes, make([]byte, 100)...) // the last cluster is free, and cut
	img := open(t, b)
	return img, fold(t, img, n)
}

func TestText(t *testing.T) {
	_, p := drawn(t, 1000)
	const want = `        0 B mmmDDz
     3072 B mmSmmm
     6144 B .

one letter: 512 B, one cluster; one line: 3072 B
m metadata 4096 B 65.6 %
D active only 1024 B 16.4 %
S snapshots only 512 B 8.2 %
z allocated zeros 512 B 8.2 %
. free 100 B 1.6 %
`
	if diff := cmp.Diff(want, p.Text(picture.Text{Width: 18, Size: bytes})); diff != "" {
		t.Errorf("letters (-want +got):\n%s", diff)
	}
	colours := p.Text(picture.Text{Width: 18, Size: bytes, Color: true})
	if !strings.HasPrefix(colours, "        0 B \x1b[38;5;30;48;5;30m▀▀\x1b[48;5;208m▀\x1b[38;5;67;48;5;30m▀▀\x1b[38;5;221m▀\x1b[0m\n     6144 B \x1b[38;5;240m▀\x1b[0m\n") {
		t.Errorf("colours: %q", colours)
	}
}

// TestTextFits: whatever the size of the terminal, the picture of as many squares
// as there is room for is no wider than it and, above some lines, no higher.
func TestTextFits(t *testing.T) {
	for _, color := range []bool{false, true} {
		for width := 40; width < 300; width += 13 {
			for height := 18; height < 100; height += 9 {
				o := picture.Text{Width: width, Height: height, Color: color, Size: func(uint64) string { return "1023.99 MiB" }}
				p := &picture.Picture{ClusterSize: 512, SquareSize: 512, Squares: make([]picture.Square, o.Squares())}
				for i := range p.Squares {
					p.Squares[i].Bytes[i%picture.Classes] = 512
				}
				lines := strings.Split(strings.TrimSuffix(p.Text(o), "\n"), "\n")
				if len(lines) >= height {
					t.Errorf("%d by %d, colours %t: %d lines", width, height, color, len(lines))
				}
				for _, l := range lines {
					l = regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(l, "")
					if n := len([]rune(l)); n > width && !strings.HasPrefix(l, "one ") {
						t.Errorf("%d by %d, colours %t: a line of %d: %q", width, height, color, n, l)
					}
				}
			}
		}
	}
}

// TestSVG: the drawing is XML, has a square for each, and is the same each time.
func TestSVG(t *testing.T) {
	_, p := drawn(t, 1000)
	o := picture.SVG{Title: "a&<b>", Size: bytes}
	got := p.SVG(o)
	if again := p.SVG(o); again != got {
		t.Error("two drawings of a picture differ")
	}
	squares := map[string]int{}
	var titles []string
	for d := xml.NewDecoder(strings.NewReader(got)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, got)
		}
		switch e := token.(type) {
		case xml.StartElement:
			if e.Name.Local == "path" {
				for _, m := range regexp.MustCompile(`h(\d+)`).FindAllStringSubmatch(e.Attr[1].Value, -1) {
					n := 0
					fmt.Sscan(m[1], &n)
					squares[e.Attr[0].Value] += n
				}
			}
		case xml.CharData:
			if strings.Contains(string(e), "a&<b>") {
				titles = append(titles, string(e))
			}
		}
	}
	if diff := cmp.Diff(map[string]int{"metadata": 8, "active": 2, "zeros": 1, "snapshots": 1, "free": 1}, squares); diff != "" {
		t.Errorf("squares (-want +got):\n%s", diff)
	}
	if len(titles) != 2 {
		t.Errorf("titles %q, want two", titles)
	}
}

// page draws the page of an image that is called title.
func page(t *testing.T, img *qcow2.Image, p *picture.Picture, title string) string {
	t.Helper()
	u, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o := picture.Page{Title: title, File: title, Usage: u, Size: bytes, Verdict: title, Problems: []string{title}}
	for range u.Owners {
		o.Owners = append(o.Owners, title)
	}
	for range img.Header().NbSnapshots {
		o.SnapshotIDs = append(o.SnapshotIDs, title)
	}
	return p.HTML(o)
}

func TestSentence(t *testing.T) {
	img, p := drawn(t, 1000)
	u, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "6244 B of file for a disk of 32768 B; 1536 B are kept for snapshots alone; 100 B are free, in gaps of at most 100 B; guest data lie in 3 runs of 512 B on average."
	if got := p.Sentence(u, bytes); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestPagePolicy: the page loads nothing, and its policy allows its own script and
// style alone, whatever the names in the image are.
func TestPagePolicy(t *testing.T) {
	img, p := drawn(t, 1000)
	got := page(t, img, p, "</script><script>alert(1)</script><img src=x onerror=alert(1)><!--<script>")
	policy := regexp.MustCompile(`content="(default-src[^"]*)"`).FindAllStringSubmatch(got, -1)
	script := regexp.MustCompile(`(?s)<script>(.*?)</script>`).FindAllStringSubmatch(got, -1)
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindAllStringSubmatch(got, -1)
	if len(policy) != 1 || len(script) != 1 || len(style) != 1 {
		t.Fatalf("%d policies, %d scripts, %d styles, want one of each", len(policy), len(script), len(style))
	}
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	want := fmt.Sprintf("default-src 'none'; script-src %s; style-src %s; img-src data:; base-uri 'none'; form-action 'none'", hash(script[0][1]), hash(style[0][1]))
	if policy[0][1] != want {
		t.Errorf("policy %s\nwant %s", policy[0][1], want)
	}
	if n := strings.Count(got, "http"); n != 1 { // http-equiv
		t.Errorf("the page has %d times \"http\", want 1", n)
	}
	if strings.Contains(got, "<img") || strings.Contains(got, " style=") {
		t.Error("a name has become markup")
	}
}

// TestPageData: the data of the page are JSON, and those of the picture.
func TestPageData(t *testing.T) {
	img, p := drawn(t, 1000)
	data := regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`).FindStringSubmatch(page(t, img, p, "disk"))
	var got struct {
		Need, Runs string
		Ranges     []struct{ First, Run uint64 }
		Owners     []struct{ Exclusive uint64 }
	}
	if err := json.Unmarshal([]byte(data[1]), &got); err != nil {
		t.Fatal(err)
	}
	if want := "mmmDDzmmSmmm."; got.Need != want || len(got.Runs) != len(want) {
		t.Errorf("squares %q and %q, want %q", got.Need, got.Runs, want)
	}
	clusters := uint64(0)
	for _, r := range got.Ranges {
		if r.First != clusters {
			t.Errorf("a range begins at %d, want %d", r.First, clusters)
		}
		clusters += r.Run
	}
	if clusters != 13 || len(got.Owners) != 2 {
		t.Errorf("%d clusters in ranges, %d owners, want 13 and 2", clusters, len(got.Owners))
	}
}

// TestPageSize: a page of the most squares of mixed clusters stays within its bound.
func TestPageSize(t *testing.T) {
	img := open(t, qcow2test.Image{ClusterBits: 9, Size: 1 << 20}.Build())
	p := &picture.Picture{FileSize: 10 << 40, GuestSize: 10 << 40, ClusterSize: 65536, SquareSize: 2400 * 65536, Squares: make([]picture.Square, picture.MaxSquares)}
	for i := range p.Squares {
		s := &p.Squares[i]
		s.Offset, s.Runs, s.RunLength = uint64(i)*p.SquareSize, uint64(i%997), uint64(i%4096)<<16
		s.Bytes[picture.Metadata], s.Bytes[picture.Active] = 65536*uint64(i%7), p.SquareSize-65536*uint64(i%7)
	}
	if n := len(page(t, img, p, "disk")); n > 2_500_000 {
		t.Errorf("the page has %d bytes, want 2500000 at most", n)
	}
}
