package picture

import (
	"fmt"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// Sentence says in words what a picture shows: what the file takes, what of it could
// be given back, and into how many runs its data are cut. size returns a number of bytes as people read it.
func (p *Picture) Sentence(u *qcow2.Usage, size func(uint64) string) string {
	parts := []string{fmt.Sprintf("%s of file for a disk of %s", size(p.FileSize), size(p.GuestSize))}
	if u.Owners != nil && u.SnapshotsOnly > 0 {
		parts = append(parts, size(u.SnapshotsOnly)+" are kept for snapshots alone")
	}
	if u.Free.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%s are free, in gaps of at most %s", size(u.Free.Bytes), size(u.Free.LargestRun)))
	}
	all, contents := p.Bytes(), uint64(0)
	for c, n := range all {
		if Class(c).contents() {
			contents += n
		}
	}
	if p.GuestRuns > 1 {
		parts = append(parts, fmt.Sprintf("guest data lie in %d runs of %s on average", p.GuestRuns, size(contents/p.GuestRuns/p.ClusterSize*p.ClusterSize)))
	}
	if n := all[Leaked]; n > 0 {
		parts = append(parts, size(n)+" are leaked")
	}
	if n := all[Conflict]; n > 0 {
		parts = append(parts, size(n)+" have references with problems")
	}
	return strings.Join(parts, "; ") + "."
}
