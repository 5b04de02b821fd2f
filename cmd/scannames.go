package cmd

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
)

// A nameList is the names of what is to be scanned.
type nameList struct {
	names    func(context.Context) iter.Seq[string] // they end when the context is done
	failures failures                               // of reading them; known when names has ended
}

// namesFrom returns the names in a file, or of standard input for "-", as du(1)
// reads them: each ends with a NUL.
func (a *app) namesFrom(ctx context.Context, name string) (*nameList, error) {
	in := a.Stdin
	if name != "-" {
		f, err := openNames(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("--files0-from: %w", err)
		}
		context.AfterFunc(ctx, func() { f.Close() }) //nolint:errcheck // it was only read
		in = f
	}
	if in == nil {
		in = bytes.NewReader(nil)
	}
	l := &nameList{}
	l.names = func(ctx context.Context) iter.Seq[string] {
		return func(yield func(string) bool) { l.read(ctx, in, yield) }
	}
	return l, nil
}

// openNames opens a file with names. A named pipe opens when something opens it for
// writing: that is not waited for when the context is done.
func openNames(ctx context.Context, name string) (*os.File, error) {
	type opened struct {
		f   *os.File
		err error
	}
	done := make(chan opened, 1)
	go func() {
		f, err := os.Open(name)
		done <- opened{f, err}
	}()
	select {
	case o := <-done:
		return o.f, o.err
	case <-ctx.Done():
		return nil, &exitError{interruptedBy(ctx)}
	}
}

// read yields the names that it reads.
func (l *nameList) read(ctx context.Context, in io.Reader, yield func(string) bool) {
	read := make(chan namedResult)
	go readNames(ctx, in, read)
	for {
		select {
		case r, ok := <-read:
			if !ok {
				return
			}
			if r.err != nil {
				l.failures.add(exitFailed, r.err)
			} else if !yield(r.name) {
				return
			}
		case <-ctx.Done(): // the read may wait for a pipe
			return
		}
	}
}

// A namedResult is a name, or why there is none.
type namedResult struct {
	name string
	err  error
}

// readNames reads names, and closes the channel at their end.
func readNames(ctx context.Context, in io.Reader, to chan<- namedResult) {
	defer close(to)
	send := func(r namedResult) bool {
		select {
		case to <- r:
			return true
		case <-ctx.Done():
			return false
		}
	}
	n := 1
	names := bufio.NewScanner(in)
	var splitter nulSplitter
	names.Split(splitter.split)
	for ; names.Scan(); n++ {
		r := namedResult{name: names.Text()}
		switch {
		case r.name == "":
			r.err = fmt.Errorf("name %d is empty", n)
		case splitter.cut && strings.Contains(r.name, "\n"): // a list of lines
			r.err = &hintError{fmt.Errorf("name %d has no NUL after it, and newlines in it", n), "'find -print0' ends names with a NUL"}
		case len(r.name) >= maxNameBytes:
			r.err = fmt.Errorf("name %d has %d bytes or more, and nothing after it was read", n, maxNameBytes)
		}
		if !send(r) {
			return
		}
	}
	if err := names.Err(); err != nil {
		send(namedResult{err: fmt.Errorf("reading name %d: %w", n, err)})
	}
}

// maxNameBytes is more than any system takes for a name.
const maxNameBytes = bufio.MaxScanTokenSize

// A nulSplitter splits names. The last can lack its NUL: it is cut then. So is one that
// is too long, which is the last.
type nulSplitter struct{ cut bool }

func (s *nulSplitter) split(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return i + 1, data[:i], nil
	}
	switch {
	case len(data) >= maxNameBytes:
		s.cut = true
		return len(data), data, bufio.ErrFinalToken
	case atEOF && len(data) > 0:
		s.cut = true
		return len(data), data, nil
	}
	return 0, nil, nil
}
