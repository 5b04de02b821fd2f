package audit

import (
	"errors"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// nameRules are about the other files that an image names. Those about the kind of a
// name fail for each name by itself: they are what is left where a policy allows a
// backing file.
func nameRules() []Rule {
	return []Rule{
		rejects("backing-file", "the image has a backing file, or a part of the name of one", checkBackingFile).in(ScopeHeader),
		rejects("backing-name-outside", "the name of the backing file does not lie in the first cluster, or overlaps the header or its extensions", checkBackingOutside).in(ScopeHeader),
		rejects("backing-format-missing", "the image has a backing file and does not say of which format, so that QEMU probes it", checkBackingFormatMissing).in(ScopeHeader),
		rejects("backing-format-raw", "the backing file is to be read as a raw disk, which any file can be", checkBackingFormatRaw).in(ScopeHeader),
		rejects("backing-format-unknown", "the format of the backing file is none of QEMU's image formats", checkBackingFormatUnknown).in(ScopeHeader),
		rejects("data-file", "guest data lie in an external data file", checkDataFile).in(ScopeHeader),
		warns("data-file-unused", "the image names a data file that it does not use: QEMU opens none, but 'qemu-img info' shows the name", checkDataFileUnused).in(ScopeHeader),
		nameRule("name-protocol", "the name of a file begins with a protocol, such as nbd:", ofKind(qcow2.NameProtocol)),
		nameRule("name-json", "the name of a file is a json: description", ofKind(qcow2.NameJSON)),
		nameRule("name-absolute", "the name of a file is a path from the root", ofKind(qcow2.NameAbsolute)),
		nameRule("name-parent", "the name of a file leads out of the directory", ofKind(qcow2.NameOutside)),
		nameRule("name-device", "the name of a file lies in /dev, /proc or /sys", isDevice),
		nameRule("name-control", "the name of a file holds control characters", hasControl),
		nameRule("name-nul", "the name of a file holds a NUL, where QEMU ends it", hasNUL),
		nameRule("name-not-utf8", "the name of a file is not valid UTF-8", isNotUTF8),
	}
}

// nameRule returns a rule that fails for each name that is bad.
func nameRule(id ID, about string, bad func(*qcow2.FileReference) bool) Rule {
	return rejects(id, about, func(x *examination) ([]Finding, error) {
		names, err := x.names()
		var all []Finding
		for i := range names {
			if r := &names[i]; bad(r) {
				all = append(all, found("%s: %q", about, r.Name).at(r.Offset).over(uint64(len(r.Name))).named(r.Name))
			}
		}
		return all, err
	}).in(ScopeHeader)
}

func ofKind(kind qcow2.NameKind) func(*qcow2.FileReference) bool {
	return func(r *qcow2.FileReference) bool { return r.Kind == kind }
}

func isDevice(r *qcow2.FileReference) bool {
	name := r.Opened()
	if r.Kind == qcow2.NameProtocol { // "host_device:/dev/sda", "file:///dev/sda"
		_, name, _ = strings.Cut(name, ":")
	}
	name = path.Clean("/" + name)
	return strings.HasPrefix(name, "/dev/") || strings.HasPrefix(name, "/proc/") || strings.HasPrefix(name, "/sys/")
}

func hasControl(r *qcow2.FileReference) bool {
	return strings.ContainsFunc(r.Opened(), unicode.IsControl)
}

func hasNUL(r *qcow2.FileReference) bool { return strings.Contains(r.Name, "\x00") }

func isNotUTF8(r *qcow2.FileReference) bool { return !utf8.ValidString(r.Name) }

func checkBackingFile(x *examination) ([]Finding, error) {
	h := x.img.Header()
	if h.BackingFileOffset == 0 && h.BackingFileSize == 0 {
		return nil, nil
	}
	name, ok, _ := x.img.BackingFile() // header-invalid says why there is none
	if !ok {
		return only(found("backing_file_offset is %#x, backing_file_size %d", h.BackingFileOffset, h.BackingFileSize).field("backing_file_offset"))
	}
	return only(found("the backing file is %q", name).at(h.BackingFileOffset).over(uint64(len(name))).named(name))
}

func checkBackingOutside(x *examination) ([]Finding, error) {
	h := x.img.Header()
	from, n := h.BackingFileOffset, uint64(h.BackingFileSize)
	if from == 0 {
		return nil, nil
	}
	if _, err := x.img.Geometry(); err != nil {
		return nil, err
	}
	bad := found("the name of the backing file, %d bytes at %#x, does not lie in the first cluster behind the header extensions", n, from).at(from).over(n)
	if from < uint64(h.HeaderLength) || from > x.g.ClusterSize || n > x.g.ClusterSize-from {
		return only(bad)
	}
	for _, err := range x.img.Extensions() {
		if errors.Is(err, qcow2.ErrCorrupt) {
			return only(bad)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// backing returns the backing file, nil if there is none. The error says that its
// format is not known, or that there can be one.
func (x *examination) backing() (*qcow2.FileReference, error) {
	names, err := x.names()
	i := slices.IndexFunc(names, func(r qcow2.FileReference) bool { return r.Role == qcow2.RoleBackingFile })
	if i < 0 {
		return nil, err
	}
	if names[i].Format != "" {
		err = nil
	}
	return &names[i], err
}

func checkBackingFormatMissing(x *examination) ([]Finding, error) {
	r, err := x.backing()
	if r == nil || err != nil {
		return nil, err
	}
	return failIf(r.Format == "", func() Finding {
		return found("the image does not name the format of its backing file").at(r.Offset).over(uint64(len(r.Name)))
	})
}

func checkBackingFormatRaw(x *examination) ([]Finding, error) {
	r, err := x.backing()
	if r == nil {
		return nil, err
	}
	return failIf(r.Format == "raw", func() Finding {
		return found("the backing file is to be read as a raw disk").named(r.Format)
	})
}

func checkBackingFormatUnknown(x *examination) ([]Finding, error) {
	r, err := x.backing()
	if r == nil {
		return nil, err
	}
	known := []string{"", "raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "vhdx", "parallels", "luks", "bochs", "cloop", "dmg"}
	return failIf(!slices.Contains(known, r.Format), func() Finding {
		return found("the format of the backing file, %q, is not known", r.Format).named(r.Format)
	})
}

func checkDataFile(x *examination) ([]Finding, error) {
	return failIf(x.img.Header().IncompatibleFeatures&qcow2.ExternalDataFile != 0, func() Finding {
		f := found("guest data lie in an external data file").field("incompatible_features")
		if name, ok := x.img.DataFile(); ok {
			f = f.named(name)
		}
		return f
	})
}

func checkDataFileUnused(x *examination) ([]Finding, error) {
	names, err := x.names()
	for _, r := range names {
		if r.Role == qcow2.RoleDataFile && !r.Used {
			return only(found("the image names the data file %q, and does not use it", r.Name).at(r.Offset).over(uint64(len(r.Name))).named(r.Name))
		}
	}
	return nil, err
}
