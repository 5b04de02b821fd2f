package qcow2

import (
	"path"
	"strings"
)

// BackingFile returns the name of the backing file, arbitrary bytes, and
// whether the image names one. The name is read wherever the header says that
// it lies, also outside the first cluster; nothing of that name is opened. The
// error is an [*Error]: the name is beyond the limit or past the end of the
// file.
func (img *Image) BackingFile() (name string, ok bool, err error) {
	h := &img.header
	if h.BackingFileOffset == 0 {
		return "", false, nil
	}
	if n := uint64(h.BackingFileSize); n > img.limits.BackingNameBytes {
		return "", false, errorf(SectionHeader, fieldOffset("backing_file_size"), ErrLimit,
			"backing_file_size %d is above the limit of %d bytes (BackingNameBytes)", n, img.limits.BackingNameBytes)
	}
	p, err := img.src.read(SectionHeader, h.BackingFileOffset, uint64(h.BackingFileSize))
	if err != nil {
		return "", false, err
	}
	return string(p), true, nil
}

// FullBackingName returns the backing file name of the image called imageName
// as QEMU resolves it: a relative name is relative to the image's folder.
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
