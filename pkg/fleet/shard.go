package fleet

import (
	"errors"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
)

// A Shard is the K-th of N parts of whatever there is, from 1. Each image belongs to
// one of them, always the same, whatever else is there. The zero Shard is the whole; one
// whose K is not from 1 to N has nothing.
type Shard struct{ K, N uint64 }

// ParseShard parses "K/N".
func ParseShard(s string) (Shard, error) {
	k, n, ok := strings.Cut(s, "/")
	shard := Shard{}
	var err1, err2 error
	shard.K, err1 = strconv.ParseUint(k, 10, 64)
	shard.N, err2 = strconv.ParseUint(n, 10, 64)
	if !ok || err1 != nil || err2 != nil || shard.K < 1 || shard.K > shard.N {
		return Shard{}, errors.New("must be K/N, with K from 1 to N")
	}
	return shard, nil
}

// String returns "K/N", or "" for the whole.
func (s Shard) String() string {
	if s.N == 0 {
		return ""
	}
	return strconv.FormatUint(s.K, 10) + "/" + strconv.FormatUint(s.N, 10)
}

// Has reports whether the part has the image with a key (see [Found]): whether K-1
// is the remainder of a hash divided by N. The hash is FNV-1a, of 64 bits, of the
// key's bytes, with its upper half XORed to the lower one: the lowest bit of FNV-1a
// alone is the parity of those of all bytes, which is the same for all names that
// have a number twice, as "7/vm-7" and "8/vm-8".
func (s Shard) Has(key string) bool {
	if s.N == 0 {
		return true
	}
	h := fnv.New64a()
	io.WriteString(h, key) //nolint:errcheck // a hash returns none
	sum := h.Sum64()
	return (sum^sum>>32)%s.N == s.K-1
}
