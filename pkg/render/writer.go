package render

import "io"

// bufferSize is how much output is written at once, in bytes.
const bufferSize = 64 << 10

// A writer collects what a renderer writes and passes it on in large pieces.
// Renderers append to its buffer; to a bufio.Writer they would copy. The first
// write error sticks: nothing is written after it.
type writer struct {
	dst io.Writer
	buf []byte
	err error
}

func newWriter(dst io.Writer) *writer {
	return &writer{dst: dst, buf: make([]byte, 0, bufferSize+bufferSize/4)}
}

// reset makes the writer a new one, with the same buffer.
func (w *writer) reset(dst io.Writer) { w.dst, w.buf, w.err = dst, w.buf[:0], nil }

// take returns what is collected, to append to and to put back.
func (w *writer) take() []byte { return w.buf }

// put takes back what take returned, with more after it.
func (w *writer) put(p []byte) error {
	w.buf = p
	if len(p) < bufferSize {
		return w.err
	}
	return w.flush()
}

// add appends bytes. Its error sticks.
func (w *writer) add(p ...byte) { w.put(append(w.take(), p...)) }

// addString appends a string. Its error sticks.
func (w *writer) addString(s string) { w.put(append(w.take(), s...)) }

// flush writes what is collected.
func (w *writer) flush() error {
	if w.err == nil && len(w.buf) > 0 {
		n, err := w.dst.Write(w.buf)
		if err == nil && n < len(w.buf) {
			err = io.ErrShortWrite
		}
		w.err = err
	}
	if w.buf = w.buf[:0]; cap(w.buf) > 4*bufferSize { // a row was enormous
		w.buf = make([]byte, 0, bufferSize+bufferSize/4)
	}
	return w.err
}
