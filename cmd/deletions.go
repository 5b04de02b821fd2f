package cmd

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// deletions knows what to type to delete snapshots of an image. qemu-img knows a
// snapshot by its name alone.
type deletions struct {
	all   []qcow2.Snapshot // as far as the table can be read
	names map[string]int   // how many snapshots have one
}

func newDeletions(img *qcow2.Image) deletions {
	d := deletions{names: map[string]int{}}
	for s, err := range img.Snapshots() {
		if err != nil {
			break
		}
		d.all = append(d.all, s)
		d.names[s.Name]++
	}
	return d
}

// qemuNameBytes is the longest name of a snapshot that qemu-img knows as a whole.
const qemuNameBytes = 255

// command returns the command that deletes a snapshot, or why there is none.
func (d *deletions) command(s *qcow2.Snapshot, file string) (text string, ok bool) {
	name, typed := shellWord(s.Name)
	switch {
	case d.names[s.Name] > 1:
		return "qemu-img cannot delete it: another snapshot has its name", false
	case !typed || len(s.Name) > qemuNameBytes:
		return "qemu-img cannot delete it: it cannot be called by its name", false
	}
	return fmt.Sprintf("qemu-img snapshot -d %s %s", name, file), true
}

// advice returns what to type to delete all snapshots, by the example of the first
// that can be deleted.
func (d *deletions) advice(file string) string {
	for i := range d.all {
		command, ok := d.command(&d.all[i], file)
		switch {
		case ok && len(d.all) == 1:
			return "delete the snapshot: " + command
		case ok:
			return "delete snapshots that nobody needs: " + command + ", and so on"
		case len(d.all) == 1:
			return command
		}
	}
	return "qemu-img cannot delete them: their names do not tell them apart"
}
