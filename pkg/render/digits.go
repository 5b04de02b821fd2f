package render

import (
	"encoding/binary"
	"math"
	"math/bits"
	"sync"
)

// A room is where a row of a batch is written. What is written eight bytes at a time
// overwrites what follows, so that it is a little larger than rows are.
type room [roomBytes + 8]byte

// roomBytes is a power of two, with which the compiler knows that an offset is inside.
const roomBytes = 2048

// widestNumber is the most bytes that a number takes: an address with its cluster.
const widestNumber = len("0xffffffffffffffff (#18446744073709551615)")

// fourDigits returns the text of the numbers from 0 to 9999, four digits each: one
// look takes the place of half of [decimal8].
var fourDigits = sync.OnceValue(func() *[1e4]uint32 {
	text := new([1e4]uint32)
	for n := range text {
		text[n] = uint32((decimal8(uint64(n)) + zeros) >> 32)
	}
	return text
})

// numbers writes numbers of batches, at an offset in a room, and returns the offset
// behind them.
type numbers struct{ digits *[1e4]uint32 }

// putUint writes n in decimal.
func (w numbers) putUint(p *room, at int, n uint64) int {
	if n >= 1e8 {
		at = w.putUint(p, at, n/1e8)
		n %= 1e8
		binary.LittleEndian.PutUint64(p[at&(roomBytes-1):], uint64(w.digits[n/1e4])|uint64(w.digits[n%1e4])<<32)
		return at + 8
	}
	high := n / 1e4
	text := uint64(w.digits[high]) | uint64(w.digits[n-high*1e4])<<32
	skip := leadingZeros(text - zeros)
	binary.LittleEndian.PutUint64(p[at&(roomBytes-1):], text>>(8*skip&63))
	return at + 8 - skip
}

// putHex writes n as "0x…".
func (w numbers) putHex(p *room, at int, n uint64) int {
	binary.LittleEndian.PutUint16(p[at&(roomBytes-1):], '0'|'x'<<8)
	at += 2
	if n > math.MaxUint32 {
		at = putHex8(p, at, n>>32)
		binary.LittleEndian.PutUint64(p[at&(roomBytes-1):], hexText(hex8(n&math.MaxUint32)))
		return at + 8
	}
	return putHex8(p, at, n)
}

// putHex8 writes n, less than 2^32, in hexadecimal.
func putHex8(p *room, at int, n uint64) int {
	size := (bits.Len64(n|1) + 3) / 4
	binary.LittleEndian.PutUint64(p[at&(roomBytes-1):], hexText(hex8(n))>>((64-8*size)&63))
	return at + size
}

// putAddr writes n as [AppendAddr] does.
func (w numbers) putAddr(p *room, at int, n uint64, clusterBits uint) int {
	at = w.putHex(p, at, n)
	if clusterBits == 0 {
		return at
	}
	binary.LittleEndian.PutUint32(p[at&(roomBytes-1):], ' '|'('<<8|'#'<<16)
	at = w.putUint(p, at+3, n>>(clusterBits&63))
	p[at&(roomBytes-1)] = ')'
	return at + 1
}
