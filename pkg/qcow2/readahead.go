package qcow2

import (
	"iter"
	"sync"
	"time"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

const (
	// aheadReads is the most reads at a time, and aheadBytes the most bytes of one
	// of them.
	aheadReads = 16
	aheadBytes = 256 << 10

	// slowRead is how long a read from memory never takes, for each aheadBytes.
	slowRead = 200 * time.Microsecond
)

// A clusterReader reads clusters of metadata to which the entries of a table point:
// L2 tables, or refcount blocks. Clusters that follow each other in the file are
// read together. Where reads are slow, as over a network, it reads several parts of
// the file at a time, before their turn comes.
type clusterReader struct {
	window
	sec   Section
	size  uint64      // of a cluster, in bytes
	parts []filePart  // that were read together, in the order of the entries
	buf   []byte      // of all parts
	reads []aheadRead // that brought them
}

// A filePart is neighbouring clusters of metadata.
type filePart struct {
	interval.Span
	bytes  []byte
	failed bool // some of it cannot be read
}

// An aheadRead is one of the reads of a part.
type aheadRead struct {
	part *filePart
	off  uint64
	p    []byte
	err  error
	slow bool
}

// cluster returns the cluster at an offset inside the file, as far as the file has
// it. next yields the clusters that will be asked for after it, in that order.
func (r *clusterReader) cluster(off uint64, next iter.Seq[uint64]) ([]byte, error) {
	if p := r.loaded(off); p != nil {
		return p, nil
	}
	part := r.partAt(off)
	if part == nil && r.src.readsAhead() {
		r.readAhead(off, next)
		part = r.partAt(off)
	}
	n := min(r.size, r.src.size-off)
	switch {
	case part == nil:
		return r.bytes(r.sec, off, n, r.following(off, next))
	case part.failed: // that must not hide the cluster, nor the error that is its own
		return r.bytes(r.sec, off, n, n)
	}
	return part.bytes[off-part.From:][:n], nil
}

// loaded returns the cluster at an offset inside the file if no read is needed for
// it, else nil.
func (r *clusterReader) loaded(off uint64) []byte {
	n := min(r.size, r.src.size-off)
	if p := r.held(off, n); p != nil {
		return p
	}
	if part := r.partAt(off); part != nil && !part.failed {
		return part.bytes[off-part.From:][:n]
	}
	return nil
}

// partAt returns the part that the cluster at an offset is in, nil if there is none.
func (r *clusterReader) partAt(off uint64) *filePart {
	for i := range r.parts {
		if p := &r.parts[i]; p.From <= off && off < p.To {
			return p
		}
	}
	return nil
}

// following returns how many bytes of the clusters that are next follow each other
// from an offset on.
func (r *clusterReader) following(off uint64, next iter.Seq[uint64]) uint64 {
	n := r.size
	for cluster := range next {
		if cluster != off+n || n >= windowBytes {
			break
		}
		n += r.size
	}
	return n
}

// readAhead reads the cluster at an offset and those that are next, all at a time.
func (r *clusterReader) readAhead(off uint64, next iter.Seq[uint64]) {
	r.plan(off, next)
	r.cut()
	var all sync.WaitGroup
	for i := range r.reads {
		x := &r.reads[i]
		all.Go(func() { x.slow, x.err = r.src.readTimed(r.sec, x.off, x.p) })
	}
	all.Wait()
	slow := true // they were, if the fastest was
	for _, x := range r.reads {
		x.part.failed = x.part.failed || x.err != nil
		slow = slow && x.slow
	}
	r.src.note(slow)
}

// plan sets the parts: as many clusters as the reads can bring, joined where they
// touch.
func (r *clusterReader) plan(off uint64, next iter.Seq[uint64]) {
	largest := max(aheadBytes, r.size)
	reads := ceilDiv(r.size, aheadBytes)
	r.parts = append(r.parts[:0], filePart{Span: interval.Span{From: off, To: off + r.size}})
	for cluster := range next {
		if last := &r.parts[len(r.parts)-1]; last.To == cluster && last.To-last.From+r.size <= largest {
			last.To += r.size
			continue
		}
		if reads += ceilDiv(r.size, aheadBytes); reads > aheadReads {
			break
		}
		r.parts = append(r.parts, filePart{Span: interval.Span{From: cluster, To: cluster + r.size}})
	}
}

// cut sets the reads that the parts take.
func (r *clusterReader) cut() {
	if r.buf == nil {
		r.buf = make([]byte, aheadReads*aheadBytes)
	}
	r.reads = r.reads[:0]
	rest := r.buf
	for i := range r.parts {
		part := &r.parts[i]
		part.To = min(part.To, r.src.size)
		n := part.To - part.From
		part.bytes, rest = rest[:n:n], rest[n:]
		for at := uint64(0); at < n; at += aheadBytes {
			r.reads = append(r.reads, aheadRead{part: part, off: part.From + at, p: part.bytes[at:min(at+aheadBytes, n)]})
		}
	}
}
