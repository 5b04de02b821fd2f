package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// A hostIndex holds the references to each host cluster: the first, and how many
// there are.
type hostIndex struct {
	img      *Image
	walk     *referenceWalk
	labels   *labels
	owners   *ownerList // every reference; nil: not wanted
	damaged  bool       // there are problems
	problems *sparse.Map[Problems]
	// intruders are the first references to clusters that already hold metadata.
	intruders *sparse.Map[label]
	sharing   *sparse.Map[sharers] // nil: not wanted
	tables    tableCache
}

// indexHost walks all references. It returns nil when yield, which takes errors,
// returned false or the context is done.
func indexHost(ctx context.Context, img *Image, o HostOptions, yield func(error) bool) *hostIndex {
	clusters := img.geometry.HostClusters
	x := &hostIndexer{
		img: img, labels: newLabelMap(img, sparse.NewBuilder[label](clusters)), yield: yield,
		problems: sparse.NewBuilder[Problems](clusters), intruders: sparse.NewScattered[label](clusters),
	}
	if o.Owners {
		x.owners = newOwnerList(img, o)
	}
	x.walk = newReferenceWalk(ctx, img)
	x.walk.sink = x
	if o.Sharing && img.header.NbSnapshots > 0 {
		x.sharing = newSharingMap(x.walk)
	}
	if !x.walk.walk(o.Snapshot, o.Progress) {
		return nil
	}
	if x.owners != nil {
		x.owners.sort()
	}
	return &hostIndex{
		img: img, walk: x.walk, labels: x.labels.seal(), owners: x.owners,
		damaged: x.damaged, problems: x.problems.Seal(), intruders: x.intruders.Seal(), sharing: x.sharing.seal(),
	}
}

// A hostIndexer builds a hostIndex. It is the sink of the walk.
type hostIndexer struct {
	img      *Image
	walk     *referenceWalk
	labels   *labelMap
	yield    func(error) bool // takes errors
	owners   *ownerList       // nil: not wanted
	sharing  *sharingMap      // nil: not wanted
	damaged  bool
	problems *sparse.Builder[Problems]
	// intruders has the first reference beside metadata.
	intruders *sparse.Builder[label]
}

// fail implements referenceSink.
func (x *hostIndexer) fail(err error) bool { return x.yield(err) }

// addStructures implements referenceSink.
func (x *hostIndexer) addStructures(r *reference) bool {
	x.labels.addStructures(r)
	if r.problems != 0 {
		x.problems.Fill(r.first, r.n, r.problems)
		x.damaged = true
	}
	return true
}

// add implements referenceSink.
func (x *hostIndexer) add(r *reference) bool {
	if r.problems&(BeyondEOF|NotAllowed) != 0 && !x.yield(r.error()) {
		return false
	}
	if x.owners != nil {
		x.owners.add(x, r)
	}
	if x.sharing != nil {
		x.sharing.add(r)
	}
	x.labels.add(r, x.overlap)
	if r.problems != 0 {
		for i := range r.n {
			x.problem(r.first+i, r.problems)
		}
	}
	return true
}

// addData implements referenceSink.
func (x *hostIndexer) addData(d *dataBatch) bool {
	shift := x.img.geometry.ClusterBits
	if x.sharing != nil {
		x.sharing.addData(d)
	}
	if x.owners == nil {
		x.labels.addData(d, shift, x.overlap)
		return true
	}
	for _, e := range d.entries {
		if !x.add(&reference{kind: HostData, first: e.entry.HostOffset() >> shift, n: 1, place: e.place, weight: d.weight}) {
			return false
		}
	}
	return true
}

// error returns what is wrong with an L2 entry.
func (r *reference) error() error {
	return errorf(SectionL2Table, r.place.offset(), ErrEntry, "the entry of guest offset %#x points to %#x: %s", r.guest, r.offset, r.problems)
}

// overlap records that a cluster has metadata and something else, the intruder.
func (x *hostIndexer) overlap(cluster uint64, intruder label) {
	x.problem(cluster, OverlapsMetadata)
	if first := x.intruders.At(cluster); *first == 0 {
		*first = intruder
	}
}

// problem records what is wrong with a reference to a cluster.
func (x *hostIndexer) problem(cluster uint64, p Problems) {
	*x.problems.At(cluster) |= p
	x.damaged = true
}
