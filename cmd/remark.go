package cmd

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// notable is the smallest share of the file that is worth a remark, in percent.
const notable = 20

// usageRemark returns the largest share of the file that could be reclaimed, in
// words, or null where no share is notable.
func usageRemark(u *qcow2.Usage) render.Value {
	var snapshots uint64
	for _, o := range u.Owners {
		if _, ok := o.Owner.Snapshot(); ok {
			snapshots += o.Exclusive
		}
	}
	most := slices.MaxFunc([]remark{
		{u.Kinds[qcow2.HostLeaked].Bytes, "leaked"},
		{u.Tail, "an unused tail"},
		{u.Free.Bytes - min(u.Tail, u.Free.Bytes), "free gaps" + largestGap(u)},
		{snapshots, "exclusive to single snapshots"},
		{min(u.Mapped.Preallocated, u.Kinds[qcow2.HostZeroAllocated].Bytes), "preallocated and reads as zeros"},
	}, func(a, b remark) int { return cmp.Compare(a.bytes, b.bytes) })
	if float64(most.bytes)*100 < notable*float64(u.FileSize) || most.bytes == 0 {
		return render.Null
	}
	return render.Text(fmt.Sprintf("%s of the file is %s", percent(most.bytes, u.FileSize), most.words))
}

// A remark is something that could be reclaimed, and how much of the file it is.
type remark struct {
	bytes uint64
	words string
}

// largestGap says how large the largest gap is.
func largestGap(u *qcow2.Usage) string {
	if len(u.Free.Histogram) == 0 {
		return ""
	}
	clusters := u.Free.LargestRun * u.Free.Clusters / max(u.Free.Bytes, 1)
	return ", none larger than " + counted(max(clusters, 1), "cluster", "clusters")
}

// percent returns a share in percent.
func percent(part, whole uint64) string {
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(max(whole, 1)))
}
