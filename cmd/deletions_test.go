package cmd

import (
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestDeletions(t *testing.T) {
	const (
		double = "qemu-img cannot delete it: another snapshot has its name"
		odd    = "qemu-img cannot delete it: it cannot be called by its name"
		many   = "delete snapshots that nobody needs: "
	)
	for _, test := range []struct {
		names    []string
		commands []string
		advice   string
	}{
		{[]string{"a"}, []string{"qemu-img snapshot -d a d.qcow2"}, "delete the snapshot: qemu-img snapshot -d a d.qcow2"},
		{[]string{"a", "b c"}, []string{"qemu-img snapshot -d a d.qcow2", "qemu-img snapshot -d 'b c' d.qcow2"}, many + "qemu-img snapshot -d a d.qcow2, and so on"},
		{[]string{"a", "a", "b"}, []string{double, double, "qemu-img snapshot -d b d.qcow2"}, many + "qemu-img snapshot -d b d.qcow2, and so on"},
		{[]string{"a", "a"}, []string{double, double}, "qemu-img cannot delete them: their names do not tell them apart"},
		{[]string{"a\x00"}, []string{odd}, odd},
		{[]string{strings.Repeat("a", 256)}, []string{odd}, odd},
	} {
		image := qcow2test.Image{Size: 1 << 20}
		for _, name := range test.names {
			image.Snapshots = append(image.Snapshots, qcow2test.Snapshot{Name: name})
		}
		b := image.Build()
		img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		d := newDeletions(img)
		for i := range d.all {
			if got, _ := d.command(&d.all[i], "d.qcow2"); got != test.commands[i] {
				t.Errorf("%q: @%d: %q, want %q", test.names, i, got, test.commands[i])
			}
		}
		if got := d.advice("d.qcow2"); got != test.advice {
			t.Errorf("%q: %q, want %q", test.names, got, test.advice)
		}
	}
}
