package qcow2_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A faultReader fails to read a sector of 512 bytes, in one of the ways that
// io.ReaderAt allows, and records the sectors that are read.
type faultReader struct {
	io.ReaderAt
	sector int64 // −1: none
	shape  string
	seen   map[int64]bool
}

// shapes are the ways in which a read can fail.
func shapes() []string {
	return []string{"nothing, error", "bytes before, error", "bytes before, EOF", "all, error"}
}

func (r faultReader) ReadAt(p []byte, off int64) (int, error) {
	for s := off / 512; s*512 < off+int64(len(p)); s++ {
		r.seen[s] = true
	}
	n, err := r.ReaderAt.ReadAt(p, off)
	at := r.sector * 512
	if r.sector < 0 || at+512 <= off || off+int64(len(p)) <= at {
		return n, err
	}
	before := int(max(at, off) - off)
	switch r.shape {
	case "nothing, error":
		clear(p)
		return 0, errBroken
	case "bytes before, error":
		clear(p[before:])
		return before, errBroken
	case "bytes before, EOF":
		clear(p[before:])
		return before, io.EOF
	}
	return n, errBroken
}

// An answer is what the package says of a part of an image, and whether it says
// that something is missing.
type answer struct {
	text    string
	missing bool
}

// answers returns what the package says of each part of an image, nil if it cannot
// be opened.
func answers(t *testing.T, r io.ReaderAt, size int64, opts ...qcow2.Option) map[string]answer {
	img, err := qcow2.Open(r, size, opts...)
	if err != nil {
		return nil
	}
	all := map[string]answer{}
	say := func(part string, v any, bad bool) {
		a := all[part]
		a.text += fmt.Sprintf("%+v\n", v)
		a.missing = a.missing || bad
		all[part] = a
	}
	for x, err := range img.Extensions() {
		say("extensions", x, err != nil)
	}
	for s, err := range img.Snapshots() {
		say("snapshots", s, err != nil || len(s.Damage) > 0)
	}
	for x, err := range img.Bitmaps() {
		say("bitmaps", x, err != nil)
	}
	for m, err := range img.Guest(t.Context(), qcow2.GuestOptions{Mapped: true}) {
		say("guest", m, err != nil)
	}
	for h, err := range img.Host(t.Context(), qcow2.HostOptions{}) {
		say("host", h, err != nil)
	}
	for h, err := range img.Host(t.Context(), qcow2.HostOptions{Owners: true}) {
		say("owners", h, err != nil)
	}
	result, err := img.Check(t.Context(), qcow2.CheckOptions{})
	say("check", result, err != nil || result.CheckErrors > 0 || result.Corruptions > 0)
	damaged := false
	u, err := img.Usage(t.Context(), qcow2.UsageOptions{Damage: func(error) { damaged = true }})
	say("usage", u, err != nil || damaged)
	return all
}

// TestFaults: no sector that cannot be read, and no way in which reading it fails,
// changes an answer without a word.
func TestFaults(t *testing.T) {
	for name, image := range map[string]qcow2test.Image{
		"clusters of 16 KiB": {
			ClusterBits: 14, Size: 1 << 26, Clusters: kinds{0: data, 600: zero, 1500: data, 2047: zeroAllocated},
			Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "one"}, {ID: "2", Name: "two"}}, Bitmaps: []qcow2test.Bitmap{{Name: "b"}},
		},
		"extended L2 entries": {ClusterBits: 14, Size: 1 << 24, IncompatibleFeatures: 1 << 4, Clusters: kinds{3: data, 700: data}},
		"clusters of 512":     {ClusterBits: 9, Size: 1 << 18, Clusters: kinds{3: data, 70: zero}, Snapshots: []qcow2test.Snapshot{{ID: "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := image.Build()
			size := int64(len(b.Bytes))
			seen := map[int64]bool{}
			healthy := answers(t, faultReader{b.Reader(), -1, "", seen}, size, qcow2.WithoutReadAhead())
			for part, a := range healthy {
				if a.missing {
					t.Fatalf("%s: the healthy image has something missing", part)
				}
			}
			for sector := range seen {
				for _, shape := range shapes() {
					got := answers(t, faultReader{b.Reader(), sector, shape, map[int64]bool{}}, size, qcow2.WithoutReadAhead())
					for part, want := range healthy {
						if a := got[part]; got != nil && !a.missing && a.text != want.text {
							t.Errorf("sector %d, %s: %s changed without a word (-want +got):\n%s", sector, shape, part, cmp.Diff(strings.Split(want.text, "\n"), strings.Split(a.text, "\n")))
						}
					}
				}
			}
		})
	}
}

// TestUnreadablePieces: a bad sector hides 4 KiB of an L2 table or of a refcount
// block, says where these begin, and the rest is shown.
func TestUnreadablePieces(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 16, Size: 512 << 20, Clusters: kinds{0: data, 511: data, 512: data, 1023: data, 1024: data, 8191: data}}.Build()
	clusters := uint64(len(b.Bytes)) >> 16
	table := b.Get("l1[0]") & (1<<56 - 1)
	var got, guest []string
	img := openBroken(t, b, table+4096+100)
	for m, err := range img.Guest(t.Context(), qcow2.GuestOptions{Mapped: true}) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		guest = append(guest, fmt.Sprintf("%d+%d", m.Start>>16, m.Length>>16))
	}
	want := fmt.Sprintf("L2 table at offset %#x: reading 4096 bytes: bad sector", table+4096)
	if !slices.Equal(got, []string{want}) || !slices.Equal(guest, []string{"0+1", "511+1", "1024+1", "8191+1"}) {
		t.Errorf("guest: %v, %q; want all clusters but 512 to 1023, and %q", guest, got, want)
	}
	if _, result := check(t, img); result.CheckErrors != 1 || result.Leaks != 2 {
		t.Errorf("%+v, want 1 check error, and the two clusters that the piece maps as leaks", result)
	}

	block := b.Get("refcount_table[0]")
	grown := *b
	grown.Bytes = append(slices.Clone(b.Bytes), make([]byte, (4096-clusters)<<16)...) // more than one piece of refcounts
	for bad, unknown := range map[uint64]string{block: "0+2048", block + 4096: "2048+2048"} {
		img := openBroken(t, &grown, bad)
		var errs []error
		first, n := uint64(0), uint64(0)
		for r, err := range img.Host(t.Context(), qcow2.HostOptions{PerCluster: true}) {
			switch {
			case err != nil:
				errs = append(errs, err)
			case !r.HasRefcount:
				if n++; n == 1 {
					first = r.Offset >> 16
				}
			}
		}
		if got := fmt.Sprintf("%d+%d", first, n); got != unknown || len(errs) != 1 || !errors.Is(errs[0], errBroken) || asError(t, errs[0]).Offset != bad {
			t.Errorf("bad sector at %#x: the refcounts of %s are unknown, %v; want those of %s, and one error there", bad, got, errs, unknown)
		}
	}
}
