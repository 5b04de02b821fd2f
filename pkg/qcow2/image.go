package qcow2

import (
	"io"
	"sync/atomic"
)

// An Image is an open qcow2 image. Its header, geometry and first cluster have been
// read; everything else is read when it is needed. An Image is safe for concurrent
// use if its io.ReaderAt is.
type Image struct {
	src    source
	limits Limits

	header       Header
	geometry     Geometry
	geometryErr  error
	firstCluster []byte // as far as it can be read; only the header if there is no geometry

	firstClusterErr error // why firstCluster is short, unless the file ends there
}

// An Option changes how [Open] reads an image.
type Option func(*Image)

// WithLimits replaces the default limits, those of QEMU.
func WithLimits(l Limits) Option { return func(img *Image) { img.limits = l } }

// WithHoles sets the function that finds data in the file, as [HostFile.DataRange]
// does. Holes are then known to be zeros without being read. [OpenFile] uses it.
func WithHoles(dataRange func(offset uint64) (start, end uint64, err error)) Option {
	return func(img *Image) { img.src.dataRange = dataRange }
}

// WithoutReadAhead makes an image read one part of the file after the other, for an
// io.ReaderAt that is slow and cannot serve several calls at a time.
func WithoutReadAhead() Option { return func(img *Image) { img.src.single = true } }

// Open reads the header of the image in r, a file of size bytes.
//
// As [io.ReaderAt] allows, up to 16 calls of r.ReadAt come at the same time, from as
// many goroutines: where a read takes long, as over a network, methods of the image
// read what they will need next. They wait for all reads before they return, or
// yield. See [WithoutReadAhead].
//
// It returns an image whenever there is a header to show, however broken: ask
// [Image.HeaderErrors] what is wrong. The error is an [*Error] of kind
// [ErrNotQcow2] (a [ForeignFormat] where the format is known), [ErrUnsupported]
// (an unknown version), [ErrTruncated] (fewer than 72 bytes), or what r returned.
func Open(r io.ReaderAt, size int64, opts ...Option) (*Image, error) {
	img := &Image{src: source{r: r, size: uint64(max(size, 0)), slowRead: slowRead, slow: new(atomic.Int32)}, limits: DefaultLimits()}
	for _, opt := range opts {
		opt(img)
	}
	p, err := img.src.read(SectionHeader, 0, min(img.src.size, KnownHeaderLength), "the header")
	if err != nil {
		return nil, err
	}
	if err := img.src.foreignError(p); err != nil {
		return nil, err
	}
	if img.header, err = parseHeader(p); err != nil {
		return nil, err
	}
	img.geometry, img.geometryErr = newGeometry(&img.header, img.src.size)
	if img.geometryErr != nil {
		img.firstCluster = p
		return img, nil
	}
	img.readFirstCluster(p)
	if n := min(uint64(img.header.HeaderLength), uint64(len(img.firstCluster))); n > KnownHeaderLength {
		img.header.Rest = img.firstCluster[KnownHeaderLength:n:n]
	}
	return img, nil
}

// readFirstCluster reads the first cluster, which begins with p. If a sector of it
// cannot be read, it keeps a part that can.
func (img *Image) readFirstCluster(p []byte) {
	img.firstCluster = p
	for n := min(img.src.size, img.geometry.ClusterSize); n > uint64(len(p)); n /= 2 {
		q, err := img.src.read(SectionExtensions, 0, n, "the first cluster")
		if err == nil {
			img.firstCluster = q
			return
		}
		img.firstClusterErr = err
	}
}

// Header returns the header as it is in the file.
func (img *Image) Header() *Header { return &img.header }

// Size returns the size of the image file in bytes.
func (img *Image) Size() int64 { return int64(img.src.size) }

// Geometry returns the sizes that the header implies. The error is an [*Error]
// about the field that keeps them from being known: cluster_bits, refcount_order or
// header_length is out of range, or the file ends before it.
func (img *Image) Geometry() (Geometry, error) { return img.geometry, img.geometryErr }

// Supported returns an [*Error] of kind [ErrUnsupported] if the image has
// incompatible features that this package does not know, the error of
// [Image.Geometry] if there is no geometry, and else nil. After an error, only the
// header, the extensions and the snapshot table can be trusted.
func (img *Image) Supported() error {
	if img.geometryErr != nil {
		return img.geometryErr
	}
	if unknown := img.header.IncompatibleFeatures.Unknown(); unknown != 0 {
		return errorf(SectionHeader, fieldOffset("incompatible_features"), ErrUnsupported,
			"the image has incompatible features that are not known: %s", quotedList(unknown.Names(img.FeatureNames())))
	}
	return nil
}

// hasDataFile reports whether guest data lie in an external data file.
func (img *Image) hasDataFile() bool {
	return img.header.IncompatibleFeatures&ExternalDataFile != 0
}
