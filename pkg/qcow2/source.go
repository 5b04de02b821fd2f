package qcow2

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// A source is the image file. All bytes that this package sees come through it, so
// this is where the offsets and lengths that an image claims are checked against
// the size of the file.
type source struct {
	r    io.ReaderAt
	size uint64 // bytes
	// dataRange, if not nil, finds the first data at or after an offset; see
	// [WithHoles].
	dataRange func(offset uint64) (start, end uint64, err error)

	single   bool          // one read at a time; see [WithoutReadAhead]
	slowRead time.Duration // a read of aheadBytes is slow if it takes longer
	slow     *atomic.Int32 // how many reads in a row were
}

// readsAhead reports whether it is time to read before it is asked for. A single
// slow read says nothing: something else may have had the processor.
func (s *source) readsAhead() bool { return !s.single && s.slow.Load() > 1 }

// note notes whether a read was slow.
func (s *source) note(slow bool) {
	if slow {
		s.slow.Add(1)
	} else {
		s.slow.Store(0)
	}
}

// read returns the n bytes at off; what names them in the error. It allocates
// nothing if the file does not reach that far.
func (s *source) read(sec Section, off, n uint64, what string) ([]byte, error) {
	if off > s.size || n > s.size-off {
		return nil, errorf(sec, off, ErrTruncated, "%s of %d bytes, but the file ends at %#x", what, n, s.size)
	}
	p := make([]byte, n)
	if err := s.readFull(sec, off, p); err != nil {
		return nil, err
	}
	return p, nil
}

// readFull reads len(p) bytes at off, a range that lies inside the file. A file
// that has become shorter since it was opened is an error, not a panic.
func (s *source) readFull(sec Section, off uint64, p []byte) error {
	slow, err := s.readTimed(sec, off, p)
	s.note(slow)
	return err
}

// readTimed is readFull that also reports whether the read was slow.
func (s *source) readTimed(sec Section, off uint64, p []byte) (slow bool, err error) {
	start := time.Now()
	err = s.readAt(sec, off, p)
	return time.Since(start) > s.slowRead*time.Duration(ceilDiv(uint64(len(p)), aheadBytes)), err
}

// readAt is readFull without a clock.
func (s *source) readAt(sec Section, off uint64, p []byte) error {
	n, err := s.r.ReadAt(p, int64(off)) // off ≤ s.size, which came from an int64
	switch {
	case n == len(p) && (err == nil || errors.Is(err, io.EOF)):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return errorf(sec, off+uint64(n), ErrTruncated, "the file has become shorter while it was read")
	}
	return errorf(sec, off, err, "reading %d bytes: %v", len(p), err)
}

// cursorWindow is how much a cursor reads at once, in bytes.
const cursorWindow = 64 << 10

// A cursor reads records of varying length from front to back. Its memory is
// one window plus the longest record asked for, whatever the range claims.
type cursor struct {
	src *source
	sec Section
	off uint64 // file offset of the first byte of buf
	end uint64 // file offset where the records end
	buf []byte // read, not yet consumed
}

// newCursor returns a cursor over [off, end), cut at the end of the file.
func newCursor(src *source, sec Section, off, end uint64) *cursor {
	return &cursor{src: src, sec: sec, off: off, end: min(end, src.size)}
}

// left returns how many bytes are left before the end.
func (c *cursor) left() uint64 { return c.end - min(c.off, c.end) }

// next consumes n bytes and returns them; they stay valid until the next call. what
// names them in the error.
func (c *cursor) next(n uint64, what string) ([]byte, error) {
	if err := c.reach(n, what); err != nil {
		return nil, err
	}
	if n > uint64(len(c.buf)) {
		window := make([]byte, min(max(n, cursorWindow), c.left()))
		k := copy(window, c.buf)
		err := c.src.readFull(c.sec, c.off+uint64(k), window[k:])
		if err != nil { // a bad sector further on must not hide the bytes asked for
			window = window[:n]
			err = c.src.readFull(c.sec, c.off+uint64(k), window[k:])
		}
		if err != nil {
			return nil, err
		}
		c.buf = window
	}
	p := c.buf[:n:n]
	c.buf = c.buf[n:]
	c.off += n
	return p, nil
}

// reach returns an error when there are fewer than n bytes left.
func (c *cursor) reach(n uint64, what string) error {
	switch {
	case n <= c.left():
		return nil
	case c.end == c.src.size:
		return errorf(c.sec, c.off, ErrTruncated, "%s of %d bytes, but the file ends at %#x", what, n, c.end)
	}
	return errorf(c.sec, c.off, ErrTruncated, "%s of %d bytes, but %d are left before %#x", what, n, c.left(), c.end)
}

// skip consumes n bytes without reading those that are not read yet.
func (c *cursor) skip(n uint64, what string) error {
	if err := c.reach(n, what); err != nil {
		return err
	}
	c.buf = c.buf[min(n, uint64(len(c.buf))):]
	c.off += n
	return nil
}

// seek moves to a later file offset, at most to the end. It reports whether it got
// there.
func (c *cursor) seek(off uint64) bool {
	n := min(max(off, c.off)-c.off, c.left())
	c.buf = c.buf[min(n, uint64(len(c.buf))):]
	c.off += n
	return c.off >= off
}

// pad consumes the padding of a record that began at start to a multiple of 8
// bytes. The last record may lack it.
func (c *cursor) pad(start uint64) error {
	return c.skip(min(-(c.off-start)&7, c.left()), "padding")
}
