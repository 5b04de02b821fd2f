package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/qinspect/qinspect/cmd"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// imageFile writes a built image to a file.
func imageFile(t *testing.T, b *qcow2test.Built) string {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir()) // no config of the user's
	name := filepath.Join(t.TempDir(), "image.qcow2")
	if err := os.WriteFile(name, b.Bytes, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// document is what every JSON document has.
type document struct {
	Schema string
	Guest  []json.RawMessage
	Errors []struct {
		Section *string
		Message string
	}
}

// A cancelWriter cancels at the first write, as Ctrl-C would.
type cancelWriter struct {
	bytes.Buffer
	cancel context.CancelFunc
}

func (w *cancelWriter) Write(p []byte) (int, error) {
	w.cancel()
	return w.Buffer.Write(p)
}

// TestInterrupt holds that an interrupted run ends soon, with status 130, and
// with a document that is whole and says so.
func TestInterrupt(t *testing.T) {
	const clusters = 20_000
	image := qcow2test.Image{ClusterBits: 9, Size: clusters << 9, Clusters: map[uint64]qcow2test.Kind{}}
	for i := range uint64(clusters) {
		image.Clusters[i] = qcow2test.Zero
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, complaints := &cancelWriter{cancel: cancel}, &bytes.Buffer{}
	name := imageFile(t, image.Build())
	code := cmd.Execute(ctx, cmd.Process{
		Args:   []string{"guest", "--per-cluster", "-o", "json", name},
		Stdout: out, Stderr: complaints,
	})
	var doc document
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatalf("%v in %.100q…", err, out.String())
	}
	if n := len(doc.Guest); code != 130 || n == 0 || n >= clusters || len(doc.Errors) != 1 || doc.Errors[0].Message != "interrupted" || complaints.Len() > 0 {
		t.Errorf("exit status %d, %d rows, errors %v, standard error %q", code, n, doc.Errors, complaints)
	}
}

// TestManyErrors holds that a document lists 1000 errors, and counts the rest.
func TestManyErrors(t *testing.T) {
	const entries = 1500
	b := qcow2test.Image{ClusterBits: 9, Size: entries << 15}.Build()
	for i := range entries {
		b.Set(fmt.Sprintf("l1[%d]", i), 0x100) // a reserved bit
	}
	name := imageFile(t, b)
	var out, complaints bytes.Buffer
	code := cmd.Execute(t.Context(), cmd.Process{
		Args:   []string{"guest", "-o", "json", name},
		Stdout: &out, Stderr: &complaints,
	})
	var doc document
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if n := len(doc.Errors); code != 2 || n != 1001 || doc.Errors[1000].Message != "500 more errors" || doc.Errors[1000].Section != nil {
		t.Errorf("exit status %d, %d errors, the last %+v", code, n, doc.Errors[n-1])
	}
	if n := strings.Count(complaints.String(), "\n"); n != 1001 {
		t.Errorf("%d lines on standard error, want 1001", n)
	}
}

// A touchWriter changes a file at the first write, as a running machine would.
type touchWriter struct {
	bytes.Buffer
	touch func()
}

func (w *touchWriter) Write(p []byte) (int, error) {
	w.touch()
	return w.Buffer.Write(p)
}

// TestChangedFile: a file that changes while it is read is shown, with a word of
// warning.
func TestChangedFile(t *testing.T) {
	const want = "qinspect: %s: the file has changed while it was read: what it says may not fit together\n" +
		"qinspect: hint: look again when nothing writes to it\n"
	for change, touch := range map[string]func(name string) error{
		"nothing":  func(string) error { return nil },
		"longer":   func(name string) error { return os.Truncate(name, 1<<20) },
		"shorter":  func(name string) error { return os.Truncate(name, 1<<10) },
		"modified": func(name string) error { return os.Chtimes(name, time.Time{}, time.Unix(1, 0)) },
	} {
		name := imageFile(t, qcow2test.Image{ClusterBits: 9, Size: 1 << 20}.Build())
		out, complaints := &touchWriter{touch: func() {
			if err := touch(name); err != nil {
				t.Error(err)
			}
		}}, &bytes.Buffer{}
		code := cmd.Execute(t.Context(), cmd.Process{Args: []string{"header", name}, Stdout: out, Stderr: complaints})
		if code != 0 {
			t.Errorf("%s: exit status %d", change, code)
		}
		if changed := complaints.String() == fmt.Sprintf(want, name); changed != (change != "nothing") || !changed && complaints.Len() > 0 {
			t.Errorf("%s: complaints %q", change, complaints)
		}
	}
}
