package qcow2

import (
	"path"
	"strings"
)

// BackingFile returns the name of the backing file, arbitrary bytes, and whether
// the image names one. The name is read wherever the header puts it, even outside
// the first cluster; no file of that name is opened. The error is that of
// [Image.Geometry], or an [*Error] that is also among [Image.HeaderErrors]: the
// name is above the limit, larger than a cluster, or past the end of the file.
func (img *Image) BackingFile() (name string, ok bool, err error) {
	h := &img.header
	n := uint64(h.BackingFileSize)
	bad := func(kind error, format string, args ...any) error {
		return errorf(SectionHeader, fieldOffset("backing_file_size"), kind, format, args...)
	}
	switch {
	case h.BackingFileOffset == 0 || n == 0:
		return "", false, nil
	case img.geometryErr != nil:
		return "", false, img.geometryErr
	case n > img.limits.BackingNameBytes:
		return "", false, bad(ErrLimit, "backing_file_size %d is above the limit of %d bytes (BackingNameBytes)", n, img.limits.BackingNameBytes)
	case n > img.geometry.ClusterSize:
		return "", false, bad(ErrCorrupt, "backing_file_size %d is more than a cluster", n)
	case h.BackingFileOffset > img.src.size || n > img.src.size-h.BackingFileOffset:
		return "", false, bad(ErrTruncated, "backing_file_size %d at backing_file_offset %#x, but the file ends at %#x", n, h.BackingFileOffset, img.src.size)
	}
	p, err := img.src.read(SectionHeader, h.BackingFileOffset, n, "the backing file name")
	if err != nil {
		return "", false, err
	}
	return string(p), true, nil
}

// BackingFormat returns the format of the backing file that the image names,
// arbitrary bytes, and whether it names one.
func (img *Image) BackingFormat() (string, bool) {
	x, ok := img.Extension(ExtBackingFormat)
	return x.Text(), ok
}

// FullBackingName returns the backing file name of the image called imageName
// as QEMU resolves it: a relative name is relative to the image's directory.
// Names with a protocol ("nbd://…", "json:…") stay as they are.
func FullBackingName(imageName, backing string) string {
	if backing == "" || path.IsAbs(backing) || hasProtocol(backing) {
		return backing
	}
	dir, _ := path.Split(imageName)
	return dir + backing
}

// hasProtocol reports whether a name begins with "protocol:", before any slash.
func hasProtocol(name string) bool {
	i := strings.IndexAny(name, ":/")
	return i >= 0 && name[i] == ':'
}
