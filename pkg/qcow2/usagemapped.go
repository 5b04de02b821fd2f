package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/sparse"
)

// add adds n guest bytes of a kind.
func (u *MappedUsage) add(kind MappingKind, n uint64) {
	switch kind {
	case MappingUnallocated:
		return
	case MappingZero:
		u.Zero += n
	case MappingZeroAllocated:
		u.Preallocated += n
	}
	u.Bytes += n
}

// addMapped adds up the guest addresses of the active disk. An L2 table that
// several L1 entries point to is read for the first of them, and counted for all.
func (u *Usage) addMapped(ctx context.Context, img *Image) {
	m, err := img.Mapper(ctx, GuestOptions{Mapped: true})
	if err != nil {
		return // Host has reported it
	}
	span := img.geometry.L2Entries << img.geometry.ClusterBits
	shared := countSharedTables(ctx, img, img.geometry.VirtualSize/span)
	m.skipTables(shared.skip)
	m.Map(0, maxGuestOffset, func(p *Mapping, err error) bool {
		if err != nil {
			return ctx.Err() == nil // Host has reported it
		}
		for start, left := p.Start, p.Length; left > 0; {
			n := min(left, span-start%span)
			u.Mapped.add(p.Kind, n*(1+shared.again[start/span]))
			start, left = start+n, left-n
		}
		return true
	})
}

// sharedTables knows which L2 tables several L1 entries of the active image
// point to.
type sharedTables struct {
	img   *Image
	whole uint64                  // the L1 entries whose guest clusters are all on the disk
	first *sparse.Builder[uint32] // the first L1 entry that points to a table in the cluster, + 1
	again map[uint64]uint64       // how many more there are, by the first one
}

func countSharedTables(ctx context.Context, img *Image, whole uint64) *sharedTables {
	t := &sharedTables{img: img, whole: min(whole, uint64(img.header.L1Size)), first: sparse.NewScattered[uint32](), again: map[uint64]uint64{}}
	w := newTableWalk(ctx, img, entryTable{img.header.L1TableOffset, uint64(img.header.L1Size)}, img.geometry.VirtualSize)
	w.pieces(0, t.whole, func(p *piece) bool {
		for i, entries := w.l1.indexOf(p.offset), p.bytes; len(entries) > 0; i, entries = i+1, entries[entrySize:] {
			cluster, ok := t.img.tableCluster(L1Entry(be64(entries)))
			if !ok {
				continue
			}
			if first := t.first.At(cluster); *first == 0 {
				*first = uint32(i) + 1
			} else {
				t.again[uint64(*first)-1]++
			}
		}
		return true
	})
	return t
}

// skip reports whether the i-th L1 entry is not the first that points to its
// table.
func (t *sharedTables) skip(i uint64, e L1Entry) bool {
	cluster, ok := t.img.tableCluster(e)
	return ok && i < t.whole && uint64(t.first.Word(cluster)) != i+1
}
