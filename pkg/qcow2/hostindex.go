package qcow2

import "context"

// A hostIndex knows the references to each host cluster: the first in a label,
// and the number of them all. It is the sink of a walk.
type hostIndex struct {
	img     *Image
	walk    *referenceWalk
	labels  *labelMap
	yield   func(error) bool // takes errors
	owners  *ownerList       // every reference; nil: not wanted
	damaged bool             // there are problems

	problems *clusterMap[Problems]
}

// newHostIndex walks all references. It returns nil when yield, which takes
// errors, returned false or the context is done.
func newHostIndex(ctx context.Context, img *Image, o HostOptions, yield func(error) bool) *hostIndex {
	x := &hostIndex{img: img, labels: newLabelMap(img, newClusterMap[label](img.geometry.HostClusters)), yield: yield, problems: newClusterMap[Problems](img.geometry.HostClusters)}
	if o.Owners {
		x.owners = newOwnerList(img, o)
	}
	x.walk = newReferenceWalk(ctx, img, x)
	if !x.walk.walk(o.Snapshot, o.Progress) {
		return nil
	}
	x.labels.words.seal()
	x.labels.more.seal()
	x.problems.seal()
	if x.owners != nil {
		x.owners.sort()
	}
	return x
}

// fail implements referenceSink.
func (x *hostIndex) fail(err error) bool { return x.yield(err) }

// addStructures implements referenceSink.
func (x *hostIndex) addStructures(r *reference) bool {
	x.labels.addStructures(r)
	if r.problems != 0 {
		x.problems.fill(r.first, r.n, r.problems)
		x.damaged = true
	}
	return true
}

// add implements referenceSink.
func (x *hostIndex) add(r *reference) bool {
	if r.problems&(BeyondEOF|NotAllowed) != 0 && !x.yield(r.error()) {
		return false
	}
	if x.owners != nil {
		x.owners.add(x, r)
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
func (x *hostIndex) addData(d *dataBatch) bool {
	shift := x.img.geometry.ClusterBits
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
	return errorf(SectionL2Table, r.place*8, ErrCorrupt, "the entry of guest offset %#x points to %#x: %s", r.guest, r.offset, r.problems)
}

// overlap records that a cluster has metadata and something else.
func (x *hostIndex) overlap(cluster uint64) { x.problem(cluster, OverlapsMetadata) }

// problem records what is wrong with a reference to a cluster.
func (x *hostIndex) problem(cluster uint64, p Problems) {
	*x.problems.at(cluster) |= p
	x.damaged = true
}
