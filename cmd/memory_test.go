package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// A memoryFile is the file of an image in memory.
type memoryFile struct {
	built     *qcow2test.Built
	allocated int64 // bytes; 0: not known
	changed   bool
	// changesAfter, if not 0, is after how many answers that it has not changed it does
	changesAfter, looks int

	elsewhere qcow2.Elsewhere // unknownElsewhere: not known
	device    bool

	opened, closed int // how often
}

func (f *memoryFile) Close() error { f.closed++; return nil }
func (f *memoryFile) OpenElsewhere() (qcow2.Elsewhere, bool) {
	if f.elsewhere == unknownElsewhere {
		return qcow2.ElsewhereNo, false
	}
	return f.elsewhere, true
}
func (f *memoryFile) Info() fs.FileInfo { return nil }
func (f *memoryFile) Changed() (bool, bool) {
	f.looks++
	return f.changed || f.changesAfter > 0 && f.looks > f.changesAfter, true
}
func (f *memoryFile) AllocatedBytes() (int64, bool) { return f.allocated, f.allocated > 0 }
func (f *memoryFile) IsDevice() bool                { return f.device }

// unknownElsewhere stands for what cannot be asked.
const unknownElsewhere qcow2.Elsewhere = 255

// open is a cmd.Opener that knows the name "memory" alone.
func (f *memoryFile) open(name string, opts ...qcow2.Option) (*qcow2.Image, cmd.File, error) {
	if name != "memory" {
		return nil, nil, fs.ErrNotExist
	}
	img, err := qcow2.Open(f.built.Reader(), int64(len(f.built.Bytes)), opts...)
	f.opened++
	return img, f, err
}

// run runs a command, which has to close the image that it opens.
func (f *memoryFile) run(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // no config of the user's
	var out, complaints bytes.Buffer
	code = cmd.Execute(t.Context(), cmd.Process{Args: args, Stdout: &out, Stderr: &complaints, Open: f.open})
	if f.opened != f.closed {
		t.Errorf("%v: opened %d times, closed %d times", args, f.opened, f.closed)
	}
	return out.String(), complaints.String(), code
}

// decode runs a command with -o json and decodes its document.
func (f *memoryFile) decode(t *testing.T, doc any, args ...string) (stderr string, code int) {
	t.Helper()
	stdout, stderr, code := f.run(t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(stdout), doc); err != nil {
		t.Fatalf("%v: %v in %.200q", args, err, stdout)
	}
	return stderr, code
}

// twoClusters has clusters of 4 KiB: header, L1 table, L2 table, two of data, and
// two of refcounts.
func twoClusters() *qcow2test.Built {
	return qcow2test.Image{
		ClusterBits: 12, Size: 1 << 20, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 5: qcow2test.Data},
	}.Build()
}

func TestHeaderInMemory(t *testing.T) {
	type document struct {
		Filename    string
		VirtualSize uint64  `json:"virtual-size"`
		FileSize    uint64  `json:"file-size"`
		ActualSize  *uint64 `json:"actual-size"`
		ClusterSize uint64  `json:"cluster-size"`
	}
	var got document
	f := &memoryFile{built: twoClusters(), allocated: 12345, changed: true}
	stderr, code := f.decode(t, &got, "header", "memory")
	want := document{"memory", 1 << 20, 7 << 12, new(uint64(12345)), 1 << 12}
	if diff := gocmp.Diff(want, got); diff != "" || code != 0 {
		t.Errorf("exit status %d (-want +got):\n%s", code, diff)
	}
	if !strings.HasPrefix(stderr, "qinspect: memory: the file has changed while it was read") {
		t.Errorf("standard error %q", stderr)
	}
	f.allocated, f.changed, got = 0, false, document{}
	stderr, code = f.decode(t, &got, "header", "memory")
	if want.ActualSize = nil; !gocmp.Equal(want, got) || code != 0 || stderr != "" {
		t.Errorf("a size on disk that is not known: exit status %d, %+v, standard error %q", code, got, stderr)
	}
}

func TestGuestInMemory(t *testing.T) {
	type run struct {
		Start, Length, Offset uint64
		Kind                  string
	}
	var got struct{ Guest []run }
	f := &memoryFile{built: twoClusters()}
	stderr, code := f.decode(t, &got, "guest", "memory")
	want := []run{{0, 1 << 12, 3 << 12, "data"}, {5 << 12, 1 << 12, 4 << 12, "data"}}
	if diff := gocmp.Diff(want, got.Guest); diff != "" || code != 0 || stderr != "" {
		t.Errorf("exit status %d, standard error %q (-want +got):\n%s", code, stderr, diff)
	}
}

func TestCheckInMemory(t *testing.T) {
	type problem struct {
		Kind                 string
		Offset               uint64
		Refcount, References uint64
	}
	type document struct {
		Leaks, Corruptions uint64
		Problems           []problem
	}
	for _, tt := range []struct {
		field string
		value uint64
		code  int
		want  document
	}{
		{"refcount[1]", 1, 0, document{0, 0, []problem{}}},
		{"refcount[1]", 2, 3, document{1, 0, []problem{{"leak", 1 << 12, 2, 1}}}},
		{"refcount[1]", 0, 2, document{0, 1, []problem{{"refcount-too-low", 1 << 12, 0, 1}}}},
	} {
		var got document
		f := &memoryFile{built: twoClusters().Set(tt.field, tt.value)}
		stderr, code := f.decode(t, &got, "check", "memory")
		if diff := gocmp.Diff(tt.want, got); diff != "" || code != tt.code || stderr != "" {
			t.Errorf("%s = %d: exit status %d, standard error %q (-want +got):\n%s", tt.field, tt.value, code, stderr, diff)
		}
	}
}

// TestNoVerdict: whatever check finds in a file that changes is no verdict; other
// commands keep their status. What nobody knows is null.
func TestNoVerdict(t *testing.T) {
	type document struct {
		Leaks     *uint64
		Changed   *bool
		Elsewhere *string `json:"open-elsewhere"`
		Errors    []struct{ Message string }
	}
	for _, tt := range []struct {
		command   string
		changed   bool
		elsewhere qcow2.Elsewhere
		code      int
		errors    int
		words     []string
	}{
		{"check", false, qcow2.ElsewhereNo, 3, 0, nil},
		{"check", false, qcow2.ElsewhereReading, 3, 0, nil},
		{"check", false, qcow2.ElsewhereWriting, 3, 0, []string{"open for writing", "leaks can be refcounts that are not written yet"}},
		{"check", true, qcow2.ElsewhereNo, 1, 1, []string{"no verdict: the file changed while it was read"}},
		{"check", true, qcow2.ElsewhereWriting, 1, 1, []string{"no verdict", "open for writing"}},
		{"usage", true, qcow2.ElsewhereWriting, 0, 0, []string{"may not fit together", "open for writing"}},
		{"host", false, unknownElsewhere, 0, 0, nil},
	} {
		var got document
		f := &memoryFile{built: twoClusters().Set("refcount[1]", 2), changed: tt.changed, elsewhere: tt.elsewhere}
		stderr, code := f.decode(t, &got, tt.command, "memory")
		if code != tt.code || got.Changed == nil || *got.Changed != tt.changed || len(got.Errors) != tt.errors {
			t.Errorf("%s: exit status %d, %+v; want %+v", tt.command, code, got, tt)
		}
		if tt.command == "check" && (got.Leaks == nil || *got.Leaks != 1) {
			t.Errorf("%+v: the document is not whole: %+v", tt, got)
		}
		if known := tt.elsewhere != unknownElsewhere; known != (got.Elsewhere != nil) || known && *got.Elsewhere != tt.elsewhere.String() {
			t.Errorf("%+v: open elsewhere %v", tt, got.Elsewhere)
		}
		for _, words := range tt.words {
			if !strings.Contains(stderr, words) {
				t.Errorf("%+v: standard error %q lacks %q", tt, stderr, words)
			}
		}
		if tt.words == nil && stderr != "" {
			t.Errorf("%+v: standard error %q", tt, stderr)
		}
	}
}

// TestUsageInUse: no command is given for an image that another program has open.
func TestUsageInUse(t *testing.T) {
	for state, want := range map[qcow2.Elsewhere]string{
		qcow2.ElsewhereNo:      "qemu-img snapshot -d",
		qcow2.ElsewhereReading: "when no other program has it open",
		qcow2.ElsewhereWriting: "stop the VM first",
	} {
		b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "s"}}}.Build()
		f := &memoryFile{built: b, elsewhere: state}
		stdout, _, code := f.run(t, "usage", "--without", "1", "memory")
		if advised := strings.Contains(stdout, "snapshot -d"); code != 0 || !strings.Contains(stdout, want) || advised != (state == qcow2.ElsewhereNo) {
			t.Errorf("%v: exit status %d, %q is not in\n%s", state, code, want, stdout)
		}
	}
}

// TestUsageOfDamaged: where a table cannot be read, nobody knows what deleting a
// snapshot frees.
func TestUsageOfDamaged(t *testing.T) {
	type document struct {
		SnapshotsOnly *uint64                 `json:"snapshots-only"`
		WhatIf        struct{ Freed *uint64 } `json:"what-if"`
	}
	for _, damaged := range []bool{false, true} {
		b := qcow2test.Image{ClusterBits: 12, Size: 1 << 20, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}}}.Build()
		if damaged {
			b.Set("l1[0]", 1<<40)
		}
		var got document
		f := &memoryFile{built: b}
		_, code := f.decode(t, &got, "usage", "--without", "1", "memory")
		if known := got.WhatIf.Freed != nil; known == damaged || known != (got.SnapshotsOnly != nil) || (code == 2) != damaged {
			t.Errorf("damaged %v: exit status %d, %+v", damaged, code, got)
		}
		stdout, _, _ := f.run(t, "usage", "--without", "1", "memory")
		if advised := strings.Contains(stdout, "snapshot -d"); advised == damaged {
			t.Errorf("damaged %v: a command is given: %v", damaged, advised)
		}
	}
}

// TestOpenFails: an image that cannot be opened is an error, and an empty
// document.
func TestOpenFails(t *testing.T) {
	var got struct {
		Filename string
		Errors   []struct{ Message string }
	}
	f := &memoryFile{}
	stderr, code := f.decode(t, &got, "usage", "disk")
	if code != 1 || got.Filename != "disk" || len(got.Errors) != 1 || got.Errors[0].Message != "file does not exist" || stderr != "qinspect: disk: file does not exist\n" {
		t.Errorf("exit status %d, %+v, standard error %q", code, got, stderr)
	}
}

// TestCompleteSnapshotsInMemory: completion reads the image that the command
// would.
func TestCompleteSnapshotsInMemory(t *testing.T) {
	f := &memoryFile{built: qcow2test.Image{Snapshots: []qcow2test.Snapshot{{ID: "7", Name: "before"}}}.Build()}
	stdout, _, code := f.run(t, "__complete", "guest", "memory", "--snapshot", "")
	const want = "7\tbefore, 1970-01-01T00:00:00Z\nbefore\tid 7, 1970-01-01T00:00:00Z\n"
	if !strings.HasPrefix(stdout, want) || code != 0 || f.opened != 1 {
		t.Errorf("exit status %d, opened %d times, completions %q", code, f.opened, stdout)
	}
}

// memoryLayers are files in memory that images name.
type memoryLayers map[string]*memoryFile

// Open opens a file as another program would that keeps images elsewhere.
func (m memoryLayers) Open(name string) (chain.File, error) {
	if f, ok := m[name]; ok {
		return memoryLayer{f.built.Reader(), f}, nil
	}
	return nil, fs.ErrNotExist
}

func (m memoryLayers) Stat(string) (fs.FileInfo, error) { return nil, fs.ErrNotExist }
func (m memoryLayers) Close() error                     { return nil }

// A memoryLayer is one of them.
type memoryLayer struct {
	*bytes.Reader
	*memoryFile
}

func (memoryLayer) DataRange(uint64) (start, end uint64, err error) {
	return 0, 0, errors.ErrUnsupported
}

// TestLayersInMemory: the layers of an image come from where the process has them.
func TestLayersInMemory(t *testing.T) {
	top := qcow2test.Image{Size: 2 << 16, BackingFile: "base"}.Build()
	f := &memoryFile{built: top, elsewhere: unknownElsewhere}
	base := qcow2test.Image{Size: 2 << 16, Clusters: map[uint64]qcow2test.Kind{1: qcow2test.Data}}.Build()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for name, want := range map[string]int{"base": 0, "other": 2} {
		var out, complaints bytes.Buffer
		code := cmd.Execute(t.Context(), cmd.Process{
			Args: []string{"guest", "--follow", "--allow", "there", "-o", "plain", "memory"}, Stdout: &out, Stderr: &complaints, Open: f.open,
			Layers: func(image string, allowed []string) (cmd.Layers, error) {
				if image != "memory" || len(allowed) != 1 || allowed[0] != "there" {
					t.Errorf("layers of %q, allowed %q", image, allowed)
				}
				return memoryLayers{name: {built: base, elsewhere: unknownElsewhere}}, nil
			},
		})
		if code != want || code == 0 && out.String() != "0x10000-0x1ffff: 0x30000-0x3ffff [1 base]\n" {
			t.Errorf("base as %s: exit status %d, %s%s", name, code, &out, &complaints)
		}
	}
}
