package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A fleet is images in memory, whose names are their indexes. To open one takes the
// longer the earlier it comes, so that later ones are read first.
type fleet struct {
	images       []*memoryFile // nil: there is no such file
	opened, shut atomic.Int64

	mu            sync.Mutex
	running, most int // how many are opened at a time
}

// newFleet returns each images of each kind: healthy, leaking, broken, missing, of
// another format, changing, being written. With long there is one whose output is
// larger than what is kept before its turn.
func newFleet(each int, long bool) *fleet {
	f := &fleet{}
	build := func() *qcow2test.Built {
		return qcow2test.Image{ClusterBits: 9, Size: 1 << 20, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}.Build()
	}
	for range each {
		foreign := &qcow2test.Built{Bytes: append([]byte("KDMV"), make([]byte, 508)...)}
		leaks := build()
		leaks.Bytes = append(leaks.Bytes, make([]byte, 512)...)
		leaks.Set("l2[0][0]", 0)
		f.images = append(f.images,
			&memoryFile{built: build()},
			&memoryFile{built: leaks},
			&memoryFile{built: build().Set("l1[1]", 0x100)},
			nil,
			&memoryFile{built: foreign},
			&memoryFile{built: foreign},
			&memoryFile{built: build(), changed: true},
			&memoryFile{built: build(), elsewhere: qcow2.ElsewhereWriting},
		)
	}
	if long {
		b := qcow2test.Image{ClusterBits: 9, Size: 3000 << 15}.Build()
		for i := range 3000 {
			b.Set(fmt.Sprintf("l1[%d]", i), 0x101+uint64(i%2)<<9)
		}
		f.images[len(f.images)/2] = &memoryFile{built: b}
	}
	return f
}

// find returns an image, when the time has come, and that it was opened.
func (f *fleet) find(name string) (*memoryFile, error) {
	i, err := strconv.Atoi(name)
	if err != nil {
		return nil, err
	}
	f.count(1)
	defer f.count(-1)
	time.Sleep(time.Duration(len(f.images)-i) * time.Second)
	if f.images[i] == nil {
		return nil, fs.ErrNotExist
	}
	return f.images[i], nil
}

func (f *fleet) count(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running += n
	f.most = max(f.most, f.running)
}

// A fleetFile counts that it is closed.
type fleetFile struct {
	*memoryHostFile
	shut *atomic.Int64
}

func (f fleetFile) Close() error { f.shut.Add(1); return nil }

// openHostFile opens an image for audit.
func (f *fleet) openHostFile(name string) (cmd.HostFile, error) {
	m, err := f.find(name)
	if err != nil {
		return nil, err
	}
	f.opened.Add(1)
	return fleetFile{&memoryHostFile{*m, m.built.Reader()}, &f.shut}, nil
}

// open opens an image for the other commands.
func (f *fleet) open(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
	m, err := f.find(name)
	if err != nil {
		return nil, nil, err
	}
	img, err := qcow2.Open(m.built.Reader(), int64(len(m.built.Bytes)), opts...)
	if err != nil {
		return nil, nil, err
	}
	f.opened.Add(1)
	return img, fleetFile{&memoryHostFile{*m, m.built.Reader()}, &f.shut}, nil
}

// An outcome is what a run leaves behind.
type outcome struct {
	Stdout, Stderr string
	Code           int
}

// A jobsWriter counts writes, and ends them as a test wants. At is called with the
// number of each write, from 1.
type jobsWriter struct {
	bytes.Buffer
	writes int
	at     func(n int) error
}

func (w *jobsWriter) Write(p []byte) (int, error) {
	w.writes++
	if w.at != nil {
		if err := w.at(w.writes); err != nil {
			return 0, err
		}
	}
	return w.Buffer.Write(p)
}

// run runs a command on all images in a bubble of its own, where time costs none.
func (f *fleet) run(t *testing.T, at func(n int, cancel func()) error, args ...string) (o outcome) {
	t.Helper()
	for i := range f.images {
		args = append(args, strconv.Itoa(i))
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var out jobsWriter
		var complaints bytes.Buffer
		if at != nil {
			out.at = func(n int) error { return at(n, cancel) }
		}
		o.Code = cmd.Execute(ctx, cmd.Process{Args: args, Stdout: &out, Stderr: &complaints, Open: f.open, OpenHostFile: f.openHostFile})
		o.Stdout, o.Stderr = out.String(), complaints.String()
	})
	if opened, shut := f.opened.Load(), f.shut.Load(); opened != shut {
		t.Errorf("%.3v…: %d files are opened, %d closed", args, opened, shut)
	}
	return o
}

// severalImages are the commands that take several images.
var severalImages = []string{"header", "extensions", "snapshots", "bitmaps", "check", "usage", "audit"}

// TestJobs: whatever is read first, output, complaints and status are those of one
// image after the other.
func TestJobs(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, command := range severalImages {
		for _, format := range []string{"table", "plain", "ndjson"} {
			t.Run(command+" "+format, func(t *testing.T) {
				want := newFleet(5, true).run(t, nil, command, "-o", format)
				if want.Code == 0 || want.Stdout == "" || want.Stderr == "" {
					t.Fatalf("the images test nothing: %+v", want)
				}
				for _, jobs := range []int{2, 3, 8, 1_000_000} {
					f := newFleet(5, true)
					got := f.run(t, nil, command, "-o", format, "--jobs", strconv.Itoa(jobs))
					if diff := gocmp.Diff(want, got); diff != "" {
						t.Errorf("%d jobs (-one +several):\n%.2000s", jobs, diff)
					}
					if f.most != min(jobs, len(f.images)) {
						t.Errorf("%d jobs: %d images at a time", jobs, f.most)
					}
				}
			})
		}
	}
}

// TestJobsDefault: without --jobs, images are read one after the other.
func TestJobsDefault(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	f := newFleet(2, false)
	f.run(t, nil, "check")
	if f.most != 1 {
		t.Errorf("%d images at a time", f.most)
	}
	t.Setenv("QINSPECT_CHECK_JOBS", "3")
	f = newFleet(2, false)
	f.run(t, nil, "check")
	if f.most != 3 {
		t.Errorf("with the variable %d images at a time, want 3", f.most)
	}
}

// TestJobsStop: an interrupt, a reader that goes away, and a full disk end the run at
// the image that has its turn. Of later ones nothing is seen.
func TestJobsStop(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, write := range []int{1, 2, 7} {
		for reason, tt := range map[string]struct {
			at     func(n int, cancel func()) error
			code   int
			lines  int // of standard output
			stderr string
		}{
			"interrupt": {func(n int, cancel func()) error {
				if n == write {
					cancel()
				}
				return nil
			}, 130, write, ""},
			"closed pipe": {func(n int, _ func()) error {
				if n == write {
					return syscall.EPIPE
				}
				return nil
			}, 1, write - 1, ""},
			"full disk": {func(n int, _ func()) error {
				if n == write {
					return syscall.ENOSPC
				}
				return nil
			}, 1, write - 1, "writing output: no space left on device\n"},
		} {
			want := newFleet(4, false).run(t, tt.at, "check", "-o", "ndjson")
			if lines := strings.Count(want.Stdout, "\n"); want.Code != tt.code || lines != tt.lines || !strings.HasSuffix(want.Stderr, tt.stderr) {
				t.Errorf("%s at write %d: status %d, %d lines, standard error %q", reason, write, want.Code, lines, want.Stderr)
			}
			for _, jobs := range []string{"2", "4", "100"} {
				got := newFleet(4, false).run(t, tt.at, "check", "-o", "ndjson", "--jobs", jobs)
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("%s at write %d, %s jobs (-one +several):\n%s", reason, write, jobs, diff)
				}
			}
		}
	}
}

// TestJobsInterruptEarly: an interrupt before anything was read leaves one short
// document, whatever is read side by side.
func TestJobsInterruptEarly(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		f := newFleet(1, false)
		code := cmd.Execute(ctx, cmd.Process{Args: []string{"check", "--jobs", "4", "-o", "ndjson", "0", "1", "2"}, Stdout: &out, Stderr: &out, Open: f.open})
		var doc document
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil || code != 130 || len(doc.Errors) != 1 || doc.Errors[0].Message != "interrupted" {
			t.Errorf("status %d, error %v, output %q", code, err, out.String())
		}
	})
}

// A slowReader takes a second for each read.
type slowReader struct{ io.ReaderAt }

func (r slowReader) ReadAt(p []byte, off int64) (int, error) {
	time.Sleep(time.Second)
	return r.ReaderAt.ReadAt(p, off)
}

// TestJobsStopSoon: when nobody reads the output, images that take long are not read
// to their end.
func TestJobsStopSoon(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	const tables = 10_000
	image := qcow2test.Image{ClusterBits: 9, Size: tables << 15, Clusters: map[uint64]qcow2test.Kind{}}
	for i := range uint64(tables) {
		image.Clusters[i<<6] = qcow2test.Zero
	}
	slow := &memoryFile{built: image.Build()}
	open := func(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
		if name == "quick" {
			return nil, nil, fs.ErrNotExist
		}
		img, err := qcow2.Open(slowReader{slow.built.Reader()}, int64(len(slow.built.Bytes)), append(opts, qcow2.WithoutReadAhead())...)
		return img, slow, err
	}
	run := func(out io.Writer, names ...string) (took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			cmd.Execute(t.Context(), cmd.Process{Args: append([]string{"check", "-o", "ndjson", "--jobs", "2"}, names...), Stdout: out, Stderr: io.Discard, Open: open})
			took = time.Since(began)
		})
		return took
	}
	all := run(io.Discard, "slow")
	if took := run(&jobsWriter{at: func(int) error { return syscall.EPIPE }}, "quick", "slow"); took > all/2 {
		t.Errorf("the run goes on for %s after the reader has gone, of %s in all", took, all)
	}
}
