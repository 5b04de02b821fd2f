package fleet

import (
	"errors"
	"hash/fnv"
	"io"
	"strconv"
	"strings"
)

// A Shard is the K-th of N parts of whatever there is, from 1. Each image belongs to
// one of them, always the same, whatever else is there. The zero Shard is the whole.
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

// Has reports whether the part has the image with a key (see [Found]): it goes by
// the FNV-1a hash, of 64 bits, of the key's bytes.
func (s Shard) Has(key string) bool {
	if s.N == 0 {
		return true
	}
	h := fnv.New64a()
	io.WriteString(h, key) //nolint:errcheck // a hash returns none
	return h.Sum64()%s.N == s.K-1
}
