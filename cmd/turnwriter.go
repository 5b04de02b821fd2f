package cmd

import "io"

// keptBytes is how much of an image is kept in memory before its turn.
const keptBytes = 256 << 10

// A queue is where documents stand one after the other: they are written in their
// turn.
type queue struct {
	outputWriter
	between string // stands between two documents
	used    bool   // something was written
	closed  bool   // nothing more is wanted
}

// Write writes to the output, and fails when nothing more is wanted.
func (q *queue) Write(p []byte) (int, error) {
	if q.closed {
		return 0, io.ErrClosedPipe
	}
	q.used = true
	return q.outputWriter.Write(p)
}

// A turnWriter writes one document. What comes before its turn is kept, and written
// later, by the next write or by flush. When much is kept, Write waits for the turn.
// The first error sticks.
type turnWriter struct {
	turn   <-chan struct{} // closed when all that comes before the document was written
	queue  *queue
	before func() // if not nil, called before each write to the queue
	kept   []byte
	begun  bool // a part is in the queue
	err    error
}

// hasTurn reports whether it is the turn of the document.
func (w *turnWriter) hasTurn() bool {
	select {
	case <-w.turn:
		return !w.queue.closed
	default:
		return false
	}
}

func (w *turnWriter) Write(p []byte) (int, error) {
	if !w.hasTurn() {
		if len(w.kept)+len(p) <= keptBytes {
			w.kept = append(w.kept, p...)
			return len(p), nil
		}
		<-w.turn
	}
	if err := w.flush(); err != nil {
		return 0, err
	}
	return w.put(p)
}

// flush writes what is kept. The turn must have come.
func (w *turnWriter) flush() error {
	if len(w.kept) == 0 {
		return w.err
	}
	kept := w.kept
	w.kept = nil
	_, err := w.put(kept)
	return err
}

// put writes to the queue.
func (w *turnWriter) put(p []byte) (n int, err error) {
	if w.before != nil {
		w.before()
	}
	if !w.begun && w.queue.used && w.queue.between != "" && w.err == nil {
		_, w.err = io.WriteString(w.queue, w.queue.between)
	}
	w.begun = true
	if w.err == nil {
		n, w.err = w.queue.Write(p)
	}
	return n, w.err
}
