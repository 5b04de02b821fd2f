package fleet

import "github.com/qinspect/qinspect/pkg/qcow2"

// newFileFacts asks the system about a file that was just opened.
func newFileFacts(img *qcow2.Image, file File) *FileFacts {
	f := &FileFacts{Size: uint64(img.Size())}
	if n, ok := file.AllocatedBytes(); ok {
		f.Allocated, f.HasAllocated = uint64(n), true
	}
	f.lookAgain(file)
	return f
}

// lookAgain asks what can change. A program that had the image open at an earlier
// look may have written since.
func (f *FileFacts) lookAgain(file File) {
	f.Changed, f.HasChanged = file.Changed()
	state, ok := file.OpenElsewhere()
	f.Elsewhere, f.HasElsewhere = max(f.Elsewhere, state), ok
}

// newImageFacts returns what a header says.
func newImageFacts(img *qcow2.Image) *ImageFacts {
	h := img.Header()
	f := &ImageFacts{
		Version: h.Version, Compat: h.Compat(), VirtualSize: h.VirtualSize(), Snapshots: h.NbSnapshots,
		Encrypted:   h.CryptMethod != qcow2.CryptNone,
		Dirty:       h.IncompatibleFeatures&qcow2.Dirty != 0,
		Corrupt:     h.IncompatibleFeatures&qcow2.Corrupt != 0,
		HasFeatures: h.Version == 2 || h.Has("incompatible_features"),
	}
	if _, err := img.Geometry(); err == nil {
		f.Backing, f.HasBacking, _ = img.BackingFile() // damage is an error of the check
	}
	f.BackingFormat, f.HasBackingFormat = img.BackingFormat()
	f.DataFile, f.HasDataFile = img.DataFile()
	if d, ok, err := img.BitmapDirectory(); err == nil {
		f.HasBitmaps = true
		if ok {
			f.Bitmaps = d.NbBitmaps
		}
	}
	return f
}
