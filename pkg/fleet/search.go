package fleet

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A Search finds images by names: of images, of block devices, and of directories,
// which it walks. It follows a symbolic link only if that is one of the names; a
// [Scanner] sees to it that none has taken the place of what was found.
type Search struct {
	// Match are globs, as of [filepath.Match]. A file in a directory is found if its
	// base name is matched by one of them; if there are none, whatever its name. A
	// malformed one matches nothing: see [CheckMatch].
	Match []string
	// Shard is the part of what there is that is wanted.
	Shard Shard
	// Timeout is how long looking at a name, or listing a directory, may take; 0: as
	// long as it does.
	Timeout time.Duration
}

// A Found is a file that a [Search] has found, or a name that it could not look at.
type Found struct {
	// Name is the name to open: one that was given, with what lies below it.
	Name string
	// Key is what decides to which [Shard] it belongs: the path below the directory
	// that was given, with slashes, or the base name of a file that was given.
	Key string
	// Any reports whether it was found for no other reason than that it lies in a
	// directory: it may well be no image.
	Any bool
	// Again reports whether it was found as Any before, and is named now: it is news only
	// if it is no image.
	Again bool
	// Walked reports whether it was found in a directory. If it is not there any more,
	// nothing is wrong.
	Walked bool
	// Err, if not nil, is why there is nothing to open: the name stands for nothing,
	// or for something that holds no image, or the directory cannot be listed. It is
	// [ErrTimeout] if that took too long.
	Err error
}

// ErrTimeout is the error for what took longer than it may, or was not begun because
// 256 calls before it hang.
var ErrTimeout = errors.New("timed out")

// CheckMatch returns [filepath.ErrBadPattern] if a glob is malformed.
func CheckMatch(glob string) error {
	_, err := filepath.Match(glob, "")
	return err
}

// Find yields what is found by the names, in their order, and below a directory in
// that of the names there. Each file is yielded once, by the first of its names,
// whatever shard that belongs to; Again if it is named after its directory was.
// Directories are read as the caller goes on.
func (s *Search) Find(ctx context.Context, names iter.Seq[string]) iter.Seq[Found] {
	return func(yield func(Found) bool) {
		w := &walk{Search: s, ctx: ctx, seen: newSeen(), yield: yield}
		for name := range names {
			if !w.name(name) {
				return
			}
		}
	}
}

// A walk is one run of a Search.
type walk struct {
	*Search
	ctx      context.Context
	seen     *seen
	patience patience
	yield    func(Found) bool
}

// find yields a file, if the shard has it and no other name of it came before.
func (w *walk) find(f Found, info fs.FileInfo) bool {
	if !w.seen.isNew(&f, info) || !w.Shard.Has(f.Key) {
		return w.ctx.Err() == nil
	}
	return w.ctx.Err() == nil && w.yield(f)
}

// name takes a name that was given.
func (w *walk) name(name string) bool {
	info, err := asked(w, func() (fs.FileInfo, error) { return os.Stat(name) })
	f := Found{Name: name, Key: filepath.Base(name), Err: err}
	switch {
	case err != nil:
	case info.IsDir():
		return w.directory(Found{Name: name, Key: "."}, info)
	default:
		f.Err = qcow2.CheckMode(info.Mode())
	}
	return w.find(f, info)
}

// directory takes what lies in a directory. Its Key is the path below the one that
// was given.
func (w *walk) directory(dir Found, info fs.FileInfo) bool {
	if !w.seen.isNew(&dir, info) {
		return true
	}
	entries, err := asked(w, func() ([]fs.DirEntry, error) { return os.ReadDir(dir.Name) })
	if err != nil && (!dir.Walked || !errors.Is(err, fs.ErrNotExist)) {
		dir.Err = fmt.Errorf("the directory cannot be listed: %w", unnamed(err))
		if w.Shard.Has(dir.Key) && !w.yield(dir) {
			return false
		}
	}
	above := dir.Name
	if !os.IsPathSeparator(above[len(above)-1]) {
		above += string(filepath.Separator)
	}
	for _, e := range entries {
		f := Found{Name: above + e.Name(), Key: e.Name(), Walked: true}
		if dir.Key != "." {
			f.Key = dir.Key + "/" + e.Name()
		}
		if !w.entry(f, e) {
			return false
		}
	}
	return w.ctx.Err() == nil
}

// entry takes what lies in a directory.
func (w *walk) entry(f Found, e fs.DirEntry) bool {
	f.Any = !e.IsDir() && len(w.Match) == 0
	if !e.IsDir() && (!e.Type().IsRegular() || !f.Any && !w.matches(e.Name())) {
		return true
	}
	info, err := asked(w, e.Info)
	switch {
	case errors.Is(err, fs.ErrNotExist): // gone since its directory was listed
		return true
	case err != nil:
		f.Err = unnamed(err)
	case info.Mode().Type() != e.Type(): // something else has its name by now
		return true
	case info.IsDir():
		return w.directory(f, info)
	}
	return w.find(f, info)
}

// matches reports whether one of the globs matches the base name of a file.
func (w *walk) matches(name string) bool {
	return slices.ContainsFunc(w.Match, func(glob string) bool { ok, err := filepath.Match(glob, name); return ok && err == nil })
}

// asked asks the system something, and does not wait longer than the walk may.
func asked[T any](w *walk, ask func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	a, err := within(w.ctx, &w.patience, w.Timeout, func(context.Context) answer { v, err := ask(); return answer{v, err} })
	if err != nil {
		return a.value, err
	}
	return a.value, a.err
}

// unnamed returns an error of the system without the name of the file, which the
// caller knows.
func unnamed(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
