package chain

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// Folders are the directories that layers may lie in. They are the [Opener] of
// files. Close them when done.
type Folders struct {
	all []folder
	of  string // the directory of the image as its name has it, with a slash at its end; "": the working directory
	own string // the same without symbolic links
	cwd string // the working directory, with a slash at its end; "" if it is not known
}

// A folder is a directory that layers may lie in.
type folder struct {
	root *os.Root // nil: the whole file system is allowed
	// names are what the name of a file in it can begin with: the name of the
	// directory as it was given, made absolute, and without symbolic links, each
	// with a slash at its end.
	names []string
}

// NewFolders returns the directory of an image, by the name that it was opened by,
// and the others that are allowed. The directory "/" allows all there is, opened as
// any other program would open it: symbolic links lead wherever they lead.
func NewFolders(image string, allowed ...string) (*Folders, error) {
	f := &Folders{of: directory(filepath.ToSlash(image))}
	if cwd, err := os.Getwd(); err == nil {
		f.cwd = withSlash(filepath.ToSlash(cwd))
	}
	own, err := openFolder(f.of)
	if err != nil {
		return nil, err
	}
	f.all, f.own = []folder{own}, own.names[len(own.names)-1]
	for _, dir := range allowed {
		if filepath.Clean(dir) == "/" {
			f.all = slices.Insert(f.all, 0, folder{}) // nothing is refused, so nothing else is asked
			continue
		}
		d, err := openFolder(dir)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		f.all = append(f.all, d)
	}
	return f, nil
}

// openFolder opens an allowed directory. The empty name is the working directory.
func openFolder(dir string) (folder, error) {
	d := folder{names: []string{withSlash(filepath.ToSlash(dir))}}
	if dir == "" {
		dir = "."
	}
	var err error
	if d.root, err = os.OpenRoot(dir); err != nil {
		return d, err
	}
	info, err := d.root.Stat(".")
	if err != nil {
		return d, errors.Join(err, d.root.Close())
	}
	for _, form := range []func(string) (string, error){filepath.Abs, resolved} {
		if name, err := form(dir); err == nil && isCalled(info, name) { // Abs removes ".." as text
			d.names = append(d.names, withSlash(filepath.ToSlash(name)))
		}
	}
	return d, nil
}

// resolved returns the absolute name of a directory without symbolic links.
func resolved(dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		cwd, err := os.Getwd()
		if err != nil {
			return "", err
		}
		dir = cwd + "/" + dir // not joined: ".." is not removed as text
	}
	return filepath.EvalSymlinks(dir)
}

// Close closes the directories.
func (f *Folders) Close() error {
	var errs []error
	for _, d := range f.all {
		if d.root != nil {
			errs = append(errs, d.root.Close())
		}
	}
	return errors.Join(errs...)
}

// Open opens a file in one of the directories.
func (f *Folders) Open(name string) (File, error) {
	p, err := f.find(name)
	if err != nil {
		return nil, err
	}
	file, err := qcow2.OpenHostFile(p.fsys, p.name)
	switch {
	case err == nil:
		return file, nil
	case leaves(err): // it did not a moment ago
		return nil, errLeaves
	}
	return nil, err
}

// Stat looks at a file in one of the directories.
func (f *Folders) Stat(name string) (fs.FileInfo, error) {
	p, err := f.find(name)
	return p.info, err
}

// A place is where a file is.
type place struct {
	fsys qcow2.HostFS // nil: that of the system
	name string       // there
	info fs.FileInfo
}

const (
	errOutside = Refused("it lies outside the allowed directories")
	errLeaves  = Refused(`".." or a symbolic link leads out of the allowed directory`)
	errAstray  = Refused(`".." after a symbolic link leads somewhere else than the name says`)
)

// find looks a file up in the directories that it may lie in, one after the other,
// until one does not refuse it.
func (f *Folders) find(name string) (place, error) {
	refused := errOutside
	for i := range f.all {
		d := &f.all[i]
		if d.root == nil {
			info, err := os.Stat(name)
			return place{name: name, info: info}, err
		}
		for _, form := range f.forms(name) {
			rest, ok := d.below(form.name)
			if !ok {
				continue
			}
			info, err := d.root.Stat(rest)
			switch {
			case err != nil && leaves(err):
				refused = errLeaves
			case err == nil && form.cleaned && !isCalled(info, name):
				refused = errAstray
			default:
				return place{d.root, rest, info}, err
			}
		}
	}
	return place{}, refused
}

// A form is a way to write a name.
type form struct {
	name    string
	cleaned bool // ".." has been removed as text, which symbolic links can make wrong
}

// forms returns the ways to write a name that the name of a directory can begin.
func (f *Folders) forms(name string) []form {
	name = filepath.ToSlash(name)
	all := []form{{name: name}}
	add := func(name string) {
		all = append(all, form{name: name}, form{filepath.ToSlash(filepath.Clean(name)), true})
	}
	if rest, ok := strings.CutPrefix(name, f.of); ok && !strings.HasPrefix(name, "/") || ok && f.of != "" {
		add(f.own + rest)
	}
	if strings.HasPrefix(name, "/") {
		add(name)
	} else if f.cwd != "" {
		add(f.cwd + name)
	}
	return all
}

// below returns what follows the name of the directory in the name of a file; ok is
// false if the file is not in the directory.
func (d *folder) below(name string) (rest string, ok bool) {
	for _, dir := range d.names {
		if dir == "" && strings.HasPrefix(name, "/") {
			continue
		}
		if rest, ok = strings.CutPrefix(name, dir); ok {
			rest = strings.TrimLeft(rest, "/")
			return rest, rest != ""
		}
	}
	return "", false
}

// isCalled reports whether a name is that of the file that was found.
func isCalled(found fs.FileInfo, name string) bool {
	info, err := os.Stat(name)
	return err == nil && os.SameFile(found, info)
}

// directory returns the directory part of a name, with its slash, as QEMU joins it.
func directory(name string) string { return name[:strings.LastIndexByte(name, '/')+1] }

// withSlash returns the name of a directory with a slash at its end; "" stays.
func withSlash(dir string) string {
	if dir == "" || strings.HasSuffix(dir, "/") {
		return dir
	}
	return dir + "/"
}
