package cmd

import (
	"bytes"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A fakeTerminal keeps what is written to it.
type fakeTerminal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.Write(p)
}

func (f *fakeTerminal) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.String()
}

// newTestProgress returns a progress on a fake terminal, and its clock.
func newTestProgress(name string) (*progress, *fakeTerminal, *time.Time) {
	terminal, clock := &fakeTerminal{}, time.Unix(0, 0)
	return &progress{terminal: terminal, name: name, turn: always, now: func() time.Time { return clock }}, terminal, &clock
}

func always() bool { return true }

// reports calls report as often as it takes for one look at the clock.
func (p *progress) reports(done, total uint64) {
	for range progressEvery {
		p.report(done, total)
	}
}

func TestProgress(t *testing.T) {
	p, terminal, clock := newTestProgress("a\x1b[31m.qcow2")
	p.reports(1, 100)
	*clock = clock.Add(progressDelay - 1)
	p.reports(2, 100)
	if p.bars != nil {
		t.Fatal("there is a bar before half a second has gone by")
	}
	*clock = clock.Add(1)
	p.reports(25, 100)
	if p.bars == nil {
		t.Fatal("there is no bar after half a second")
	}
	if got := p.bar.Current(); got != progressSteps/4 {
		t.Errorf("the bar is at %d of %d after a quarter of the work", got, progressSteps)
	}
	p.reports(0, 0) // a total of 0 is none
	p.reports(50, 100)
	if got := p.bar.Current(); got != progressSteps/2 {
		t.Errorf("the bar is at %d of %d after half of the work", got, progressSteps)
	}
	p.hide()
	p.hide()
	after := terminal.String()
	p.reports(100, 100)
	if got := terminal.String(); got != after {
		t.Errorf("a hidden bar writes %q", got[len(after):])
	}
	if strings.Contains(after, "\x1b[31m") {
		t.Error("the name of the image reaches the terminal unescaped")
	}
}

// TestProgressTurn: an image has no bar before its turn.
func TestProgressTurn(t *testing.T) {
	p, _, clock := newTestProgress("disk.qcow2")
	turn := false
	p.turn = func() bool { return turn }
	p.reports(1, 100)
	*clock = clock.Add(2 * progressDelay)
	p.reports(2, 100)
	if p.bars != nil {
		t.Error("there is a bar before the turn")
	}
	turn = true
	p.reports(3, 100)
	if p.bars == nil {
		t.Error("there is no bar in the turn")
	}
	p.hide()
}

// TestNoProgress: a progress that nobody can see does nothing.
func TestNoProgress(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, w := range []io.Writer{file, &bytes.Buffer{}} {
		if p := newProgress(w, "disk.qcow2", always); p != nil {
			t.Errorf("there is a progress on a %T that is no terminal", w)
		}
	}
	var p *progress
	p.report(1, 2)
	p.hide()
}

// TestMayBeSeen: a bar goes for good when output begins that may share its
// screen. It stays beside output that goes to a file.
func TestMayBeSeen(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/stdout")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, pipe, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer pipe.Close()
	for _, tt := range []struct {
		name string
		w    io.Writer
		want bool
	}{{"a pipe", pipe, true}, {"a file", file, false}, {"no file", &bytes.Buffer{}, false}} {
		if got := mayBeSeen(tt.w); got != tt.want {
			t.Errorf("%s may be seen: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestGuestTotal: the whole of a bar for guest is what is listed, of the disk of
// the snapshot.
func TestGuestTotal(t *testing.T) {
	img, err := qcow2.OpenFile("../testdata/images/snapshots.qcow2")
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	snapshot, err := img.FindSnapshot("@0")
	if err != nil {
		t.Fatal(err)
	}
	const disk, old = 2 << 20, 1 << 20
	for _, tt := range []struct {
		options qcow2.GuestOptions
		want    uint64
	}{
		{qcow2.GuestOptions{}, disk},
		{qcow2.GuestOptions{Offset: 512}, disk - 512},
		{qcow2.GuestOptions{Offset: 512, Length: 1024}, 1024},
		{qcow2.GuestOptions{Offset: disk - 512, Length: 1024}, 512},
		{qcow2.GuestOptions{Offset: disk + 512}, 0},
		{qcow2.GuestOptions{Snapshot: &snapshot}, old},
		{qcow2.GuestOptions{Snapshot: &snapshot, Offset: old - 512, Length: 1024}, 512},
	} {
		if got := guestTotal(img.Image, tt.options); got != tt.want {
			t.Errorf("%+v: %d bytes, want %d", tt.options, got, tt.want)
		}
	}
}

func TestProgressAllocs(t *testing.T) {
	p, _, _ := newTestProgress("disk.qcow2")
	n := uint64(0)
	if got := testing.AllocsPerRun(1000, func() { n++; p.report(n, 1e6) }); got != 0 {
		t.Errorf("report makes %v allocations", got)
	}
}

// TestTally: the line counts images and bytes, and is gone for good when it is hidden;
// one that is hidden soon was never there.
func TestTally(t *testing.T) {
	terminal := &fakeTerminal{}
	tally := startTally(terminal)
	tally.add(1 << 10)
	tally.add(2 << 10)
	for !strings.Contains(terminal.String(), "2 images, 3 KiB") {
		time.Sleep(time.Millisecond) // until the test's own time is over
	}
	tally.hide()
	tally.hide()
	after := terminal.String()
	if tally.add(1); terminal.String() != after {
		t.Errorf("a hidden line writes %q", terminal.String()[len(after):])
	}
	terminal = &fakeTerminal{}
	tally = startTally(terminal)
	if tally.hide(); terminal.String() != "" {
		t.Errorf("a line that is hidden at once writes %q", terminal.String())
	}
	tally = nil // where there is no terminal
	tally.add(1)
	tally.hide()
}
