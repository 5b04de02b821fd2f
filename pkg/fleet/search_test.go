package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/fleet"
)

// tree makes files in a new directory; those whose name ends with a slash are
// directories.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if name[len(name)-1] == '/' {
			must(t, os.MkdirAll(path, 0o700))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, []byte(name), 0o600))
	}
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// find returns what a search finds, each as its name below the directory, its key if
// that differs, and its error.
func find(t *testing.T, s *fleet.Search, dir string, names ...string) []string {
	t.Helper()
	for i, name := range names {
		if name != "" && !filepath.IsAbs(name) {
			names[i] = dir + string(filepath.Separator) + name
		}
	}
	var all []string
	for f := range s.Find(t.Context(), slices.Values(names)) {
		rel, err := filepath.Rel(dir, f.Name)
		must(t, err)
		word := filepath.ToSlash(rel)
		if f.Key != word {
			word += " [" + f.Key + "]"
		}
		if f.Again {
			word += " again"
		}
		if f.Err != nil {
			word += ": " + f.Err.Error()
		}
		all = append(all, word)
	}
	return all
}

func TestFind(t *testing.T) {
	dir := tree(t, "b/2.img", "b/1.img", "b.img", "a/deep/er/x.qcow2", "a/notes.txt", "empty/", "z")
	must(t, os.Link(filepath.Join(dir, "b/1.img"), filepath.Join(dir, "c-hard-link")))
	must(t, os.Symlink("b", filepath.Join(dir, "link-to-b")))
	must(t, os.Symlink(".", filepath.Join(dir, "b", "loop")))
	must(t, os.Symlink("b.img", filepath.Join(dir, "link-to-file")))
	tests := []struct {
		name  string
		s     fleet.Search
		paths []string
		want  []string
	}{
		{"all, by name, a hard link once, no symbolic link", fleet.Search{}, []string{"."},
			[]string{"a/deep/er/x.qcow2", "a/notes.txt", "b/1.img", "b/2.img", "b.img", "z"}},
		{"globs on the base name", fleet.Search{Match: []string{"*.img", "x*"}}, []string{"."},
			[]string{"a/deep/er/x.qcow2", "b/1.img", "b/2.img", "b.img"}},
		{"keys are paths below what was given", fleet.Search{}, []string{"a", "b"},
			[]string{"a/deep/er/x.qcow2 [deep/er/x.qcow2]", "a/notes.txt [notes.txt]", "b/1.img [1.img]", "b/2.img [2.img]"}},
		{"a file that was given, in the order given, whatever its name", fleet.Search{Match: []string{"*.img"}}, []string{"z", "a/notes.txt"},
			[]string{"z", "a/notes.txt [notes.txt]"}},
		{"each once, by its first name", fleet.Search{}, []string{"c-hard-link", "b/2.img", "b", "b/1.img", "."},
			[]string{"c-hard-link", "b/2.img [2.img]", "a/deep/er/x.qcow2", "a/notes.txt", "b.img", "z"}},
		{"again what was named after its directory, once", fleet.Search{}, []string{"b", "link-to-file", "b.img", "c-hard-link", "b/1.img", "b"},
			[]string{"b/1.img [1.img]", "b/2.img [2.img]", "link-to-file", "c-hard-link again"}},
		{"but not what was found by a glob", fleet.Search{Match: []string{"1*"}}, []string{"b", "b/1.img", "b/2.img"},
			[]string{"b/1.img [1.img]", "b/2.img [2.img]"}},
		{"a symbolic link that was given", fleet.Search{}, []string{"link-to-b", "link-to-file", "b"},
			[]string{"link-to-b/1.img [1.img]", "link-to-b/2.img [2.img]", "link-to-file"}},
		{"what is not there, once", fleet.Search{}, []string{"missing", "empty", "missing"},
			[]string{"missing: stat " + filepath.Join(dir, "missing") + ": no such file or directory"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, find(t, &tt.s, dir, tt.paths...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestFindDirectoryOnce: a directory that is named after one above it is not listed again:
// if it cannot be listed, it has one row.
func TestFindDirectoryOnce(t *testing.T) {
	for _, match := range [][]string{nil, {"*.img"}} {
		dir := tree(t, "b/1.img")
		names := func(yield func(string) bool) {
			if !yield(dir) {
				return
			}
			must(t, os.WriteFile(filepath.Join(dir, "b", "2.img"), nil, 0o600)) // a second listing has it
			yield(filepath.Join(dir, "b"))
		}
		var got []string
		for f := range (&fleet.Search{Match: match}).Find(t.Context(), names) {
			got = append(got, f.Key)
		}
		if diff := cmp.Diff([]string{"b/1.img"}, got); diff != "" {
			t.Errorf("globs %q (-want +got):\n%s", match, diff)
		}
	}
}

// TestFindNames: names begin with the one that was given, so that a file whose name
// begins with a dash cannot be taken for a flag.
func TestFindNames(t *testing.T) {
	t.Chdir(tree(t, "-rf.qcow2", "d/x"))
	for given, want := range map[string][]string{
		".":     {"./-rf.qcow2", "./d/x"},
		"d":     {"d/x"},
		"d/":    {"d/x"},
		"./d//": {"./d//x"},
	} {
		var got []string
		for f := range new(fleet.Search).Find(t.Context(), slices.Values([]string{given})) {
			got = append(got, filepath.ToSlash(f.Name))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", given, diff)
		}
	}
}

// TestFindUnreadable: what the system does not let be looked at is found with the
// reason, in one part. Here it lies so deep that its path is too long.
func TestFindUnreadable(t *testing.T) {
	dir := tree(t, "a/x")
	t.Chdir(dir)
	for range 25 {
		name := strings.Repeat("d", 200)
		must(t, os.Mkdir(name, 0o700))
		t.Chdir(name)
	}
	t.Chdir(dir)
	var times [4]int
	for k := range uint64(4) {
		shard := fleet.Shard{K: k + 1, N: 3}
		if k == 3 {
			shard = fleet.Shard{}
		}
		for f := range (&fleet.Search{Shard: shard}).Find(t.Context(), slices.Values([]string{dir})) {
			if f.Err == nil {
				continue
			}
			if !errors.Is(f.Err, syscall.ENAMETOOLONG) || !f.Walked {
				t.Errorf("%+v", f)
			}
			times[k]++
		}
	}
	if times[0]+times[1]+times[2] != 1 || times[3] != 1 {
		t.Errorf("found %d times in the parts, want once, and once in the whole", times)
	}
}

// TestFindReplaced: a directory that has become something else when its turn comes is
// left out, above all one that has become a symbolic link.
func TestFindReplaced(t *testing.T) {
	for _, replace := range []func(name string) error{
		func(name string) error { return os.WriteFile(name, nil, 0o600) },
		func(name string) error { return os.Symlink("/", name) },
	} {
		dir := tree(t, "a", "b/y")
		var got []string
		for f := range new(fleet.Search).Find(t.Context(), slices.Values([]string{dir})) {
			if got = append(got, f.Key); f.Key == "a" {
				must(t, os.RemoveAll(filepath.Join(dir, "b")))
				must(t, replace(filepath.Join(dir, "b")))
			}
		}
		if !slices.Equal(got, []string{"a"}) {
			t.Errorf("%q, want a alone", got)
		}
	}
}

// TestFindNamesAgain: a name that stood for nothing, and later for a file, is one row.
func TestFindNamesAgain(t *testing.T) {
	dir := tree(t)
	name := filepath.Join(dir, "x")
	n := 0
	for range new(fleet.Search).Find(t.Context(), slices.Values([]string{name, name, dir})) {
		n++
		must(t, os.WriteFile(name, nil, 0o600))
	}
	if n != 1 {
		t.Errorf("%d found, want 1", n)
	}
}

// TestFindVanished: a directory that is gone when its turn comes is left out.
func TestFindVanished(t *testing.T) {
	dir := tree(t, "a/x", "b/y", "c/z")
	var got []string
	for f := range new(fleet.Search).Find(t.Context(), slices.Values([]string{dir})) {
		got = append(got, f.Key)
		must(t, os.RemoveAll(filepath.Join(dir, "b")))
	}
	if want := []string{"a/x", "c/z"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFindEnds(t *testing.T) {
	dir := tree(t, "a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for range new(fleet.Search).Find(ctx, slices.Values([]string{dir, dir + "/a"})) {
		n++
		cancel()
	}
	if n != 1 {
		t.Errorf("%d are found, want 1 and no more when the context is done", n)
	}
}

// TestShard: the hash is the published one, the parts are the whole, and an image
// stays in its part whatever else is there.
func TestShard(t *testing.T) {
	for key, hash := range map[string]uint64{"": 0xcbf29ce484222325, "a": 0xaf63dc4c8601ec8c, "foobar": 0x85944171f73967e8} { // of the authors' test vectors
		for _, n := range []uint64{1, 3, 4, 1000} {
			for k := range n {
				if got, want := (fleet.Shard{K: k + 1, N: n}).Has(key), (hash^hash>>32)%n == k; got != want {
					t.Errorf("%d/%d has %q: %v, want %v", k+1, n, key, got, want)
				}
			}
		}
	}
	if !(fleet.Shard{}).Has("x") {
		t.Error("the whole lacks x")
	}
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("d%d/disk-%d", i%7, i))
	}
	dir := tree(t, names...)
	parts := func() map[string]uint64 {
		part := map[string]uint64{}
		for k := range uint64(4) {
			for f := range (&fleet.Search{Shard: fleet.Shard{K: k + 1, N: 4}}).Find(t.Context(), slices.Values([]string{dir})) {
				if part[f.Key] != 0 {
					t.Errorf("%s is in two parts", f.Key)
				}
				part[f.Key] = k + 1
			}
		}
		return part
	}
	before := parts()
	if got := slices.Sorted(maps.Keys(before)); !slices.Equal(got, slices.Sorted(slices.Values(names))) {
		t.Errorf("the parts are not the whole (-want +got):\n%s", cmp.Diff(names, got))
	}
	for i := range 50 {
		must(t, os.WriteFile(filepath.Join(dir, "d1", fmt.Sprint("new-", i)), nil, 0o600))
	}
	after := parts()
	for key, part := range before {
		if after[key] != part {
			t.Errorf("%s has moved from part %d to %d", key, part, after[key])
		}
	}
}

// TestShardSizes: parts have about the same number of images, also where names have
// a number twice, as those of virtual machines often do.
func TestShardSizes(t *testing.T) {
	const images = 1000
	for _, pattern := range []string{"%d.qcow2", "%[1]d/vm-%[1]d-disk-0.qcow2", "vm-%[1]d/vm-%[1]d.qcow2"} {
		for _, n := range []uint64{2, 3, 4, 8, 16} {
			for k := range n {
				size := uint64(0)
				for i := range images {
					if (fleet.Shard{K: k + 1, N: n}).Has(fmt.Sprintf(pattern, i)) {
						size++
					}
				}
				if fair := images / n; size < fair*2/3 || size > fair*3/2 {
					t.Errorf("%d/%d has %d images of %q, want about %d", k+1, n, size, pattern, fair)
				}
			}
		}
	}
}

func TestParseShard(t *testing.T) {
	for text, want := range map[string]fleet.Shard{"1/1": {K: 1, N: 1}, "2/4": {K: 2, N: 4}, "0/4": {}, "5/4": {}, "1/0": {}, "1": {}, "/": {}, "a/b": {}, "1/4/": {}, "-1/4": {}} {
		got, err := fleet.ParseShard(text)
		if got != want || (err == nil) != (want.N > 0) || err == nil && got.String() != text {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestCheckMatch(t *testing.T) {
	if err := fleet.CheckMatch("*.qcow2"); err != nil {
		t.Error(err)
	}
	if err := fleet.CheckMatch("[a"); !errors.Is(err, filepath.ErrBadPattern) {
		t.Errorf("%v, want %v", err, filepath.ErrBadPattern)
	}
}

// TestFindNoFile: what holds no image has an error, and is never opened.
func TestFindNoFile(t *testing.T) {
	for f := range new(fleet.Search).Find(t.Context(), slices.Values([]string{os.DevNull})) {
		if f.Err == nil || f.Err.Error() != "a character device, not a file or block device" {
			t.Errorf("%+v", f)
		}
		if _, ok := errors.AsType[*fs.PathError](f.Err); ok {
			t.Errorf("%v names the file", f.Err)
		}
	}
}
