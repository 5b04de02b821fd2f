package cmd

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the largest window that a zstd frame can ask for, in bytes: what
// every decoder should allow, and more than a cluster.
const maxZstdWindow = 8 << 20

// unzstd fills dst with the first bytes of what src decompresses to, and makes no
// more.
func unzstd(dst, src []byte) error {
	d, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.ReadFull(d, dst)
	return err
}
