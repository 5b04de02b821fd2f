package cmd

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/qinspect/qinspect/pkg/render"
)

const (
	progressDelay  = 500 * time.Millisecond // a command that ends sooner has no bar
	progressEvery  = 64                     // calls from one look at the clock to the next
	progressSteps  = 1000                   // of the bar
	progressColumn = 30                     // characters of the file name
)

// A progress shows on standard error how far a command has got, if that is a
// terminal and the command takes long. A nil progress shows nothing.
type progress struct {
	terminal io.Writer
	name     string      // of the image
	turn     func() bool // whether there can be a bar: a terminal has room for one
	now      func() time.Time

	calls int
	began time.Time
	bars  *mpb.Progress // nil: not yet
	bar   *mpb.Bar
	done  bool // hidden for good
}

// newProgress returns the progress of a command on the named image, nil if standard
// error is not a terminal that can redraw a line.
func newProgress(stderr io.Writer, name string, turn func() bool) *progress {
	if terminal(stderr) == nil || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &progress{terminal: stderr, name: name, turn: turn, now: time.Now}
}

// report takes how much of the work is done.
func (p *progress) report(done, total uint64) {
	if p != nil && !p.done { // short, so that it is inlined: most often p is nil
		p.update(done, total)
	}
}

// update draws the bar, now and then.
func (p *progress) update(done, total uint64) {
	if p.calls++; p.calls%progressEvery != 1 {
		return
	}
	if p.began.IsZero() {
		p.began = p.now()
	}
	if p.bars == nil && (p.now().Sub(p.began) < progressDelay || !p.turn()) {
		return
	}
	if p.bars == nil {
		p.show()
	}
	// mpb does not remove a bar that is complete.
	p.bar.SetCurrent(min(int64(float64(done)/float64(max(total, 1))*progressSteps), progressSteps-1))
}

// show draws the bar for the first time.
func (p *progress) show() {
	name := []rune(render.Escape(p.name))
	if len(name) > progressColumn {
		name = append([]rune("…"), name[len(name)-progressColumn+1:]...)
	}
	p.bars = mpb.New(mpb.WithOutput(p.terminal), mpb.WithWidth(24), mpb.WithAutoRefresh())
	p.bar = p.bars.New(progressSteps, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.PrependDecorators(decor.Name(string(name)+" "), decor.Percentage()),
		mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_MMSS)))
}

// hide removes the bar from the terminal for good.
func (p *progress) hide() {
	if p == nil || p.done {
		return
	}
	p.done = true
	if p.bars != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}

// A tally shows on standard error how many images were looked at, and how much is in
// them, if that is a terminal and the command takes long. A nil tally shows nothing.
type tally struct {
	terminal      io.Writer
	images, bytes atomic.Uint64
	stop          chan struct{}
	ended         chan struct{} // closed when nothing is drawn any more
	done          bool          // hidden for good
}

// newTally returns the tally of a command, nil if standard error is not a terminal
// that can redraw a line.
func newTally(stderr io.Writer) *tally {
	if terminal(stderr) == nil || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return startTally(stderr)
}

// startTally returns the tally on a terminal.
func startTally(terminal io.Writer) *tally {
	t := &tally{terminal: terminal, stop: make(chan struct{}), ended: make(chan struct{})}
	go t.draw()
	return t
}

// add counts an image. It can be called by several goroutines.
func (t *tally) add(bytes uint64) {
	if t != nil {
		t.images.Add(1)
		t.bytes.Add(bytes)
	}
}

// draw draws the line until it is hidden.
func (t *tally) draw() {
	defer close(t.ended)
	select {
	case <-t.stop:
		return
	case <-time.After(progressDelay):
	}
	bars := mpb.New(mpb.WithOutput(t.terminal), mpb.WithAutoRefresh())
	bar := bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(
		decor.Any(func(decor.Statistics) string {
			return fmt.Sprintf("%s, %s ", counted(t.images.Load(), "image", "images"), render.SizeText(t.bytes.Load()))
		}), decor.Elapsed(decor.ET_STYLE_MMSS)))
	<-t.stop
	bar.Abort(true)
	bars.Wait()
}

// hide removes the line from the terminal for good.
func (t *tally) hide() {
	if t == nil || t.done {
		return
	}
	t.done = true
	close(t.stop)
	<-t.ended
}
