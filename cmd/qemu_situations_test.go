package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestQEMUSituations: what usage says of images that people ask about: one that the
// guest has discarded, one whose snapshots are deleted, a preallocated one, and a
// copy of each that has no holes.
func TestQEMUSituations(t *testing.T) {
	type situation struct {
		Free    struct{ Bytes uint64 }
		Holes   struct{ Mapped, Free *uint64 }
		Compact uint64 `json:"compact-at-most"`
		Remark  *string
		Reclaim []struct {
			Kind   string
			Bytes  uint64
			OnDisk *uint64 `json:"on-disk"`
		}
	}
	dir := newQEMUFolder(t)
	usage := func(name string) (s situation) {
		t.Helper()
		var out bytes.Buffer
		if code := Execute(t.Context(), Process{Args: []string{"usage", "-o", "json", dir.file(name)}, Stdout: &out, Stderr: os.Stderr}); code != 0 {
			t.Errorf("%s: exit status %d", name, code)
		}
		if err := json.Unmarshal(out.Bytes(), &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	dense := func(name string) string {
		t.Helper()
		p, err := os.ReadFile(dir.file(name))
		if err == nil {
			err = os.WriteFile(dir.file("dense-"+name), p, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return "dense-" + name
	}
	want := func(name string, got situation, free, compact uint64, remark string) {
		t.Helper()
		said := ""
		if got.Remark != nil {
			said = *got.Remark
		}
		if got.Free.Bytes != free || got.Compact != compact || !strings.Contains(said, remark) || (remark == "") != (said == "") {
			t.Errorf("%s: %d bytes free, a copy of %d, %q; want %d, %d, %q", name, got.Free.Bytes, got.Compact, said, free, compact, remark)
		}
	}

	dir.run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", "discarded", "4M")
	dir.qemuIO(t, dir.file("discarded"), "write -q -P 1 0 1M", "write -q -P 2 1M 1M", "discard -q 256k 1M", "discard -q 1536k 128k")
	want("discarded", usage(dense("discarded")), 1179648, 1245184, "1.12 MiB are free; a copy would have 1.19 MiB at most")

	dir.run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10,cluster_size=4k", "deleted", "512k")
	for i := range 4 {
		dir.qemuIO(t, dir.file("deleted"), fmt.Sprintf("write -q -P %d 0 512k", i+1))
		if i < 3 {
			dir.run(t, "qemu-img", "snapshot", "-c", fmt.Sprint("s", i), "deleted")
		}
	}
	for i := range 3 {
		dir.run(t, "qemu-img", "snapshot", "-d", fmt.Sprint("s", i), "deleted")
	}
	got := usage(dense("deleted"))
	want("deleted, dense", got, got.Reclaim[0].Bytes+got.Reclaim[1].Bytes, 851968, "1.53 MiB are free; a copy would have 832 KiB at most")
	if got.Reclaim[0].OnDisk != nil && *got.Reclaim[0].OnDisk != got.Reclaim[0].Bytes {
		t.Errorf("a dense copy: %d of %d free bytes are on disk", *got.Reclaim[0].OnDisk, got.Reclaim[0].Bytes)
	}
	if sparse := usage("deleted"); sparse.Holes.Free != nil && *sparse.Holes.Free == sparse.Free.Bytes {
		want("deleted, with holes", sparse, got.Free.Bytes, 851968, "1.53 MiB are free, and the gaps are holes: nothing to get back on this file system")
	}

	dir.run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "preallocated", "16M")
	if got := usage("preallocated"); got.Holes.Mapped != nil && *got.Holes.Mapped == 16<<20 {
		want("preallocated", got, 0, 17104896, "preallocated, not written: 98.")
	}
	want("preallocated, dense", usage(dense("preallocated")), 0, 17104896, "")
}
