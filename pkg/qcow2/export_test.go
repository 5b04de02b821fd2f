package qcow2

// WithSlowReads makes every read count as slow, so that an image reads ahead from
// the first on.
func WithSlowReads() Option { return func(img *Image) { img.src.slowRead = -1 } }

// WithFastReads makes no read count as slow.
func WithFastReads() Option { return func(img *Image) { img.src.slowRead = 1 << 62 / aheadReads } }
