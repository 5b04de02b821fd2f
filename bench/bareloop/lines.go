package main

import (
	"encoding/binary"
	"fmt"
	"os"
)

// lines is output that is written when the buffer is nearly full. Numbers are
// looked up, four decimal digits or three hexadecimal ones at a time.
type lines struct {
	buffer  []byte
	err     error
	decimal [10000]uint32
	hex     [4096]uint32
}

// longest is more bytes than a line has.
const longest = 512

func newLines() *lines {
	l := &lines{buffer: make([]byte, 0, 64<<10)}
	for i := range l.decimal {
		l.decimal[i] = word(fmt.Sprintf("%04d", i))
	}
	for i := range l.hex {
		l.hex[i] = word(fmt.Sprintf("%03x ", i))
	}
	return l
}

// word holds four characters.
func word(s string) uint32 { return binary.LittleEndian.Uint32([]byte(s)) }

// line returns the buffer with room for a line.
func (l *lines) line() []byte {
	if len(l.buffer) > cap(l.buffer)-longest {
		l.flush()
	}
	return l.buffer
}

// flush writes what is in the buffer.
func (l *lines) flush() {
	if l.err == nil {
		_, l.err = os.Stdout.Write(l.buffer)
	}
	l.buffer = l.buffer[:0]
}

// appendDecimal appends a number, for which there is room.
func (l *lines) appendDecimal(b []byte, n uint64) []byte {
	if n >= 10000 {
		high := n / 10000
		return appendWord(l.appendDecimal(b, high), l.decimal[n-high*10000], 4)
	}
	zeros := 0
	switch {
	case n < 10:
		zeros = 3
	case n < 100:
		zeros = 2
	case n < 1000:
		zeros = 1
	}
	return appendWord(b, l.decimal[n]>>(8*zeros), 4-zeros)
}

// appendHex appends a number as hexadecimal, for which there is room.
func (l *lines) appendHex(b []byte, n uint64) []byte {
	if n >= 4096 {
		return appendWord(l.appendHex(b, n>>12), l.hex[n&4095], 3)
	}
	zeros := 0
	switch {
	case n < 16:
		zeros = 2
	case n < 256:
		zeros = 1
	}
	return appendWord(b, l.hex[n]>>(8*zeros), 3-zeros)
}

// appendWord appends some of the characters of a word.
func appendWord(b []byte, word uint32, characters int) []byte {
	n := len(b)
	binary.LittleEndian.PutUint32(b[n:n+4], word)
	return b[:n+characters]
}

// address appends an offset and the number of its cluster.
func (l *lines) address(b []byte, offset uint64, bits uint) []byte {
	b = l.appendHex(append(b, "0x"...), offset)
	b = l.appendDecimal(append(b, " (#"...), offset>>bits)
	return append(b, ')')
}
