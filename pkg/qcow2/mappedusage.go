package qcow2

import (
	"context"
	"encoding/binary"
)

// add adds so many guest bytes of a kind.
func (u *MappedUsage) add(kind MappingKind, bytes uint64) {
	switch kind {
	case MappingUnallocated:
		return
	case MappingZero:
		u.Zero += bytes
	case MappingZeroAllocated:
		u.Preallocated += bytes
	}
	u.Bytes += bytes
}

// addMapped adds up the guest addresses of the active disk. An L2 table that
// several L1 entries point to is read for the first of them, and counted for all.
func (u *Usage) addMapped(ctx context.Context, img *Image) {
	if img.l1Error(nil) != nil {
		return // Host has said it
	}
	span := img.geometry.L2Entries << img.geometry.ClusterBits
	shared := newSharedTables(ctx, img, img.geometry.VirtualSize/span)
	o := GuestOptions{Mapped: true}
	m := newMapper(ctx, img, o, func(p *Mapping, err error) bool {
		if err != nil {
			return ctx.Err() == nil // Host has said it
		}
		for start, left := p.Start, p.Length; left > 0; {
			n := min(left, span-start%span)
			u.Mapped.add(p.Kind, n*(1+shared.again[start/span]))
			start, left = start+n, left-n
		}
		return true
	})
	m.walk.skip = shared.skip
	m.run(o)
}

// sharedTables knows which L2 tables several L1 entries of the active image
// point to.
type sharedTables struct {
	img   *Image
	whole uint64              // the L1 entries whose guest clusters are all on the disk
	first *clusterMap[uint32] // the first L1 entry that points to a table in the cluster, + 1
	again map[uint64]uint64   // how many more there are, by the first one
}

func newSharedTables(ctx context.Context, img *Image, whole uint64) *sharedTables {
	t := &sharedTables{img: img, whole: min(whole, uint64(img.header.L1Size)), first: newScatteredMap[uint32](), again: map[uint64]uint64{}}
	w := newTableWalk(ctx, img, l1Table{img.header.L1TableOffset, uint64(img.header.L1Size)}, img.geometry.VirtualSize)
	w.pieces(0, t.whole, nil, func(i uint64, entries []byte, _ error) bool {
		for ; len(entries) > 0; i, entries = i+1, entries[entrySize:] {
			cluster, ok := t.img.tableCluster(L1Entry(binary.BigEndian.Uint64(entries)))
			if !ok {
				continue
			}
			if first := t.first.at(cluster); *first == 0 {
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
	return ok && i < t.whole && uint64(t.first.word(cluster)) != i+1
}
