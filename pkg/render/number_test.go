package render

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// TestAppendNumbers holds numbers of every length against strconv: the first
// and the last of each, and some between.
func TestAppendNumbers(t *testing.T) {
	check := func(n uint64) {
		if got, want := string(appendUint([]byte("> "), n)), "> "+strconv.FormatUint(n, 10); got != want {
			t.Errorf("appendUint(%d) = %q, want %q", n, got, want)
		}
		if got, want := string(appendHex([]byte("> "), n)), "> 0x"+strconv.FormatUint(n, 16); got != want {
			t.Errorf("appendHex(%d) = %q, want %q", n, got, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, base := range []uint64{10, 16} {
		for limit, more := uint64(1), true; more; limit *= base {
			check(limit - 1)
			check(limit)
			for range 1000 {
				check(random.Uint64N(limit))
			}
			more = limit <= math.MaxUint64/base
		}
	}
	for n := range uint64(1e4) { // each lane of a number has every value
		check(n*1e4 + n)
	}
	check(math.MaxUint64)
}

func TestAppendNumbersAllocs(t *testing.T) {
	dst := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(1000, func() { AppendAddr(dst, math.MaxUint64, 9) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendAddr(t *testing.T) {
	tests := []struct {
		n    uint64
		bits uint
		want string
	}{
		{0, 16, "0x0 (#0)"},
		{0x30000, 16, "0x30000 (#3)"},
		{0x3ffff, 16, "0x3ffff (#3)"},
		{0x200, 9, "0x200 (#1)"},
		{0x1fffff, 21, "0x1fffff (#0)"},
		{0x30000, 0, "0x30000"},
		{math.MaxUint64, 9, "0xffffffffffffffff (#36028797018963967)"},
	}
	for _, tt := range tests {
		if got := string(AppendAddr(nil, tt.n, tt.bits)); got != tt.want {
			t.Errorf("AppendAddr(%#x, %d) = %q, want %q", tt.n, tt.bits, got, tt.want)
		}
	}
}

func TestAppendSize(t *testing.T) {
	tests := []struct {
		n    uint64
		want string
	}{
		{0, "0 B"},
		{1, "1 B"},
		{1023, "1023 B"},
		{1024, "1 KiB"},
		{1025, "1.00 KiB"}, // not exact
		{1024 + 10, "1.01 KiB"},
		{1024 + 11, "1.01 KiB"},
		{1024 + 103, "1.10 KiB"},
		{1024 + 5, "1.00 KiB"},
		{1024 + 6, "1.01 KiB"},
		{1024 + 128, "1.12 KiB"}, // 1.125: to the even digit
		{1024 + 384, "1.38 KiB"}, // 1.375
		{2117632, "2.02 MiB"},
		{1536, "1.50 KiB"},
		{65536, "64 KiB"},
		{65537, "64.00 KiB"},
		{1<<20 - 6, "1023.99 KiB"},
		{1<<20 - 5, "1.00 MiB"}, // 1024 KiB to two decimals
		{1<<20 - 1, "1.00 MiB"},
		{1 << 20, "1 MiB"},
		{1<<20 + 1, "1.00 MiB"},
		{3 << 29, "1.50 GiB"},
		{5 << 40, "5 TiB"},
		{1<<60 - 1, "1.00 EiB"},
		{1 << 60, "1 EiB"},
		{1 << 63, "8 EiB"},
		{1<<63 + 1<<59, "8.50 EiB"},
		{math.MaxUint64, "16.00 EiB"},
	}
	for _, tt := range tests {
		if got := string(appendSize(nil, tt.n)); got != tt.want {
			t.Errorf("appendSize(%d) = %q, want %q", tt.n, got, tt.want)
		}
	}
}

// Tables of many rows reserve widestSize for a size before they know it.
func TestWidestSize(t *testing.T) {
	for unit := range sizeUnits {
		for _, n := range []uint64{1<<(10*unit) + 1, 1023 << (10 * unit), 1<<(10*unit+10) - 1, math.MaxUint64 >> (64 - 10*unit - 4)} {
			if got := appendSize(nil, n); len(got) > widestSize {
				t.Errorf("appendSize(%d) = %q: %d characters, want at most %d", n, got, len(got), widestSize)
			}
		}
	}
}

func TestAppendTime(t *testing.T) {
	tests := []struct {
		seconds uint64
		want    string
	}{
		{0, "1970-01-01T00:00:00Z"},
		{951782399, "2000-02-28T23:59:59Z"},
		{951782400, "2000-02-29T00:00:00Z"},
		{math.MaxInt32, "2038-01-19T03:14:07Z"},
		{math.MaxInt32 + 1, "2038-01-19T03:14:08Z"},
		{math.MaxUint32, "2106-02-07T06:28:15Z"}, // the last that a snapshot can have
	}
	for _, tt := range tests {
		if got := string(appendTime(nil, tt.seconds)); got != tt.want {
			t.Errorf("appendTime(%d) = %q, want %q", tt.seconds, got, tt.want)
		}
	}
}

func TestAppendDuration(t *testing.T) {
	const second = uint64(time.Second)
	tests := []struct {
		ns   uint64
		want string
	}{
		{0, "00:00:00"},
		{1, "00:00:00.000000001"},
		{second - 1, "00:00:00.999999999"},
		{second, "00:00:01"},
		{3 * second / 2, "00:00:01.500000000"},
		{60 * second, "00:01:00"},
		{3661 * second, "01:01:01"},
		{100*3600*second - 1, "99:59:59.999999999"},
		{100 * 3600 * second, "100:00:00"},
		{math.MaxUint64, "5124095:34:33.709551615"},
	}
	for _, tt := range tests {
		if got := string(appendDuration(nil, tt.ns)); got != tt.want {
			t.Errorf("appendDuration(%d) = %q, want %q", tt.ns, got, tt.want)
		}
	}
}

func TestAppendDigits(t *testing.T) {
	tests := []struct {
		n      uint64
		digits int
		want   string
	}{
		{0, 1, "0"},
		{0, 2, "00"},
		{7, 2, "07"},
		{10, 2, "10"},
		{100, 2, "100"},
		{1, 9, "000000001"},
		{999999999, 9, "999999999"},
	}
	for _, tt := range tests {
		if got := string(appendDigits(nil, tt.n, tt.digits)); got != tt.want {
			t.Errorf("appendDigits(%d, %d) = %q, want %q", tt.n, tt.digits, got, tt.want)
		}
	}
}
