package cmd

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// newTestTurn returns a writer into the queue, and what gives it its turn.
func newTestTurn(q *queue) (*turnWriter, func()) {
	turn := make(chan struct{})
	return &turnWriter{turn: turn, queue: q}, func() { close(turn) }
}

// write writes a text, which must go well.
func (w *turnWriter) write(t *testing.T, s string) {
	t.Helper()
	if n, err := io.WriteString(w, s); n != len(s) || err != nil {
		t.Errorf("%d bytes of %d are written, error %v", n, len(s), err)
	}
}

// TestTurnWriter: before its turn a document is kept, from its turn on it goes
// straight through.
func TestTurnWriter(t *testing.T) {
	var out bytes.Buffer
	hidden := 0
	w, give := newTestTurn(&queue{outputWriter: outputWriter{&out}})
	w.before = func() { hidden++ }
	want := func(s string, times int) {
		t.Helper()
		if out.String() != s || hidden != times {
			t.Errorf("%q is written, and before was called %d times, want %q and %d", out.String(), hidden, s, times)
		}
	}
	w.write(t, "a")
	w.write(t, "b")
	want("", 0)
	give()
	want("", 0)
	w.write(t, "c")
	want("abc", 2)
	w.write(t, "d")
	want("abcd", 3)
	if err := w.flush(); err != nil {
		t.Error(err)
	}
	want("abcd", 3)

	w, give = newTestTurn(w.queue)
	w.write(t, "e")
	give()
	if err := w.flush(); err != nil {
		t.Error(err)
	}
	want("abcde", 3)
}

// TestTurnWriterWaits: a document of which much is kept waits for its turn.
func TestTurnWriterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		w, give := newTestTurn(&queue{outputWriter: outputWriter{&out}})
		piece := strings.Repeat("x", keptBytes/2)
		written := 0
		go func() {
			for range 4 {
				w.write(t, piece)
				written++
			}
		}()
		synctest.Wait()
		if written != 2 || out.Len() > 0 {
			t.Errorf("%d pieces are written before the turn, %d bytes in the output", written, out.Len())
		}
		give()
		synctest.Wait()
		if written != 4 || out.Len() != 4*len(piece) {
			t.Errorf("%d pieces are written, %d bytes in the output", written, out.Len())
		}
	})
}

// TestTurnWriterBetween: what stands between documents does so once, and nowhere if
// one of them is empty.
func TestTurnWriterBetween(t *testing.T) {
	var out bytes.Buffer
	q := &queue{outputWriter: outputWriter{&out}, between: "-"}
	for _, document := range []string{"", "a", "", "bc", "d"} {
		w, give := newTestTurn(q)
		for _, c := range document {
			w.write(t, string(c))
		}
		give()
		if err := w.flush(); err != nil {
			t.Error(err)
		}
	}
	if got, want := out.String(), "a-bc-d"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A brokenWriter takes some bytes, and then fails. It counts the failures.
type brokenWriter struct {
	room, failures int
	err            error
}

func (w *brokenWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.room)
	w.room -= n
	if n < len(p) {
		w.failures++
		return n, w.err
	}
	return n, nil
}

// TestTurnWriterFails: the first failure to write sticks, be it of what was kept, of
// what comes, or of what stands between documents.
func TestTurnWriterFails(t *testing.T) {
	full := errors.New("disk full")
	for room, kept := range map[int]string{0: "", 1: "abc", 3: "abc"} {
		out := &brokenWriter{room: room, err: full}
		w, give := newTestTurn(&queue{outputWriter: outputWriter{out}, between: "-", used: room == 0})
		if kept != "" {
			w.write(t, kept)
		}
		give()
		for range 3 {
			if _, err := io.WriteString(w, "d"); !errors.Is(err, full) {
				t.Errorf("room %d: error %v", room, err)
			}
		}
		if err := w.flush(); !errors.Is(err, full) {
			t.Errorf("room %d: flush: error %v", room, err)
		}
		if _, ok := errors.AsType[*outputError](w.err); !ok || out.failures != 1 {
			t.Errorf("room %d: error %#v, %d failures", room, w.err, out.failures)
		}
	}
}

// TestTurnWriterClosed: when nothing more is wanted a turn is none, and nothing
// reaches the output.
func TestTurnWriterClosed(t *testing.T) {
	var out bytes.Buffer
	q := &queue{outputWriter: outputWriter{&out}}
	w, give := newTestTurn(q)
	w.write(t, "a")
	q.closed = true
	give()
	if w.hasTurn() {
		t.Error("it has a turn when nothing more is wanted")
	}
	if _, err := w.Write(make([]byte, keptBytes)); err == nil || w.flush() == nil || out.Len() > 0 {
		t.Errorf("%d bytes are written when nothing more is wanted", out.Len())
	}
}

// TestRemarksInOrder: a remark about the output, such as a column that was left out,
// is kept until the turn of the image, and comes before its errors.
func TestRemarksInOrder(t *testing.T) {
	var complaints bytes.Buffer
	l := &loader{app: &app{Process: Process{Stderr: &complaints}}, ctx: t.Context()}
	out, give := newTestTurn(&queue{outputWriter: outputWriter{io.Discard}})
	rep := &report{out: out, ctx: l.ctx, name: "disk.qcow2"}
	rep.remark(l.app, "left out: A")
	rep.failures.add(exitDamaged, errors.New("broken"))
	if complaints.Len() > 0 {
		t.Errorf("before its turn an image says %q", complaints.String())
	}
	give()
	rep.remark(l.app, "left out: B")
	const remarks = "qinspect: left out: A\nqinspect: left out: B\n"
	if got := complaints.String(); got != remarks {
		t.Errorf("in its turn an image says %q, want %q", got, remarks)
	}
	if err := l.take(rep); err != nil || l.code != exitDamaged {
		t.Errorf("error %v, status %d", err, l.code)
	}
	if got, want := complaints.String(), remarks+"qinspect: disk.qcow2: broken\n"; got != want {
		t.Errorf("taken, an image says %q, want %q", got, want)
	}

	complaints.Reset()
	out, give = newTestTurn(&queue{outputWriter: outputWriter{&brokenWriter{err: errors.New("disk full")}}})
	rep = &report{out: out, ctx: l.ctx, name: "disk.qcow2"}
	rep.remark(l.app, "left out: C")
	out.write(t, "x")
	give()
	if err := l.take(rep); err == nil || complaints.String() != "qinspect: left out: C\n" {
		t.Errorf("error %v, and the image says %q", err, complaints.String())
	}
}
