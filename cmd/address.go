package cmd

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// An address is a flag that takes a position or a length in bytes: decimal,
// "0x…", with a binary suffix ("64K", "3G"), or as a number of clusters ("#N").
// It implements pflag.Value.
type address struct {
	text     string // as given; empty: not given
	n        uint64
	clusters bool // n counts clusters
}

func (a *address) String() string { return a.text }
func (a *address) Type() string   { return "address" }

// Set parses an address.
func (a *address) Set(s string) error {
	digits, clusters := strings.CutPrefix(s, "#")
	shift := 0
	upper := strings.ToUpper(digits)
	if i := strings.IndexByte("KMGTPE", lastByte(upper)); i >= 0 && !clusters && !strings.HasPrefix(upper, "0X") {
		digits, shift = digits[:len(digits)-1], 10*(i+1)
	}
	base := 10
	if hex, ok := strings.CutPrefix(upper, "0X"); ok && !clusters {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil || bits.Len64(n)+shift > 64 {
		return errors.New("must be " + a.allowed())
	}
	*a = address{text: s, n: n << shift, clusters: clusters}
	return nil
}

// allowed says which values there are.
func (*address) allowed() string {
	return "a number of bytes (0x…, decimal, 64K, 3G) or of clusters (#N)"
}

// given reports whether the flag was set.
func (a *address) given() bool { return a.text != "" }

// bytes returns the address in bytes.
func (a *address) bytes(clusterBits uint) (uint64, error) {
	if !a.clusters {
		return a.n, nil
	}
	if bits.Len64(a.n)+int(clusterBits) > 64 {
		return 0, fmt.Errorf("cluster %s lies beyond 2^64 bytes", a.text)
	}
	return a.n << clusterBits, nil
}

// lastByte returns the last byte of s, 0 if there is none.
func lastByte(s string) byte {
	if s == "" {
		return 0
	}
	return s[len(s)-1]
}
