package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A Dependent is an image that names a base.
type Dependent struct {
	Filename string // of the image: the directory that was searched, and the path in it
	Name     string // of the base as the image stores it, arbitrary bytes
	Role     qcow2.FileRole
	Declared string // the format of the base that the image declares, arbitrary bytes; "": none
}

// A Search looks for the images that depend on a base. What it found is in the order
// of the directories and names.
type Search struct {
	Base   fs.FileInfo // of the base
	Name   string      // of the base
	Opener Opener      // finds the files that images name; it opens none
	Image  []qcow2.Option

	Found   []Dependent
	Remarks []Remark // about images that may depend on the base by a name that is not looked up
	Damage  []error  // what could not be read, and may hide dependents

	ctx  context.Context
	root *os.Root
	dir  string // of root, with a slash at its end
}

// Below looks at all files below a directory. Of each the header is read; what an
// image names is looked at, not opened, and is the base if the two are one file.
// Symbolic links to files are followed if they stay below the directory, those to
// directories are not. The error is that of ctx, or why there is no such directory.
func (s *Search) Below(ctx context.Context, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	s.ctx, s.root, s.dir = ctx, root, withSlash(dir)
	return s.walk("")
}

// walk looks at all files below a directory of root, whose name ends with a slash
// unless it is root itself.
func (s *Search) walk(dir string) error {
	entries, err := s.list(dir)
	if err != nil {
		s.hidden(dir, err)
	}
	for _, e := range entries {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		name := dir + e.Name()
		if !e.IsDir() {
			s.look(name)
		} else if err := s.walk(name + "/"); err != nil {
			return err
		}
	}
	return nil
}

// list returns the entries of a directory of root by their names.
func (s *Search) list(dir string) ([]fs.DirEntry, error) {
	f, err := s.root.OpenFile(cmp.Or(dir, "."), os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	err = errors.Join(err, f.Close())
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// hidden records that dependents may be hidden by a file that cannot be read.
func (s *Search) hidden(name string, err error) {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	s.Damage = append(s.Damage, fmt.Errorf("%q: %w", s.dir+name, err))
}

// look looks at a file. One that is no image, or that leads out of the directory,
// names nothing.
func (s *Search) look(name string) {
	f, err := qcow2.OpenHostFile(s.root, name)
	if err != nil {
		if !errors.Is(err, qcow2.ErrNotFile) && !errors.Is(err, fs.ErrNotExist) && !leaves(err) {
			s.hidden(name, err)
		}
		return
	}
	defer f.Close()
	img, err := f.Image(s.Image...)
	if err != nil {
		if !errors.Is(err, qcow2.ErrNotQcow2) && !errors.Is(err, qcow2.ErrTruncated) {
			s.hidden(name, err)
		}
		return
	}
	for ref, err := range img.References() {
		if err == nil && ref.Used {
			s.compare(name, &ref)
		} else if err != nil && !errors.Is(err, qcow2.ErrUnsupported) { // its names can be read all the same
			s.hidden(name, err)
		}
	}
}

// compare looks whether the file that an image names is the base.
func (s *Search) compare(image string, ref *qcow2.FileReference) {
	filename := s.dir + image
	base := path.Base(s.Name)
	if reason := refusal(ref); reason != "" {
		if strings.Contains(ref.Name, base) {
			s.unsure(filename, ref.Name, reason)
		}
		return
	}
	name := qcow2.FullBackingName(filename, ref.Name)
	info, err := s.Opener.Stat(name)
	if refused, ok := errors.AsType[Refused](err); ok && path.Base(name) == base {
		s.unsure(filename, ref.Name, refused.Error())
	}
	if err == nil && sameFile(info, s.Base) {
		s.Found = append(s.Found, Dependent{filename, ref.Name, ref.Role, ref.Format})
	}
}

// unsure records an image that may depend on the base.
func (s *Search) unsure(filename, name, reason string) {
	s.Remarks = append(s.Remarks, Remark{UnsureDependent, 0, fmt.Sprintf("%q names %q, which may be this file and was not looked up: %s", filename, name, reason)})
}
