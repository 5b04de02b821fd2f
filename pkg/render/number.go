package render

import (
	"encoding/binary"
	"math"
	"math/bits"
	"time"
)

// zeros is eight times the digit 0.
const zeros = 0x3030_3030_3030_3030

// decimal8 returns eight decimal digits of n, less than 10^8, as numbers from 0
// to 9, the first in the lowest byte. It halves n into lanes of four digits, each
// of them into lanes of two, and those into digits. Most of the time of a listing
// goes into its numbers: strconv takes 1.6 times as long for decimal ones, and
// twice as long for hexadecimal ones (BenchmarkNumbers).
func decimal8(n uint64) uint64 {
	x := n/1e4 | n%1e4<<32
	high := x * 10486 >> 20 & 0x0000_007f_0000_007f // x / 100
	x = high | (x-high*100)<<16
	high = x * 103 >> 10 & 0x000f_000f_000f_000f // x / 10
	return high | (x-high*10)<<8
}

// hex8 returns the eight hexadecimal digits of n, less than 2^32, in the same way.
func hex8(n uint64) uint64 {
	x := (n | n<<16) & 0x0000_ffff_0000_ffff
	x = (x | x<<8) & 0x00ff_00ff_00ff_00ff
	x = (x | x<<4) & 0x0f0f_0f0f_0f0f_0f0f
	return bits.ReverseBytes64(x)
}

// hexText returns the text of digits from 0 to 15.
func hexText(digits uint64) uint64 {
	letters := (digits + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101
	return digits + zeros + letters*('a'-'9'-1)
}

// leadingZeros returns how many of eight digits are zeros in front of the first
// digit that shows. The last digit always shows.
func leadingZeros(digits uint64) int { return bits.TrailingZeros64(digits|1<<56) / 8 }

// appendUint appends n in decimal.
func appendUint(dst []byte, n uint64) []byte {
	if n >= 1e8 {
		dst = appendUint(dst, n/1e8)
		return binary.LittleEndian.AppendUint64(dst, decimal8(n%1e8)+zeros)
	}
	digits := decimal8(n)
	skip := leadingZeros(digits)
	dst = binary.LittleEndian.AppendUint64(dst, (digits+zeros)>>(8*skip))
	return dst[:len(dst)-skip]
}

// appendHex appends n as "0x…".
func appendHex(dst []byte, n uint64) []byte {
	dst = append(dst, "0x"...)
	top := n
	if n > math.MaxUint32 {
		top = n >> 32
	}
	digits := hex8(top)
	skip := leadingZeros(digits)
	dst = binary.LittleEndian.AppendUint64(dst, hexText(digits)>>(8*skip))
	dst = dst[:len(dst)-skip]
	if n > math.MaxUint32 {
		dst = binary.LittleEndian.AppendUint64(dst, hexText(hex8(n&math.MaxUint32)))
	}
	return dst
}

// AppendAddr appends a byte offset with the number of its cluster, as the
// formats for people do: "0x30000 (#3)". Without clusterBits it leaves the
// number out.
func AppendAddr(dst []byte, n uint64, clusterBits uint) []byte {
	dst = appendHex(dst, n)
	if clusterBits == 0 {
		return dst
	}
	dst = appendUint(append(dst, " (#"...), n>>clusterBits)
	return append(dst, ')')
}

// AppendAddrRange appends the first and the last byte of a range with the
// numbers of their clusters: "0x30000-0x4ffff (#3-#4)", and "(#3)" for a range
// inside one.
func AppendAddrRange(dst []byte, first, last uint64, clusterBits uint) []byte {
	dst = appendHex(append(appendHex(dst, first), '-'), last)
	dst = appendUint(append(dst, " (#"...), first>>clusterBits)
	if first>>clusterBits != last>>clusterBits {
		dst = appendUint(append(dst, "-#"...), last>>clusterBits)
	}
	return append(dst, ')')
}

var sizeUnits = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// widestSize is the longest text that appendSize appends.
const widestSize = len("1023.99 KiB")

// appendSize appends n bytes in the largest unit that n reaches: "64 KiB", or
// with two decimals when that is not exact, rounded to the nearest, a tie to the
// even digit, as qemu-img does. What rounds to 1024 is 1 of the next unit.
func appendSize(dst []byte, n uint64) []byte {
	unit := 0
	for unit < len(sizeUnits)-1 && n>>(10*(unit+1)) != 0 {
		unit++
	}
	if n&(1<<(10*unit)-1) == 0 {
		dst = appendUint(dst, n>>(10*unit))
	} else {
		hundredths := inHundredths(n, 10*unit)
		if hundredths == 1024*100 {
			unit, hundredths = unit+1, 100
		}
		dst = appendDigits(append(appendUint(dst, hundredths/100), '.'), hundredths%100, 2)
	}
	return append(append(dst, ' '), sizeUnits[unit]...)
}

// inHundredths returns n in hundredths of 1<<shift, rounded.
func inHundredths(n uint64, shift int) uint64 {
	high, low := bits.Mul64(n, 100)
	q, rest := bits.Div64(high, low, 1<<shift)
	if half := uint64(1) << (shift - 1); rest > half || rest == half && q%2 == 1 {
		q++
	}
	return q
}

// appendTime appends seconds since the epoch in UTC, as RFC 3339 has it.
func appendTime(dst []byte, seconds uint64) []byte {
	return time.Unix(int64(seconds), 0).UTC().AppendFormat(dst, time.RFC3339)
}

// appendDuration appends nanoseconds as hours, minutes, seconds and, where
// there are any, the nanoseconds: "00:00:01.500000000".
func appendDuration(dst []byte, ns uint64) []byte {
	const second = uint64(time.Second)
	s := ns / second
	dst = appendDigits(dst, s/3600, 2)
	dst = appendDigits(append(dst, ':'), s/60%60, 2)
	dst = appendDigits(append(dst, ':'), s%60, 2)
	if ns %= second; ns != 0 {
		dst = appendDigits(append(dst, '.'), ns, 9)
	}
	return dst
}

// appendDigits appends n with at least the given number of digits.
func appendDigits(dst []byte, n uint64, digits int) []byte {
	limit := uint64(1)
	for range digits - 1 {
		limit *= 10
	}
	for ; limit > n && limit > 1; limit /= 10 {
		dst = append(dst, '0')
	}
	return appendUint(dst, n)
}

// SizeText returns a number of bytes as tables show it, for words around it.
func SizeText(n uint64) string { return string(appendSize(nil, n)) }
