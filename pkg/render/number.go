package render

import (
	"math/bits"
	"strconv"
	"time"
)

// appendHex appends n as "0x…". It is what listings spend their time in:
// strconv, which knows every base, takes twice as long.
func appendHex(dst []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '0', 'x')
	for shift := max(bits.Len64(n)-1, 0) &^ 3; shift >= 0; shift -= 4 {
		dst = append(dst, digits[n>>shift&15])
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
	dst = strconv.AppendUint(append(dst, " (#"...), n>>clusterBits, 10)
	return append(dst, ')')
}

// AppendAddrRange appends the first and the last byte of a range with the
// numbers of their clusters: "0x30000-0x4ffff (#3-#4)", and "(#3)" for a range
// inside one.
func AppendAddrRange(dst []byte, first, last uint64, clusterBits uint) []byte {
	dst = appendHex(append(appendHex(dst, first), '-'), last)
	dst = strconv.AppendUint(append(dst, " (#"...), first>>clusterBits, 10)
	if first>>clusterBits != last>>clusterBits {
		dst = strconv.AppendUint(append(dst, "-#"...), last>>clusterBits, 10)
	}
	return append(dst, ')')
}

var sizeUnits = [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// widestSize is the longest text that appendSize appends.
const widestSize = len("1023.99 KiB")

// appendSize appends n bytes in the largest unit that n reaches: "64 KiB", or
// with two decimals, rounded down, when that is not exact.
func appendSize(dst []byte, n uint64) []byte {
	unit := 0
	for unit < len(sizeUnits)-1 && n>>(10*(unit+1)) != 0 {
		unit++
	}
	shift := 10 * unit
	dst = strconv.AppendUint(dst, n>>shift, 10)
	if rest := n & (1<<shift - 1); rest != 0 {
		hundredths := (rest >> (shift - 10)) * 100 >> 10 // 10 bits are more than two decimals
		dst = append(dst, '.', '0'+byte(hundredths/10), '0'+byte(hundredths%10))
	}
	dst = append(dst, ' ')
	return append(dst, sizeUnits[unit]...)
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
	return strconv.AppendUint(dst, n, 10)
}
