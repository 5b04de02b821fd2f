package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// plotted is an image whose names would like to be markup.
func plotted() *qcow2test.Built {
	const hostile = `</script><script>document.title="pwned"</script><!--<script>` + "\u202e"
	return qcow2test.Image{
		ClusterBits: 9, Size: 200 << 9,
		Clusters:    map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 7: qcow2test.ZeroAllocated, 100: qcow2test.Data},
		BackingFile: hostile,
		Snapshots:   []qcow2test.Snapshot{{ID: hostile, Name: hostile, Clusters: map[uint64]qcow2test.Kind{5: qcow2test.Data, 6: qcow2test.Data}}},
	}.Build()
}

// TestPlotInBrowser draws a page in a browser: nothing is complained of, whatever
// the names are, and a click on any square says what host says of the cluster.
func TestPlotInBrowser(t *testing.T) {
	b := newBrowser(t)
	folder := t.TempDir()
	name := filepath.Join(folder, "h<img src=x onerror=alert(1)>'.qcow2")
	built := plotted()
	write(t, name, built.Bytes)
	img, err := qcow2.Open(built.Reader(), int64(len(built.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(folder, "page.html")
	stdout, stderr, code := runFiles(t, "plot", "-o", "html", name)
	if code != 0 || stderr != "" {
		t.Fatalf("exit status %d, %s", code, stderr)
	}
	write(t, page, []byte(stdout))
	b.open(page)
	title := b.text("document.title")
	if !strings.HasSuffix(title, `h<img src=x onerror=alert(1)>'.qcow2`) {
		t.Errorf("title %q", title)
	}
	if got := b.text("document.images.length + ' images, ' + document.scripts.length + ' scripts'"); got != "0 images, 2 scripts" {
		t.Errorf("%s, want none and 2", got)
	}
	b.text("map.focus()")
	b.press("Home")
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{PerCluster: true}) {
		if err != nil {
			t.Fatal(err)
		}
		i := int(r.Offset >> 9)
		at := strings.Split(b.text(fmt.Sprintf("(() => { const box = map.getBoundingClientRect(); return (box.left + grid.axis + (%d %% grid.columns + .5) * grid.step) + ' ' + (box.top + (Math.floor(%d / grid.columns) + .5) * grid.step); })()", i, i)), " ")
		var x, y float64
		fmt.Sscan(at[0], &x)
		fmt.Sscan(at[1], &y)
		b.click(x, y)
		info := b.text("info.innerText")
		wants := []string{fmt.Sprintf("%#x (#%d): %s", r.Offset, i, r.Kind), fmt.Sprintf("host --at %#x ", r.Offset)}
		if r.HasReference && !r.Kind.Metadata() {
			wants = append(wants, fmt.Sprintf("guest %#x", r.Reference.GuestOffset))
			owner := "active image"
			if r.Reference.Owner != qcow2.OwnerActive {
				owner = "snapshot </script>"
			}
			wants = append(wants, owner)
		}
		wants = append(wants, fmt.Sprintf("refcount %d", r.Refcount))
		for _, want := range wants {
			if !strings.Contains(info, want) {
				t.Errorf("cluster %d: %q lacks %q", i, info, want)
			}
		}
	}
	if got := b.text("getComputedStyle(map).height !== '0px' && [...map.getContext('2d').getImageData(0, 0, map.width, map.height).data].some(v => v > 0)"); got != "true" {
		t.Error("nothing is drawn")
	}
	if len(b.complaints) > 0 {
		t.Errorf("the browser complains: %q", b.complaints)
	}
}

// TestPlotByKeyboard moves over the squares with the keys.
func TestPlotByKeyboard(t *testing.T) {
	b := newBrowser(t)
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	built := plotted()
	write(t, name, built.Bytes)
	stdout, _, _ := runFiles(t, "plot", "-o", "html", "--squares", "10", name)
	write(t, name+".html", []byte(stdout))
	b.open(name + ".html")
	b.text("map.focus()")
	for _, tt := range []struct {
		key  string
		want string
	}{{"Home", "0"}, {"ArrowRight", "1"}, {"ArrowRight", "2"}, {"ArrowLeft", "1"}, {"End", "last"}, {"ArrowRight", "last"}, {"PageUp", "0"}, {"Escape", "-1"}} {
		want := tt.want
		if want == "last" {
			want = b.text("String(data.need.length - 1)")
		}
		b.press(tt.key)
		if got := b.text("String(chosen)"); got != want {
			t.Errorf("after %s: square %s, want %s", tt.key, got, want)
		}
	}
	b.press("Home")
	if info := b.text("info.innerText"); !strings.Contains(info, "metadata ") || !strings.Contains(info, "host --offset 0x0 --length ") {
		t.Errorf("a square of several clusters says %q", info)
	}
	b.text("document.querySelector('input[value=runs]').click()")
	if got := b.text("String(byId('lengths').hidden) + letters()[0]"); got != "false-" {
		t.Errorf("by runs: %q", got)
	}
	if len(b.complaints) > 0 {
		t.Errorf("the browser complains: %q", b.complaints)
	}
}

// TestPlotWidths: the page fits windows of all widths, on a dark ground too.
func TestPlotWidths(t *testing.T) {
	b := newBrowser(t)
	name := filepath.Join(t.TempDir(), "disk.qcow2")
	write(t, name, plotted().Bytes)
	stdout, _, _ := runFiles(t, "plot", "-o", "html", name)
	write(t, name+".html", []byte(stdout))
	for _, width := range []int{360, 800, 1600} {
		b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false}, nil)
		b.open(name + ".html")
		if got := b.text("String(document.documentElement.scrollWidth)"); got != fmt.Sprint(width) {
			t.Errorf("the page is %s pixels wide in a window of %d", got, width)
		}
	}
	light := b.text("getComputedStyle(document.body).backgroundColor + colours.get('.')")
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}}, nil)
	b.open(name + ".html")
	if dark := b.text("getComputedStyle(document.body).backgroundColor + colours.get('.')"); dark == light {
		t.Errorf("dark mode has the colours of light mode: %s", dark)
	}
}

func write(t *testing.T, name string, p []byte) {
	t.Helper()
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// runFiles runs a command on files.
func runFiles(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // no config of the user's
	var out, complaints bytes.Buffer
	code = cmd.Execute(t.Context(), cmd.Process{Args: args, Stdout: &out, Stderr: &complaints})
	return out.String(), complaints.String(), code
}

// TestPlotSmallest draws images of next to nothing: an empty one, one that is cut
// after its first cluster, and one of the largest clusters.
func TestPlotSmallest(t *testing.T) {
	b := newBrowser(t)
	empty := qcow2test.Image{ClusterBits: 9, Size: 1 << 20}.Build()
	cut := qcow2test.Image{ClusterBits: 9, Size: 1 << 20}.Build().Truncate(512)
	none := qcow2test.Image{ClusterBits: 9}.Build()
	large := qcow2test.Image{ClusterBits: 21, Size: 1 << 30, Clusters: map[uint64]qcow2test.Kind{3: qcow2test.Data}}.Build()
	for name, tt := range map[string]struct {
		built   *qcow2test.Built
		code    int
		squares int
	}{"empty": {empty, 0, len(empty.Bytes) >> 9}, "cut": {cut, 2, 1}, "no disk": {none, 0, len(none.Bytes) >> 9}, "large": {large, 0, len(large.Bytes) >> 21}} {
		file := filepath.Join(t.TempDir(), "disk.qcow2")
		write(t, file, tt.built.Bytes)
		stdout, stderr, code := runFiles(t, "plot", "-o", "html", file)
		if code != tt.code {
			t.Errorf("%s: exit status %d, want %d: %s", name, code, tt.code, stderr)
		}
		write(t, file+".html", []byte(stdout))
		b.open(file + ".html")
		if got := b.text("String(data.need.length)"); got != fmt.Sprint(tt.squares) {
			t.Errorf("%s: %s squares, want %d", name, got, tt.squares)
		}
	}
	if len(b.complaints) > 0 {
		t.Errorf("the browser complains: %q", b.complaints)
	}
}
