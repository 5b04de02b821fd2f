package chain_test

import (
	"errors"
	"io/fs"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestDependents: who names a base, as a backing file or a data file, by whatever
// name leads there.
func TestDependents(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	base := qcow2test.Image{Size: 4 * cluster}.Build().Bytes
	write(t, dir, "bases/base", base)
	write(t, dir, "bases/other", base)
	for name, backing := range map[string]string{
		"vms/a": "../bases/base", "vms/b": dir + "/bases/base", "vms/c": "../bases/other", "vms/deep/d": "../../bases/base",
		"vms/e": "file:../bases/base", "vms/f": "/elsewhere/base", "vms/g": "gone", "vms/h": "../bases/alias",
	} {
		write(t, dir, name, overlay(backing, "qcow2").Build().Bytes)
	}
	link(t, "base", "bases/alias")
	link(t, "a", "vms/z")
	write(t, dir, "vms/text", []byte("no image"))
	info, err := os.Stat("bases/base")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := chain.NewFolders("bases/base", "vms")
	if err != nil {
		t.Fatal(err)
	}
	defer folders.Close()
	s := &chain.Search{Base: info, Name: "bases/base", Opener: folders}
	if err := s.Below(t.Context(), "vms"); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range s.Found {
		got = append(got, d.Filename)
	}
	if diff := cmp.Diff([]string{"vms/a", "vms/b", "vms/deep/d", "vms/h", "vms/z"}, got); diff != "" {
		t.Errorf("dependents (-want +got):\n%s", diff)
	}
	if len(s.Remarks) != 2 || len(s.Damage) != 0 {
		t.Errorf("remarks %v, damage %v; want two remarks, about e and f", s.Remarks, s.Damage)
	}
	if err := s.Below(t.Context(), "gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
}
