package qcow2

import (
	"io/fs"
	"os"
)

// WithSlowReads makes every read count as slow, so that an image reads ahead from
// the first on.
func WithSlowReads() Option { return func(img *Image) { img.src.slowRead = -1 } }

// WithFastReads makes no read count as slow.
func WithFastReads() Option { return func(img *Image) { img.src.slowRead = 1 << 62 / aheadReads } }

// HostFileWith returns an open file of which the system said something else.
func HostFileWith(f *os.File, info fs.FileInfo) *HostFile { return &HostFile{f: f, opened: info} }
