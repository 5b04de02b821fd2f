package qcow2_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// holeGrain is the size of the holes that contentRange sees, in bytes.
const holeGrain = 512

// isContent reports whether the block that holds an offset has a byte that is not
// zero.
func isContent(file []byte, offset uint64) bool {
	first := offset &^ (holeGrain - 1)
	return bytes.ContainsFunc(file[first:min(first+holeGrain, uint64(len(file)))], func(r rune) bool { return r != 0 })
}

// contentRange is [qcow2.File.DataRange] of a file in which all that is zeros is a
// hole.
func contentRange(file []byte) func(offset uint64) (start, end uint64, err error) {
	return func(offset uint64) (start, end uint64, err error) {
		size := uint64(len(file))
		for start = offset; start < size && !isContent(file, start); {
			start = min(start&^(holeGrain-1)+holeGrain, size)
		}
		for end = start; end < size && isContent(file, end); {
			end = min(end&^(holeGrain-1)+holeGrain, size)
		}
		return start, end, nil
	}
}

// A usageModel adds up what the model of host knows, cluster by cluster and owner
// by owner.
type usageModel struct {
	*hostModel
	file    []byte
	without map[qcow2.Owner]bool
	usage   qcow2.Usage
	reclaim [5]qcow2.Reclaim
	owners  map[qcow2.Owner]int // index in usage.Owners
	gap     []qcow2.HostRange   // free clusters that follow each other
}

func newUsageModel(m *hostModel, file []byte, without map[qcow2.Owner]bool) *usageModel {
	u := &usageModel{hostModel: m, file: file, without: without, owners: map[qcow2.Owner]int{}}
	u.usage.FileSize, u.usage.HasOnDisk = m.size, true
	for k := range qcow2.HostUnknown + 1 {
		u.usage.Kinds = append(u.usage.Kinds, qcow2.KindUsage{Kind: k})
	}
	for i := range u.reclaim {
		u.reclaim[i].Kind = qcow2.ReclaimKind(i)
	}
	m.eachL1(func(owner qcow2.Owner, _, _, _ uint64) {
		u.owners[owner] = len(u.usage.Owners)
		u.usage.Owners = append(u.usage.Owners, qcow2.OwnerUsage{Owner: owner})
	})
	for _, r := range m.ranges() {
		u.add(r)
	}
	u.endGap(qcow2.ReclaimTail)
	u.finish()
	return u
}

// onDisk returns how many bytes of a cluster are no zeros.
func (u *usageModel) onDisk(r qcow2.HostRange) (n uint64) {
	for at := r.Offset; at < r.Offset+r.Length; at += holeGrain {
		if isContent(u.file, at) {
			n += min(holeGrain, r.Offset+r.Length-at)
		}
	}
	return n
}

// reclaims adds a cluster to what can be reclaimed.
func (u *usageModel) reclaims(kind qcow2.ReclaimKind, r qcow2.HostRange) {
	k := &u.reclaim[kind]
	k.Clusters++
	k.Bytes += r.Length
	k.OnDisk += u.onDisk(r)
}

// add adds a cluster.
func (u *usageModel) add(r qcow2.HostRange) {
	k := &u.usage.Kinds[r.Kind]
	k.Clusters++
	k.Bytes += r.Length
	k.OnDisk += u.onDisk(r)
	if r.Problems != 0 {
		u.usage.DamagedClusters++
	}
	if r.Kind == qcow2.HostFree {
		u.gap = append(u.gap, r)
		return
	}
	u.endGap(qcow2.ReclaimFree)
	u.usage.ImageEndOffset = r.Offset + u.g.ClusterSize
	if r.Kind == qcow2.HostLeaked {
		u.reclaims(qcow2.ReclaimLeaked, r)
	}
	if r.HasReference {
		u.addReferences(r)
	}
}

// addReferences adds a cluster to its owners.
func (u *usageModel) addReferences(r qcow2.HostRange) {
	if r.HasRefcount && r.Refcount == 0 {
		u.usage.TakenForFree++
	}
	mine, vmState := map[qcow2.Owner]bool{}, map[qcow2.Owner]bool{}
	zero := true
	for _, ref := range u.refs[r.Offset/u.g.ClusterSize] {
		zero = zero && ref.Kind == qcow2.HostZeroAllocated
		if ref.Owner != qcow2.OwnerImage {
			mine[ref.Owner] = true
			vmState[ref.Owner] = vmState[ref.Owner] || ref.Kind == qcow2.HostVMState && r.Kind > qcow2.HostL2Table
		}
	}
	if r.HasRefcount && r.Refcount > 0 && r.Refcount < uint64(len(mine)) {
		u.usage.TooLow++
	}
	if zero {
		u.reclaims(qcow2.ReclaimZeroAllocated, r)
	}
	chosen := len(mine) > 0
	for owner := range mine {
		o := &u.usage.Owners[u.owners[owner]]
		o.Referenced += r.Length
		if len(mine) == 1 {
			o.Exclusive += r.Length
		}
		if vmState[owner] {
			o.VMState += r.Length
		}
		chosen = chosen && u.without[owner]
	}
	if chosen {
		u.usage.Freed += r.Length
	}
	if len(mine) == 0 || mine[qcow2.OwnerActive] {
		return
	}
	last := u.owners[slices.Max(slices.Collect(maps.Keys(mine)))]
	u.reclaims(qcow2.ReclaimSnapshots, r)
	u.usage.SnapshotsOnly += r.Length
	for i := last; i < len(u.usage.Owners); i++ {
		u.usage.Owners[i].ExclusiveWithOlder += r.Length
	}
}

// endGap ends the run of free clusters.
func (u *usageModel) endGap(kind qcow2.ReclaimKind) {
	n, bytes := uint64(len(u.gap)), uint64(0)
	for _, r := range u.gap {
		bytes += r.Length
		u.reclaims(kind, r)
	}
	u.gap = nil
	f := &u.usage.Free
	f.LargestRun = max(f.LargestRun, bytes)
	f.Clusters, f.Bytes = f.Clusters+n, f.Bytes+bytes
	if kind == qcow2.ReclaimTail {
		u.usage.Tail = bytes
	}
	if n == 0 {
		return
	}
	least := uint64(1)
	for least*2 <= n {
		least *= 2
	}
	i, found := slices.BinarySearchFunc(f.Histogram, least, func(h qcow2.FreeRuns, least uint64) int { return int(h.Min) - int(least) })
	if !found {
		f.Histogram = slices.Insert(f.Histogram, i, qcow2.FreeRuns{Min: least})
	}
	f.Histogram[i].Runs++
	f.Histogram[i].Clusters += n
}

func (u *usageModel) finish() {
	for i := range u.usage.Owners {
		o := &u.usage.Owners[i]
		o.Shared = o.Referenced - o.Exclusive
	}
	for _, r := range u.reclaim {
		if r.Kind != qcow2.ReclaimFree || u.usage.TakenForFree == 0 {
			u.usage.Reclaim = append(u.usage.Reclaim, r)
		}
	}
}

// mappedModel adds up what Guest says.
func mappedModel(t *testing.T, img *qcow2.Image) (u qcow2.MappedUsage) {
	t.Helper()
	for m, err := range img.Guest(t.Context(), qcow2.GuestOptions{}) {
		if err != nil || m.Kind == qcow2.MappingUnallocated {
			continue
		}
		u.Bytes += m.Length
		switch m.Kind {
		case qcow2.MappingZero:
			u.Zero += m.Length
		case qcow2.MappingZeroAllocated:
			u.Preallocated += m.Length
		}
	}
	return u
}

// compactModel returns the size of a copy: it allocates every cluster that data
// touches.
func compactModel(ctx context.Context, img *qcow2.Image) uint64 {
	clusters, tables := map[uint64]bool{}, map[uint64]bool{}
	for m, err := range img.Guest(ctx, qcow2.GuestOptions{}) {
		if err == nil && (m.Kind == qcow2.MappingData || m.Kind == qcow2.MappingCompressed) {
			for c := m.Start / 65536; c <= (m.Start+m.Length-1)/65536; c++ {
				clusters[c], tables[c/8192] = true, true
			}
		}
	}
	entries := (img.Header().VirtualSize()/512 + 1<<20 - 1) / (1 << 20)
	if len(clusters) == 0 {
		return 3*65536 + 8*entries
	}
	return 65536 * (4 + uint64(len(tables)) + uint64(len(clusters))) // small enough for one cluster of each other kind
}

// TestUsageModel compares Usage with the model on random images.
func TestUsageModel(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			b := randomHostImage(r).Build()
			if seed%3 != 0 {
				damageTables(r, b)
			}
			img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)), qcow2.WithHoles(contentRange(b.Bytes)))
			if err != nil {
				t.Fatal(err)
			}
			compareUsage(t, img, b, r)
		})
	}
}

// compareUsage compares Usage with the model, without some snapshots.
func compareUsage(t *testing.T, img *qcow2.Image, b *qcow2test.Built, r *rand.Rand) {
	t.Helper()
	without := map[qcow2.Owner]bool{}
	var o qcow2.UsageOptions
	for s, err := range img.Snapshots() {
		if err == nil && r.UintN(2) == 0 {
			o.Without = append(o.Without, s, s)
			without[qcow2.Owner(s.Index)] = true
		}
	}
	got, err := img.Usage(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := newUsageModel(newHostModel(t, img, b.Bytes), b.Bytes, without).usage
	want.Mapped = mappedModel(t, img)
	if h := img.Header(); h.BackingFileOffset == 0 && h.IncompatibleFeatures&qcow2.ExternalDataFile == 0 {
		want.CompactAtMost, want.HasCompact = compactModel(t.Context(), img), true
	}
	if diff := gocmp.Diff(want, *got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	sum, onDisk := uint64(0), uint64(0)
	for _, k := range got.Kinds {
		sum += k.Bytes
		onDisk += k.OnDisk
	}
	if sum != got.FileSize || onDisk != got.OnDisk() {
		t.Errorf("the kinds have %d bytes, %d on disk; the file %d, %d", sum, onDisk, got.FileSize, got.OnDisk())
	}
}
