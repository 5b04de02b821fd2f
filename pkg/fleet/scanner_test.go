package fleet_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A testFile is the file of an image in memory.
type testFile struct {
	changed   func() bool
	elsewhere qcow2.Elsewhere
	closed    *atomic.Int64
}

func (f testFile) Close() error                           { f.closed.Add(1); return nil }
func (testFile) Info() fs.FileInfo                        { return nil }
func (testFile) AllocatedBytes() (int64, bool)            { return 4096, true }
func (f testFile) Changed() (changed, ok bool)            { return f.changed != nil && f.changed(), true }
func (f testFile) OpenElsewhere() (qcow2.Elsewhere, bool) { return f.elsewhere, true }

// opener returns a Scanner's Open for an image in memory.
func opener(b *qcow2test.Built, f testFile) func(string) (*qcow2.Image, fleet.File, error) {
	return func(string) (*qcow2.Image, fleet.File, error) {
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		if err != nil {
			return nil, nil, err
		}
		return img, f, nil
	}
}

func small() qcow2test.Image {
	return qcow2test.Image{ClusterBits: 9, Size: 8 << 9, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}
}

// leaky returns an image that leaks a cluster; broken one that has an error.
func leaky() *qcow2test.Built  { return small().Build().Set("l2[0][0]", 0) }
func broken() *qcow2test.Built { return small().Build().Set("refcount[0]", 0) }

// TestLook has an image for each status.
func TestLook(t *testing.T) {
	cut := small().Build()
	cut.Bytes = cut.Bytes[:50]
	tests := []struct {
		name    string
		image   *qcow2test.Built
		file    testFile
		status  fleet.Status
		message string
	}{
		{"fine", small().Build(), testFile{}, fleet.StatusOK, ""},
		{"fine, and in use", small().Build(), testFile{elsewhere: qcow2.ElsewhereWriting}, fleet.StatusOK, ""},
		{"leaks", leaky(), testFile{}, fleet.StatusLeaks, "1 leaked cluster"},
		{"leaks, and is read", leaky(), testFile{elsewhere: qcow2.ElsewhereReading}, fleet.StatusLeaks, "1 leaked cluster"},
		{"errors", broken(), testFile{}, fleet.StatusErrors, "1 error"},
		{"marked corrupt", small().Build().Set("incompatible_features", 2), testFile{}, fleet.StatusOK, "marked corrupt"},
		{"marked dirty", small().Build().Set("incompatible_features", 1), testFile{}, fleet.StatusOK, "marked dirty"},
		{"marked dirty, and in use", small().Build().Set("incompatible_features", 1), testFile{elsewhere: qcow2.ElsewhereWriting}, fleet.StatusOK, ""},
		{"leaks in use", leaky(), testFile{elsewhere: qcow2.ElsewhereWriting}, fleet.StatusLive, "1 leaked cluster"},
		{"errors in use", broken(), testFile{elsewhere: qcow2.ElsewhereWriting}, fleet.StatusLive, "1 error"},
		{"changed", broken(), testFile{changed: func() bool { return true }}, fleet.StatusChanged, "the file changed while it was read"},
		{"unknown feature", small().Build().Set("incompatible_features", 1<<20), testFile{}, fleet.StatusUnsupported, "header at offset 0x48: the image has incompatible features that are not known: \"bit-20\""},
		{"version 4", small().Build().Set("version", 4), testFile{}, fleet.StatusUnsupported, "header at offset 0x4: version 4 is not supported, only 2 and 3 are"},
		{"another format", small().Build().Set("magic", 0x7f454c46), testFile{}, fleet.StatusNotQcow2, "header at offset 0x0: not a qcow2 image: it begins with 7f454c46, not 514649fb"},
		{"a header that cannot be used", small().Build().Set("cluster_bits", 63), testFile{}, fleet.StatusErrors, "header at offset 0x14: cluster_bits 63 is outside 9 to 21"},
		{"cut in the header", cut, testFile{}, fleet.StatusUnreadable, "header at offset 0x32: the file ends inside the header: it has 50 bytes of at least 72"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.file.closed = new(atomic.Int64)
			s := fleet.Scanner{Open: opener(tt.image, tt.file)}
			row, err := s.Look(t.Context(), fleet.Found{Name: "x"})
			must(t, err)
			if row.Status != tt.status || row.Message() != tt.message {
				t.Errorf("%v, %q, want %v, %q", row.Status, row.Message(), tt.status, tt.message)
			}
			counted := tt.status <= fleet.StatusChanged && tt.name != "a header that cannot be used"
			if (row.Err == nil) != (counted && tt.status != fleet.StatusChanged) || (row.Counts != nil) != counted {
				t.Errorf("error %v, counts %v", row.Err, row.Counts)
			}
			opened := int64(0)
			if row.File != nil {
				opened = 1
			}
			if tt.file.closed.Load() != opened {
				t.Errorf("closed %d times, want %d", tt.file.closed.Load(), opened)
			}
		})
	}
}

// TestLookNames has the facts that TestLookFacts lacks, each with a value of its own.
func TestLookNames(t *testing.T) {
	b := qcow2test.Image{
		Version: 2, ClusterBits: 9, Size: 8 << 9, BackingFile: "base", Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 2: qcow2test.Data},
	}.Build().Set("l2[0][0]", 0).Set("l2[0][1]", 0).Set("refcount[0]", 0).Set("crypt_method", 1)
	row, err := (&fleet.Scanner{Open: opener(b, testFile{elsewhere: qcow2.ElsewhereReading, closed: new(atomic.Int64)})}).Look(t.Context(), fleet.Found{Name: "x"})
	must(t, err)
	want := &fleet.ImageFacts{Version: 2, Compat: "0.10", VirtualSize: 8 << 9, Encrypted: true, HasFeatures: true, Backing: "base", HasBacking: true, HasBitmaps: true}
	if diff := cmp.Diff(want, row.Image); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := row.Counts; c.Corruptions != 1 || c.Leaks != 2 || c.LeakedBytes != 2<<9 || c.CheckErrors != 0 || row.File.Elsewhere != qcow2.ElsewhereReading || row.Message() != "1 error, 2 leaked clusters" {
		t.Errorf("%+v, %+v, %q", c, row.File, row.Message())
	}
}

// TestLookFacts has the facts of a healthy row.
func TestLookFacts(t *testing.T) {
	b := qcow2test.Image{
		ClusterBits: 9, Size: 80 << 9, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data},
		Snapshots: []qcow2test.Snapshot{{ID: "1", DiskSize: 80 << 9, Clusters: map[uint64]qcow2test.Kind{1: qcow2test.Data, 2: qcow2test.Data}}},
		Bitmaps:   []qcow2test.Bitmap{{Name: "b", GranularityBits: 9}},
	}.Build()
	s := fleet.Scanner{Open: opener(b, testFile{closed: new(atomic.Int64)})}
	row, err := s.Look(t.Context(), fleet.Found{Name: "x"})
	must(t, err)
	img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
	must(t, err)
	check, err := img.Check(t.Context(), qcow2.CheckOptions{})
	must(t, err)
	usage, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	must(t, err)
	want := &fleet.Row{
		Name:  "x",
		File:  &fleet.FileFacts{Size: uint64(len(b.Bytes)), Allocated: 4096, HasAllocated: true, HasChanged: true, HasElsewhere: true},
		Image: &fleet.ImageFacts{Version: 3, Compat: "1.1", VirtualSize: 80 << 9, Snapshots: 1, HasFeatures: true, Bitmaps: 1, HasBitmaps: true},
		Counts: &fleet.Counts{
			ImageEndOffset: check.ImageEndOffset, FreeBytes: usage.Free.Bytes, SnapshotsOnly: usage.SnapshotsOnly, HasSnapshotsOnly: true,
		},
	}
	if usage.SnapshotsOnly < 2<<9 {
		t.Fatalf("the snapshot holds %d bytes", usage.SnapshotsOnly)
	}
	if diff := cmp.Diff(want, row); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestLookUntrusted: where tables are damaged it is unknown what snapshots hold.
func TestLookUntrusted(t *testing.T) {
	b := small().Build().Set("l1[0]", 1<<63|1<<40)
	row, err := (&fleet.Scanner{Open: opener(b, testFile{closed: new(atomic.Int64)})}).Look(t.Context(), fleet.Found{Name: "x"})
	must(t, err)
	if row.Status != fleet.StatusErrors || row.Counts.HasSnapshotsOnly {
		t.Errorf("%v, %+v", row.Status, row.Counts)
	}
}

// TestLookFound: what was only found in a directory need not be an image, nor be
// there any more.
func TestLookFound(t *testing.T) {
	dir := tree(t, "text")
	missing, text, image := filepath.Join(dir, "missing"), filepath.Join(dir, "text"), filepath.Join(dir, "image")
	must(t, os.WriteFile(image, small().Build().Bytes, 0o600))
	tests := []struct {
		found fleet.Found
		want  error
		row   fleet.Status
	}{
		{fleet.Found{Name: text, Any: true, Walked: true}, fleet.ErrNoImage, 0},
		{fleet.Found{Name: text, Walked: true}, nil, fleet.StatusNotQcow2},
		{fleet.Found{Name: text}, nil, fleet.StatusNotQcow2},
		{fleet.Found{Name: text, Again: true}, nil, fleet.StatusNotQcow2},
		{fleet.Found{Name: image, Again: true}, fleet.ErrAgain, 0},
		{fleet.Found{Name: missing, Again: true}, fleet.ErrAgain, 0},
		{fleet.Found{Name: missing, Any: true, Walked: true}, fleet.ErrVanished, 0},
		{fleet.Found{Name: missing, Walked: true}, fleet.ErrVanished, 0},
		{fleet.Found{Name: dir, Any: true, Walked: true}, fleet.ErrVanished, 0}, // it has taken the place of a file
		{fleet.Found{Name: filepath.Join(text, "x"), Walked: true}, fleet.ErrVanished, 0},
		{fleet.Found{Name: missing}, nil, fleet.StatusUnreadable},
		{fleet.Found{Name: dir}, nil, fleet.StatusUnreadable},
		{fleet.Found{Name: "y", Err: fs.ErrPermission}, nil, fleet.StatusUnreadable},
		{fleet.Found{Name: "y", Err: fleet.ErrTimeout}, nil, fleet.StatusTimedOut},
	}
	for _, tt := range tests {
		row, err := new(fleet.Scanner).Look(t.Context(), tt.found)
		if !errors.Is(err, tt.want) || err == nil && (row.Status != tt.row || row.Name != tt.found.Name || row.Message() == "") {
			t.Errorf("%+v: %+v, %v, want %v, %v", tt.found, row, err, tt.row, tt.want)
		}
	}
}

// TestLookGrows: a file that grows while it is read has no verdict.
func TestLookGrows(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.qcow2")
	must(t, os.WriteFile(name, small().Build().Bytes, 0o600))
	s := fleet.Scanner{Open: func(name string) (*qcow2.Image, fleet.File, error) {
		f, err := qcow2.OpenFile(name)
		if err != nil {
			return nil, nil, err
		}
		w, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return nil, nil, err
		}
		defer w.Close()
		_, err = w.Write(make([]byte, 512))
		return f.Image, f, err
	}}
	row, err := s.Look(t.Context(), fleet.Found{Name: name})
	must(t, err)
	if row.Status != fleet.StatusChanged || row.Err == nil {
		t.Errorf("%v, %v, want %v", row.Status, row.Err, fleet.StatusChanged)
	}
}

// TestLookReplaced: a symbolic link that takes the place of a file that was found, or
// of a directory above it, leads nowhere; a file that was given may be one.
func TestLookReplaced(t *testing.T) {
	dir, outside := tree(t, "d/"), filepath.Join(t.TempDir(), "x.qcow2")
	must(t, os.WriteFile(outside, small().Build().Bytes, 0o600))
	must(t, os.Symlink(outside, filepath.Join(dir, "file")))
	must(t, os.Symlink(filepath.Dir(outside), filepath.Join(dir, "d", "link")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	must(t, os.WriteFile(filepath.Join(dir, "d", "real"), small().Build().Bytes, 0o600))
	for _, tt := range []struct {
		key    string
		walked bool
		want   error
	}{
		{"file", true, fleet.ErrVanished},
		{"d/link/x.qcow2", true, fleet.ErrVanished},
		{"loop", true, fleet.ErrVanished},
		{"d/real", true, nil},
		{"file", false, nil},
	} {
		row, err := new(fleet.Scanner).Look(t.Context(), fleet.Found{Name: filepath.Join(dir, tt.key), Key: tt.key, Walked: tt.walked})
		if !errors.Is(err, tt.want) || err == nil && row.Status != fleet.StatusOK {
			t.Errorf("%s: %+v, %v, want %v", tt.key, row, err, tt.want)
		}
	}
}

// hang returns an Open that waits until the test is over, or a channel is closed.
func hang(until <-chan struct{}) func(string) (*qcow2.Image, fleet.File, error) {
	return func(string) (*qcow2.Image, fleet.File, error) {
		<-until
		return nil, nil, fs.ErrNotExist
	}
}

// TestLookTimesOut: what hangs is abandoned when its time is over, and when too much
// hangs nothing more is begun, until some of it has ended.
func TestLookTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		s := fleet.Scanner{Open: hang(until), Timeout: time.Second}
		began := time.Now()
		for i := range 257 {
			row, err := s.Look(t.Context(), fleet.Found{Name: "x"})
			must(t, err)
			want := "timed out after 1s"
			if i == 256 {
				want = "timed out: not looked at, as 256 others hang"
			}
			if row.Status != fleet.StatusTimedOut || row.Message() != want {
				t.Fatalf("%d: %v, %q, want %q", i, row.Status, row.Message(), want)
			}
		}
		if took := time.Since(began); took != 256*1100*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		close(until)
		synctest.Wait()
		row, err := s.Look(t.Context(), fleet.Found{Name: "x"})
		must(t, err)
		if row.Status != fleet.StatusUnreadable {
			t.Errorf("%v after the others have ended, want %v", row.Status, fleet.StatusUnreadable)
		}
	})
}

// TestLookInterrupted: a read that hangs does not hold up the end.
func TestLookInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := make(chan struct{})
		defer close(until)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		row, err := (&fleet.Scanner{Open: hang(until)}).Look(ctx, fleet.Found{Name: "x"})
		if row != nil || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", row, err)
		}
	})
}

// TestTotals: rows add up, and sums of what damaged images claim end at the largest
// number.
func TestTotals(t *testing.T) {
	var totals fleet.Totals
	for _, r := range []fleet.Row{
		{Status: fleet.StatusOK, File: &fleet.FileFacts{Size: 10, Allocated: 4, HasAllocated: true}, Image: &fleet.ImageFacts{VirtualSize: 1 << 63},
			Counts: &fleet.Counts{FreeBytes: 1, LeakedBytes: 2, SnapshotsOnly: 3, HasSnapshotsOnly: true}},
		{Status: fleet.StatusErrors, File: &fleet.FileFacts{Size: 5}, Image: &fleet.ImageFacts{VirtualSize: 1 << 63}, Counts: &fleet.Counts{FreeBytes: 7, SnapshotsOnly: 9}},
		{Status: fleet.StatusUnreadable},
		{Status: fleet.StatusUnreadable},
	} {
		totals.Add(&r)
	}
	want := fleet.Totals{Images: 4, VirtualSize: math.MaxUint64, FileSize: 15, ActualSize: 4, SnapshotsOnly: 3, FreeBytes: 8, LeakedBytes: 2}
	want.ByStatus[fleet.StatusOK], want.ByStatus[fleet.StatusErrors], want.ByStatus[fleet.StatusUnreadable] = 1, 1, 2
	if diff := cmp.Diff(want, totals); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatusNames(t *testing.T) {
	if got := fleet.StatusTimedOut.String(); got != "timed-out" || len(fleet.StatusNames()) != int(fleet.StatusTimedOut)+1 {
		t.Errorf("%q of %d names", got, len(fleet.StatusNames()))
	}
	if got := fleet.Status(99).String(); got != "unknown" {
		t.Errorf("%q", got)
	}
}
