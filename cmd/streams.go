package cmd

import (
	"cmp"
	"errors"
	"io"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/term"
)

// An outputWriter makes an outputError of each failure to write.
type outputWriter struct{ io.Writer }

func (w *outputWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		return n, &outputError{err}
	}
	return n, nil
}

// An outputError is a failure to write to standard output.
type outputError struct{ err error }

func (e *outputError) Error() string { return "writing output: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

// closedPipe reports whether the reader of the output has gone away.
func (e *outputError) closedPipe() bool {
	const noData = syscall.Errno(232) // Windows' ERROR_NO_DATA: "The pipe is being closed."
	return errors.Is(e.err, syscall.EPIPE) || runtime.GOOS == "windows" && errors.Is(e.err, noData)
}

// A stickyWriter keeps the first error of a writer, which Cobra drops.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.err = cmp.Or(s.err, err)
	return n, err
}

// terminalWidth returns the width of the terminal w in columns, 0 if w is not a
// terminal.
func terminalWidth(w io.Writer) int {
	width, _ := terminalSize(w)
	return width
}

// terminalSize returns how many columns and lines the terminal w has, none if w is
// not a terminal.
func terminalSize(w io.Writer) (width, height int) {
	f := terminal(w)
	if f == nil {
		return 0, 0
	}
	width, height, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// mayBeSeen reports whether output to w may appear on the terminal that standard
// error is: w is a terminal, or a pipe to a program that may be a pager, which
// takes the whole screen.
func mayBeSeen(w io.Writer) bool {
	if terminal(w) != nil {
		return true
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

// terminal returns w as a file if it is a terminal, else nil.
func terminal(w io.Writer) *os.File {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}
