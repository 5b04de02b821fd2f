package qcow2_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// usageModel adds up what the model knows.
func usageModel(m *hostModel) qcow2.Usage {
	u := qcow2.Usage{FileSize: m.size}
	for k := range qcow2.HostUnknown + 1 {
		u.Kinds = append(u.Kinds, qcow2.KindUsage{Kind: k})
	}
	owners := map[qcow2.Owner]int{}
	m.eachL1(func(owner qcow2.Owner, _, _, _ uint64) {
		owners[owner] = len(u.Owners)
		u.Owners = append(u.Owners, qcow2.OwnerUsage{Owner: owner})
	})
	run := uint64(0) // free clusters
	flush := func() {
		if run == 0 {
			return
		}
		least := uint64(1)
		for least*2 <= run {
			least *= 2
		}
		i := 0
		for i < len(u.Free.Histogram) && u.Free.Histogram[i].Min < least {
			i++
		}
		if i == len(u.Free.Histogram) || u.Free.Histogram[i].Min != least {
			u.Free.Histogram = append(u.Free.Histogram[:i], append([]qcow2.FreeRuns{{Min: least}}, u.Free.Histogram[i:]...)...)
		}
		u.Free.Histogram[i].Runs++
		u.Free.Histogram[i].Clusters += run
		run = 0
	}
	largest := uint64(0)
	for _, r := range m.ranges() {
		u.Kinds[r.Kind].Clusters++
		u.Kinds[r.Kind].Bytes += r.Length
		if r.Problems != 0 {
			u.DamagedClusters++
		}
		if r.Kind == qcow2.HostFree {
			run++
			largest += r.Length
			u.Free.LargestRun = max(u.Free.LargestRun, largest)
		} else {
			u.ImageEndOffset = r.Offset + m.g.ClusterSize
			largest = 0
			flush()
		}
		mine, behind := map[qcow2.Owner]bool{}, map[qcow2.Owner]bool{}
		for _, ref := range m.refs[r.Offset/m.g.ClusterSize] {
			if ref.Owner != qcow2.OwnerImage {
				mine[ref.Owner] = true
				behind[ref.Owner] = behind[ref.Owner] || ref.Kind == qcow2.HostVMState || ref.Kind == qcow2.HostL2Table && m.behind(ref)
			}
		}
		for owner := range mine {
			o := &u.Owners[owners[owner]]
			o.Referenced += r.Length
			if len(mine) == 1 {
				o.Exclusive += r.Length
			}
			if behind[owner] || m.compressedBehind(r.Offset/m.g.ClusterSize, owner) {
				o.VMState += r.Length
			}
		}
	}
	flush()
	for i := range u.Owners {
		u.Owners[i].Shared = u.Owners[i].Referenced - u.Owners[i].Exclusive
	}
	u.Free.Clusters, u.Free.Bytes = u.Kinds[qcow2.HostFree].Clusters, u.Kinds[qcow2.HostFree].Bytes
	u.Tail = m.size - min(u.ImageEndOffset, m.size)
	return u
}

// behind reports whether an L2 table maps what is past the end of its owner's
// disk.
func (m *hostModel) behind(ref hostRef) bool {
	is := false
	m.eachL1(func(owner qcow2.Owner, _, _, disk uint64) {
		if owner == ref.Owner {
			is = ref.L1Index*m.g.L2Entries*m.g.ClusterSize >= m.g.VMStateOffsetOf(disk)
		}
	})
	return is
}

// compressedBehind reports whether an owner has compressed data past the end of
// its disk in a cluster.
func (m *hostModel) compressedBehind(cluster uint64, owner qcow2.Owner) bool {
	for _, ref := range m.refs[cluster] {
		if ref.Owner == owner && ref.Kind == qcow2.HostCompressed && m.behind(ref) {
			return true
		}
	}
	return false
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

// TestUsageModel compares Usage with the model on random images.
func TestUsageModel(t *testing.T) {
	for seed := range uint64(300) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			b := randomHostImage(r).Build()
			if seed%3 != 0 {
				damageTables(r, b)
			}
			img := open(t, b)
			got, err := img.Usage(t.Context(), qcow2.UsageOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := usageModel(newHostModel(t, img, b.Bytes))
			want.Mapped = mappedModel(t, img)
			if diff := gocmp.Diff(want, *got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			sum := uint64(0)
			for _, k := range got.Kinds {
				sum += k.Bytes
			}
			if sum != got.FileSize {
				t.Errorf("the kinds have %d bytes, the file %d", sum, got.FileSize)
			}
		})
	}
}

// TestUsageSharedTables: what is mapped through one L2 table counts for each L1
// entry that points there, but for what lies past the end of the disk.
func TestUsageSharedTables(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 6<<15 - 512, Clusters: kinds{0: data, 63: data, 70: zero, 127: zeroAllocated, 170: data}}.Build()
	b.Set("l1[2]", b.Get("l1[0]"))
	for i, from := range []uint64{3: 0, 4: 1, 5: 0} {
		if i >= 3 {
			binary.BigEndian.PutUint64(b.Bytes[b.Get("l1_table_offset")+uint64(i)*8:], b.Get(fmt.Sprintf("l1[%d]", from)))
		}
	}
	img := open(t, b)
	u, err := img.Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// Entries 0, 2, 3 and 5 point to one table, whose last cluster is past the
	// disk in the last; 1 and 4 to another.
	want := qcow2.MappedUsage{Bytes: 512 * (4*2 - 1 + 2*2), Preallocated: 512 * 2, Zero: 512 * 2}
	if u.Mapped != want {
		t.Errorf("mapped %+v, want %+v", u.Mapped, want)
	}
	if model := mappedModel(t, img); u.Mapped != model {
		t.Errorf("mapped %+v, guest says %+v", u.Mapped, model)
	}
}

func TestUsageMapped(t *testing.T) {
	im := qcow2test.Image{ClusterBits: 12, Size: 1<<20 + 512, Clusters: kinds{0: data, 2: zero, 3: zero, 9: zeroAllocated, 256: data},
		Compressed: map[uint64]qcow2test.Compressed{20: {Sectors: 3}}}
	u, err := open(t, im.Build()).Usage(t.Context(), qcow2.UsageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := qcow2.MappedUsage{Bytes: 5*4096 + 512, Preallocated: 4096, Zero: 2 * 4096}
	if u.Mapped != want {
		t.Errorf("mapped %+v, want %+v", u.Mapped, want)
	}
}
