package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// FuzzCommands: whatever the bytes of an image, every command ends, with an exit
// status from 0 to 3, text that is safe for a terminal, and valid JSON.
func FuzzCommands(f *testing.F) {
	bases := qcow2test.MalformedBase()
	delete(bases, "extl2") // its clusters are too large for the fuzzer
	for i, name := range slices.Sorted(maps.Keys(bases)) {
		im := bases[name]
		im.ClusterBits = 9
		f.Add(im.Build().Bytes, uint8(i))
		f.Add(im.Build().Bytes, uint8(len(everyCommand)-1)) // chain
	}
	f.Setenv("XDG_CONFIG_HOME", f.TempDir())
	image := filepath.Join(f.TempDir(), "image.qcow2")
	base := qcow2test.Image{ClusterBits: 9, Size: 1 << 16, Clusters: map[uint64]qcow2test.Kind{1: qcow2test.Data}}
	if err := os.WriteFile(filepath.Join(filepath.Dir(image), "base.qcow2"), base.Build().Bytes, 0o600); err != nil {
		f.Fatal(err)
	}
	commands := append(slices.Clone(everyCommand), []string{"guest", "--follow", "--all"}, []string{"scan"})
	f.Fuzz(func(t *testing.T, p []byte, command uint8) {
		if err := os.WriteFile(image, p, 0o600); err != nil {
			t.Fatal(err)
		}
		args := commands[int(command)%len(commands)]
		holdCommand(t, args[0], image, args)
	})
}
