package cmd_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestDiffAboveLimit: check need not find anything wrong with what a limit leaves unknown,
// so a diff gives no hint to ask it.
func TestDiffAboveLimit(t *testing.T) {
	const entries = 200 // of 64 KiB each, above the limit of RepeatedTableBytes
	b := qcow2test.Image{Size: entries << 29, Snapshots: []qcow2test.Snapshot{{ID: "1"}},
		Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}.Build()
	l1, first := b.Get("l1_table_offset"), b.Get("l1[0]")
	for i := range uint64(entries) {
		binary.BigEndian.PutUint64(b.Bytes[l1+8*i:], first)
	}
	_, stderr, code := (&memoryFile{built: b}).run(t, "diff", "--from", "1", "memory")
	const unknown = "37580963840 bytes are unknown: what maps them is above a limit, or damaged\n"
	if code != 2 || strings.Count(stderr, "RepeatedTableBytes") != 1 || !strings.HasSuffix(stderr, unknown) {
		t.Errorf("exit status %d\n%s", code, stderr)
	}
}
