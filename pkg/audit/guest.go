package audit

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// guestHead returns the first bytes of the disk, those that can hold signatures.
// What is read from a backing file counts as zeros: it is for that file's audit. The
// error says that not all can be read.
func (x *examination) guestHead() ([]byte, error) {
	h := x.img.Header()
	switch {
	case h.IncompatibleFeatures&qcow2.ExternalDataFile != 0:
		return nil, errors.New("guest data lie in another file")
	case h.CryptMethod != qcow2.CryptNone:
		return nil, harmlessError{errors.New("guest data are encrypted")}
	}
	m, err := x.img.Mapper(x.ctx, qcow2.GuestOptions{})
	if err != nil {
		return nil, err
	}
	p := make([]byte, min(x.g.VirtualSize, qcow2.SignatureBytes))
	m.Map(0, uint64(len(p)), func(mapping *qcow2.Mapping, e error) bool {
		if err = e; err == nil && mapping.Start < uint64(len(p)) {
			err = x.readMapping(p[mapping.Start:], mapping)
		}
		return err == nil
	})
	return p, err
}

// readMapping reads the guest bytes of a mapping, as many as dst takes.
func (x *examination) readMapping(dst []byte, m *qcow2.Mapping) error {
	dst = dst[:min(uint64(len(dst)), m.Length)]
	if m.Problems != 0 {
		return fmt.Errorf("the entry of guest address %#x is damaged: %s", m.Start, m.Problems)
	}
	switch m.Kind {
	case qcow2.MappingData:
		n, err := x.file.ReadAt(dst, int64(m.HostOffset))
		if n < len(dst) && !errors.Is(err, io.EOF) { // what a short last cluster lacks reads as zeros
			return err
		}
	case qcow2.MappingCompressed:
		return x.decompress(dst, m)
	}
	return nil
}

// decompress fills dst with the first bytes of a compressed cluster.
func (x *examination) decompress(dst []byte, m *qcow2.Mapping) error {
	end := min(qcow2.CompressedEnd(m.HostOffset, m.Sectors), uint64(x.size))
	src := make([]byte, end-min(m.HostOffset, end))
	if err := readAt(x.file, src, int64(m.HostOffset)); err != nil {
		return err
	}
	var err error
	switch kind := x.img.Header().CompressionType; {
	case kind == qcow2.CompressionDeflate:
		_, err = io.ReadFull(flate.NewReader(bytes.NewReader(src)), dst)
	case kind == qcow2.CompressionZstd && x.options.Zstd != nil:
		err = x.options.Zstd(dst, src)
	default:
		err = fmt.Errorf("%s is not known here", kind)
	}
	if err != nil {
		return fmt.Errorf("the compressed data at %#x cannot be read: %w", m.HostOffset, err)
	}
	return nil
}
