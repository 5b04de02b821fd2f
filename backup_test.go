package main

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// backupRecipes returns the scripts of docs/backup.md below a heading.
func backupRecipes(t *testing.T, heading string) []string {
	t.Helper()
	_, text, ok := strings.Cut(readText(t, filepath.Join("docs", "backup.md")), "\n### "+heading+"\n")
	if !ok {
		t.Fatalf("docs/backup.md has no %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n### ")
	var all []string
	for _, m := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	if len(all) == 0 {
		t.Fatalf("%q has no script", heading)
	}
	return all
}

// backupFolder returns a directory with disk.qcow2, of which a full backup was made
// by the page's own script and which was then written to in every way, and the bitmap
// that recorded it.
func backupFolder(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"qemu-img", "qemu-io", "qemu-nbd", "nbdinfo", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	dir := shellFolder(t)
	mustShell(t, dir, "qemu-img create -q -f qcow2 disk.qcow2 64M && qemu-io -c 'write -q -P 1 0 16M' disk.qcow2")
	mustShell(t, dir, backupRecipes(t, "A copy of just these ranges")[0])
	mustShell(t, dir, "qemu-io -d unmap -c 'write -q -P 2 1M 64k' -c 'write -q -z 2M 1M' -c 'write -q -z -u 4M 1M' -c 'discard -q 6M 1M' -c 'discard -q 32M 8M' -c 'write -q -P 3 48M 100k' -c 'write -q -c -P 4 50M 64k' disk.qcow2")
	return dir
}

// mustShell runs a script that has to succeed, and returns what it prints.
func mustShell(t *testing.T, dir, script string) string {
	t.Helper()
	out, err := shell(t, dir, script)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// TestBackupRecipes runs the scripts of docs/backup.md that say what is dirty.
func TestBackupRecipes(t *testing.T) {
	dir := backupFolder(t)
	compact := func(script string) string {
		t.Helper()
		return mustShell(t, dir, "{ "+script+"\n} | jq -cS .")
	}
	nbd := compact("nbdinfo --map=qemu:dirty-bitmap:daily --json -- [ qemu-nbd -r -f qcow2 -B daily disk.qcow2 ]")
	if diff := cmp.Diff(nbd, compact(backupRecipes(t, "The ranges as nbdinfo has them")[0])); diff != "" {
		t.Errorf("ranges (-nbdinfo +docs/backup.md):\n%s", diff)
	}
	for heading, want := range map[string]string{
		"How large the next one is": `{"dirty":11796480,"dirty-data":262144,"state":"recording"}`,
		"The ranges as oVirt imageio has them": `[{"dirty":false,"length":1048576,"start":0,"zero":false},{"dirty":true,"length":65536,"start":1048576,"zero":false},` +
			`{"dirty":false,"length":983040,"start":1114112,"zero":false},{"dirty":true,"length":1048576,"start":2097152,"zero":true},` +
			`{"dirty":false,"length":1048576,"start":3145728,"zero":false},{"dirty":true,"length":1048576,"start":4194304,"zero":true},` +
			`{"dirty":false,"length":1048576,"start":5242880,"zero":false},{"dirty":true,"length":1048576,"start":6291456,"zero":true},` +
			`{"dirty":false,"length":9437184,"start":7340032,"zero":false},{"dirty":false,"length":16777216,"start":16777216,"zero":true},` +
			`{"dirty":true,"length":8388608,"start":33554432,"zero":true},{"dirty":false,"length":8388608,"start":41943040,"zero":true},` +
			`{"dirty":true,"length":131072,"start":50331648,"zero":false},{"dirty":false,"length":1966080,"start":50462720,"zero":true},` +
			`{"dirty":true,"length":65536,"start":52428800,"zero":false},{"dirty":false,"length":14614528,"start":52494336,"zero":true}]`,
		"The ranges as CSI SnapshotMetadata has them": `{"block_metadata":[{"byte_offset":1048576,"size_bytes":65536},{"byte_offset":2097152,"size_bytes":1048576},` +
			`{"byte_offset":4194304,"size_bytes":1048576},{"byte_offset":6291456,"size_bytes":1048576},{"byte_offset":33554432,"size_bytes":8388608},` +
			`{"byte_offset":50331648,"size_bytes":131072},{"byte_offset":52428800,"size_bytes":65536}],"block_metadata_type":"VARIABLE_LENGTH","volume_capacity_bytes":67108864}`,
	} {
		if diff := cmp.Diff(want+"\n", compact(backupRecipes(t, heading)[0])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", heading, diff)
		}
	}
}

// TestBackupCopy runs the incremental backup of docs/backup.md: it equals the disk, and
// the bitmap is clean after it.
func TestBackupCopy(t *testing.T) {
	dir := backupFolder(t)
	const compare = "qemu-img compare -f qcow2 -F raw disk.qcow2 backup.raw"
	if out, err := shell(t, dir, compare); err == nil {
		t.Fatalf("the disk was not changed: %s", out)
	}
	mustShell(t, dir, backupRecipes(t, "A copy of just these ranges")[1])
	mustShell(t, dir, compare)
	if out := mustShell(t, dir, "qinspect dirty --bitmap daily disk.qcow2"); out != "nothing is dirty\n" {
		t.Errorf("after the backup: %s", out)
	}
}
