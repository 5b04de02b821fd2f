package render

import (
	"math/bits"
	"slices"
	"time"
)

const (
	maxDecimal = len("18446744073709551615") // digits
	maxHex     = 16                          // digits
	maxAddr    = len("0x") + maxHex + len(" (#") + maxDecimal + len(")")
)

// decimalPairs has the numbers of two digits, one behind the other.
const (
	decimalPairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"
	hexDigits    = "0123456789abcdef"
)

// powersOf10 has 10 to the power of its index.
var powersOf10 = [...]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// decimalDigits returns how many digits n has.
func decimalDigits(n uint64) int {
	digits := bits.Len64(n|1) * 1233 >> 12 // log10(2) in 4096ths: one less, or the number
	if n >= powersOf10[digits] || n == 0 {
		digits++
	}
	return digits
}

// hexDigitsOf returns how many hexadecimal digits n has.
func hexDigitsOf(n uint64) int { return (bits.Len64(n|1) + 3) / 4 }

// putDecimal writes n in decimal to p, which has its length. Numbers are what
// listings spend their time in: strconv, which knows every base, takes twice as
// long.
func putDecimal(p []byte, n uint64) {
	i := len(p)
	for n >= 100 {
		pair := n % 100 * 2
		n /= 100
		i -= 2
		p[i+1] = decimalPairs[pair+1]
		p[i] = decimalPairs[pair]
	}
	if n >= 10 {
		p[1], p[0] = decimalPairs[n*2+1], decimalPairs[n*2]
	} else {
		p[0] = '0' + byte(n)
	}
}

// putHex writes n in hexadecimal to p, which has its length.
func putHex(p []byte, n uint64) {
	for i := len(p) - 1; i >= 0; i-- {
		p[i] = hexDigits[n&15]
		n >>= 4
	}
}

// appendUint appends n in decimal.
func appendUint(dst []byte, n uint64) []byte {
	dst = slices.Grow(dst, maxDecimal)
	start := len(dst)
	dst = dst[:start+decimalDigits(n)]
	putDecimal(dst[start:], n)
	return dst
}

// appendHex appends n as "0x…".
func appendHex(dst []byte, n uint64) []byte {
	dst = slices.Grow(dst, len("0x")+maxHex)
	start := len(dst)
	dst = dst[:start+2+hexDigitsOf(n)]
	dst[start], dst[start+1] = '0', 'x'
	putHex(dst[start+2:], n)
	return dst
}

// AppendAddr appends a byte offset with the number of its cluster, as the
// formats for people do: "0x30000 (#3)". Without clusterBits it leaves the
// number out.
func AppendAddr(dst []byte, n uint64, clusterBits uint) []byte {
	if clusterBits == 0 {
		return appendHex(dst, n)
	}
	dst = slices.Grow(dst, maxAddr)
	hex, cluster := hexDigitsOf(n), n>>clusterBits
	start := len(dst)
	dst = dst[:start+2+hex+3+decimalDigits(cluster)+1]
	p := dst[start:]
	p[0], p[1] = '0', 'x'
	putHex(p[2:2+hex], n)
	p = p[2+hex:]
	p[0], p[1], p[2] = ' ', '(', '#'
	putDecimal(p[3:len(p)-1], cluster)
	p[len(p)-1] = ')'
	return dst
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
// with two decimals, rounded down, when that is not exact.
func appendSize(dst []byte, n uint64) []byte {
	unit := 0
	for unit < len(sizeUnits)-1 && n>>(10*(unit+1)) != 0 {
		unit++
	}
	shift := 10 * unit
	dst = appendUint(dst, n>>shift)
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
	return appendUint(dst, n)
}
