package cmd

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestUnzstd: as much is decompressed as is asked for, and what is no zstd, is too
// short, or asks for a window beyond the bound is an error.
func TestUnzstd(t *testing.T) {
	compress := func(n int, opts ...zstd.EOption) []byte {
		w, err := zstd.NewWriter(nil, opts...)
		if err != nil {
			t.Fatal(err)
		}
		return w.EncodeAll(bytes.Repeat([]byte("qinspect"), n/8), nil)
	}
	frame := compress(64 << 20)
	wide := compress(64<<20, zstd.WithWindowSize(32<<20))
	for _, tt := range []struct {
		name string
		n    int
		src  []byte
		ok   bool
	}{
		{"the start", 4096, frame, true},
		{"with bytes behind it", 4096, append(compress(4096), "rest of the sector"...), true},
		{"too short", 4097, compress(4096), false},
		{"cut", 4096, frame[:8], false},
		{"no zstd", 8, []byte("no zstd at all"), false},
		{"nothing", 8, nil, false},
		{"a window of 32 MiB", 8, wide, false},
	} {
		dst := make([]byte, tt.n)
		err := unzstd(dst, tt.src)
		if (err == nil) != tt.ok || tt.ok && !bytes.Equal(dst, bytes.Repeat([]byte("qinspect"), tt.n/8)) {
			t.Errorf("%s: %v, %q…", tt.name, err, dst[:8])
		}
	}
}
