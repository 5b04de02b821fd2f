package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// healthy is a small image.
func healthy() []byte {
	return qcow2test.Image{ClusterBits: 9, Size: 8 << 9, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}.Build().Bytes
}

// imagesIn makes a directory of n images whose names begin with their numbers.
func imagesIn(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		write(t, filepath.Join(dir, fmt.Sprintf("%04d.qcow2", i)), healthy())
	}
	return dir
}

// A scanDocument is what the JSON of a scan has.
type scanDocument struct {
	Images []struct{ Filename, Status, Message string }
	Totals struct {
		Images   int
		ByStatus map[string]int `json:"by-status"`
	}
	Vanished int
	Errors   []struct{ Message string }
}

func decodeScan(t *testing.T, out string) (doc scanDocument) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatalf("%v in %.200q", err, out)
	}
	return doc
}

// TestScanOrder: images that take longer than those after them come first all the
// same: the output has the same bytes however many are read side by side.
func TestScanOrder(t *testing.T) {
	dir := imagesIn(t, 100)
	var want string
	for _, jobs := range []string{"1", "2", "8", "0"} {
		t.Setenv("XDG_CONFIG_HOME", t.TempDir())
		var out bytes.Buffer
		slow := func(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
			var i int
			if _, err := fmt.Sscanf(filepath.Base(name), "%d", &i); err != nil {
				return nil, nil, err
			}
			time.Sleep(time.Duration(i*31%7) * time.Millisecond)
			if i%10 == 3 {
				return nil, nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EIO}
			}
			f, err := qcow2.OpenFile(name, opts...)
			if err != nil {
				return nil, nil, err
			}
			return f.Image, f, nil
		}
		code := cmd.Execute(t.Context(), cmd.Process{Args: []string{"scan", "-o", "ndjson", "--jobs", jobs, dir}, Stdout: &out, Stderr: io.Discard, Open: slow})
		if code != 1 || strings.Count(out.String(), "\n") != 101 || strings.Count(out.String(), `"status":"unreadable"`) != 10 {
			t.Fatalf("jobs %s: exit status %d\n%s", jobs, code, out.String())
		}
		if want == "" {
			want = out.String()
		}
		if out.String() != want {
			t.Errorf("jobs %s: the output differs:\n%s", jobs, cmp.Diff(want, out.String()))
		}
	}
}

// TestScanTimeout: an image whose read hangs becomes a row, and those after it are
// looked at.
func TestScanTimeout(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := imagesIn(t, 5)
	until := make(chan struct{})
	defer close(until)
	open := func(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
		if strings.Contains(name, "0001") {
			<-until
		}
		f, err := qcow2.OpenFile(name, opts...)
		if err != nil {
			return nil, nil, err
		}
		return f.Image, f, nil
	}
	var out bytes.Buffer
	code := cmd.Execute(t.Context(), cmd.Process{Args: []string{"scan", "-o", "json", "--jobs", "1", "--timeout", "2s", dir}, Stdout: &out, Stderr: io.Discard, Open: open})
	doc := decodeScan(t, out.String())
	if code != 1 || doc.Totals.ByStatus["ok"] != 4 || doc.Images[1].Status != "timed-out" || doc.Images[1].Message != "timed out after 2s" {
		t.Errorf("exit status %d, %+v", code, doc)
	}
}

// TestScanInterrupted: a scan ends at once when it is interrupted, whatever it waits
// for, with the rows so far and a whole document.
func TestScanInterrupted(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := imagesIn(t, 3)
	pipe, names := io.Pipe() // nothing more comes, and no end
	go func() {
		for i := range 3 {
			fmt.Fprintf(names, "%s\x00", filepath.Join(dir, fmt.Sprintf("%04d.qcow2", i)))
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &thirdRow{cancel: cancel}
	code := cmd.Execute(ctx, cmd.Process{Args: []string{"scan", "-o", "json", "--files0-from", "-"}, Stdin: pipe, Stdout: out, Stderr: io.Discard})
	doc := decodeScan(t, out.String())
	if code != 130 || len(doc.Errors) != 1 || doc.Errors[0].Message != "interrupted" || len(doc.Images) != 3 || doc.Totals.Images != 3 {
		t.Errorf("exit status %d, %+v", code, doc)
	}
}

// A thirdRow cancels when the third row of a scan is written.
type thirdRow struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (w *thirdRow) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("0002.qcow2")) {
		w.cancel()
	}
	return w.Buffer.Write(p)
}

// TestScanVanished: a file that is gone when its turn comes is counted, and is no
// row: there is nothing wrong with it.
func TestScanVanished(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := imagesIn(t, 4)
	open := func(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
		if strings.Contains(name, "0002") {
			if err := os.Remove(name); err != nil {
				return nil, nil, err
			}
		}
		f, err := qcow2.OpenFile(name, opts...)
		if err != nil {
			return nil, nil, err
		}
		return f.Image, f, nil
	}
	var out, complaints bytes.Buffer
	code := cmd.Execute(t.Context(), cmd.Process{Args: []string{"scan", "-o", "json", dir}, Stdout: &out, Stderr: &complaints, Open: open})
	doc := decodeScan(t, out.String())
	if want := "qinspect: 1 file was gone before it was looked at\n"; code != 0 || doc.Vanished != 1 || doc.Totals.Images != 3 || complaints.String() != want {
		t.Errorf("exit status %d, %+v, %q", code, doc, complaints.String())
	}
}

// TestScanLongLists: a list of names without NULs is told apart from one name, however
// long it is, and one that has nothing but NULs takes no memory for each.
func TestScanLongLists(t *testing.T) {
	const hint = "qinspect: hint: 'find -print0' ends names with a NUL\n"
	list := filepath.Join(t.TempDir(), "list")
	for _, test := range []struct{ names, want string }{
		{strings.Repeat("disks/a.qcow2\n", 10000), "qinspect: name 1 has no NUL after it, and newlines in it\n" + hint},
		{strings.Repeat("a", 1<<16) + "\x00", "qinspect: name 1 has 65536 bytes or more, and nothing after it was read\n"},
	} {
		write(t, list, []byte(test.names))
		if _, complaints, code := runFiles(t, "scan", "--files0-from", list); code != 1 || complaints != test.want {
			t.Errorf("exit status %d, complaints (-want +got):\n%s", code, cmp.Diff(test.want, complaints))
		}
	}
	write(t, list, make([]byte, 1500))
	out, _, code := runFiles(t, "scan", "-o", "json", "--files0-from", list)
	doc := decodeScan(t, out)
	if n := len(doc.Errors); code != 1 || n != 1001 || doc.Errors[999].Message != "name 1000 is empty" || doc.Errors[1000].Message != "500 more errors" {
		t.Errorf("exit status %d, %d errors, the last is %+v", code, n, doc.Errors[n-1])
	}
}

// TestScanManyMetrics: metrics of each image for 1000 of them, of all together for
// more.
func TestScanManyMetrics(t *testing.T) {
	dir := imagesIn(t, 1001)
	out, complaints, code := runFiles(t, "scan", "-o", "metrics", dir)
	if code != 0 || strings.Contains(out, "qinspect_image_") || !strings.Contains(out, "\nqinspect_scan_images{status=\"ok\"} 1001\n") ||
		complaints != "qinspect: there are more than 1000 images: metrics are of all together only\n" {
		t.Errorf("exit status %d, %q, %.300q", code, complaints, out)
	}
	if err := os.Remove(filepath.Join(dir, "0007.qcow2")); err != nil {
		t.Fatal(err)
	}
	out, complaints, code = runFiles(t, "scan", "-o", "metrics", dir)
	if n := strings.Count(out, "\nqinspect_image_info{"); code != 0 || n != 1000 || complaints != "" {
		t.Errorf("exit status %d, %d images, %q", code, n, complaints)
	}
}

// TestScanHostileNames: whatever an image is called, a table, a plain line and a
// plugin have a line of text for it, JSON its bytes, and metrics a label of its own.
func TestScanHostileNames(t *testing.T) {
	dir := t.TempDir()
	names := []string{"-rf", "a\nb", "quote\"'", `back\slash`, `\xff`, "\xff", `\\xff`, "esc\x1b[31m", "a b|c=d", "{}", "\u202eevil", strings.Repeat("n", 255)}
	for _, name := range names {
		write(t, filepath.Join(dir, name), healthy())
	}
	for _, format := range []string{"table", "plain"} {
		out, _, code := runFiles(t, "scan", "-o", format, dir)
		if code != 0 || strings.ContainsAny(out, "\x1b\u202e") || !utf8.ValidString(out) || strings.Count(out, "/-rf") != 1 {
			t.Errorf("%s: exit status %d\n%q", format, code, out)
		}
		if format == "plain" && strings.Count(out, "\nok ") != len(names)-1 {
			t.Errorf("%d lines, want %d\n%s", strings.Count(out, "\nok ")+1, len(names), out)
		}
	}
	out, _, _ := runFiles(t, "scan", "-o", "ndjson", dir)
	var got []string
	for line := range strings.Lines(out) {
		var row struct {
			Filename string
			Hex      *string `json:"filename-hex"`
			Status   string
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row.Status == "" {
			continue
		}
		if name := filepath.Base(row.Filename); row.Hex == nil {
			got = append(got, name)
		} else if strings.HasSuffix(*row.Hex, "2fff") {
			got = append(got, "\xff")
		}
	}
	slices.Sort(names)
	if slices.Sort(got); !slices.Equal(got, names) {
		t.Errorf("names (-want +got):\n%s", cmp.Diff(names, got))
	}
	out, _, code := runFiles(t, "scan", "--plugin", dir)
	if code != 0 || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, "QCOW2 OK - 12 images | ") {
		t.Errorf("exit status %d, %q", code, out)
	}
	out, _, _ = runFiles(t, "scan", "-o", "metrics", dir)
	labels := map[string]bool{}
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "qinspect_image_file_size_bytes{") {
			labels[line] = true
		}
		if strings.Contains(line, "\x1b") || !utf8.ValidString(line) || !strings.HasPrefix(line, "# ") && !strings.HasPrefix(line, "qinspect_") {
			t.Errorf("a line %q", line)
		}
	}
	if len(labels) != len(names) {
		t.Errorf("%d labels, want %d", len(labels), len(names))
	}
}

// TestScanUnwritten: output that cannot be written ends a scan.
func TestScanUnwritten(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := imagesIn(t, 3)
	for _, args := range [][]string{{"-o", "ndjson"}, {"-o", "table"}, {"-o", "metrics"}, {"-o", "json", "--sort", "filename"}} {
		var complaints bytes.Buffer
		code := cmd.Execute(t.Context(), cmd.Process{Args: append([]string{"scan", dir}, args...), Stdout: fullDisk{}, Stderr: &complaints})
		if want := "qinspect: writing output: no space left on device\n"; code != 1 || complaints.String() != want {
			t.Errorf("%s: exit status %d, %q", args, code, complaints.String())
		}
	}
}

// TestScanUnwrittenWaits: output that cannot be written ends a scan whose next images
// hang.
func TestScanUnwrittenWaits(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := imagesIn(t, 201) // more than are collected before they are written
	hangs, until := make(chan struct{}), make(chan struct{})
	timer := time.AfterFunc(5*time.Second, func() { close(until) })
	defer timer.Stop()
	open := func(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
		switch {
		case strings.Contains(name, "0200"):
			close(hangs)
			<-until
			t.Error("the image that hangs was waited for")
		case strings.Contains(name, "0000"):
			<-hangs
		}
		f, err := qcow2.OpenFile(name, opts...)
		if err != nil {
			return nil, nil, err
		}
		return f.Image, f, nil
	}
	code := cmd.Execute(t.Context(), cmd.Process{Args: []string{"scan", "-o", "ndjson", "--jobs", "256", dir}, Stdout: fullDisk{}, Stderr: io.Discard, Open: open})
	if code != 1 {
		t.Errorf("exit status %d, want 1", code)
	}
}

// TestScanStreams: a row is written when it is known, and not when the next one is.
func TestScanStreams(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := imagesIn(t, 3)
	for _, format := range []string{"ndjson", "json", "plain"} {
		written := make(chan string, 100)
		seen := ""
		open := func(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
			if strings.Contains(name, "0001") {
				for !strings.Contains(seen, "0000.qcow2") {
					seen += <-written
				}
			}
			f, err := qcow2.OpenFile(name, opts...)
			if err != nil {
				return nil, nil, err
			}
			return f.Image, f, nil
		}
		code := cmd.Execute(t.Context(), cmd.Process{Args: []string{"scan", "-o", format, "--jobs", "1", dir}, Stdout: writes(written), Stderr: io.Discard, Open: open})
		if code != 0 || strings.Contains(seen, "0001.qcow2") {
			t.Errorf("%s: exit status %d, %q before the second image was looked at", format, code, seen)
		}
	}
}

// writes passes on what is written.
type writes chan<- string

func (w writes) Write(p []byte) (int, error) {
	w <- string(p)
	return len(p), nil
}

// A fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }
