package qcow2_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// upTo returns the default limits with another number of clusters that a table can
// lead to again.
func upTo(clusters uint64) qcow2.Option {
	l := qcow2.DefaultLimits()
	l.RepeatedTableBytes = clusters * 512
	return qcow2.WithLimits(l)
}

// repeatedL2 has eight L1 entries with a data cluster each. From the third on, they
// point to the L2 table of the first.
func repeatedL2() *qcow2test.Built {
	clusters := kinds{}
	for i := range uint64(8) {
		clusters[i*64] = data
	}
	b := qcow2test.Image{ClusterBits: 9, Size: 8 * 64 << 9, Clusters: clusters}.Build()
	for i := 2; i < 8; i++ {
		b.Set(fmt.Sprintf("l1[%d]", i), b.Get("l1[0]"))
	}
	return b
}

// entriesMapped returns the L1 entries whose data cluster a Mapper yields of those from one
// on and before another, and its errors.
func entriesMapped(m *qcow2.Mapper, from, to uint64) (entries []uint64, errs []error) {
	m.Map(from*64<<9, to*64<<9, func(p *qcow2.Mapping, err error) bool {
		if err != nil {
			errs = append(errs, err)
		} else {
			entries = append(entries, p.Start>>9/64)
		}
		return true
	})
	return entries, errs
}

// TestRepeatedL2Tables: an L1 table is followed until it has led to L2 tables again
// as often as is allowed. The rest is one error, and what was mapped is mapped again.
func TestRepeatedL2Tables(t *testing.T) {
	b := repeatedL2()
	for limit := range uint64(8) {
		m, err := open(t, b, upTo(limit)).Mapper(t.Context(), qcow2.GuestOptions{Mapped: true})
		if err != nil {
			t.Fatal(err)
		}
		stop := min(limit+2, 8)
		for _, r := range [...][2]uint64{{0, 8}, {1, 3}, {stop, 8}, {7, 8}, {0, 8}} {
			var want []uint64
			for i := r[0]; i < min(r[1], stop); i++ {
				want = append(want, i)
			}
			got, errs := entriesMapped(m, r[0], r[1])
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("limit %d, entries %v (-want +got):\n%s", limit, r, diff)
			}
			if n := len(errs); n != 0 && r[1] <= stop || n != 1 && r[1] > stop && r[0] < 8 {
				t.Fatalf("limit %d, entries %v: errors %v", limit, r, errs)
			}
			for _, err := range errs {
				if e := asError(t, err); !errors.Is(err, qcow2.ErrLimit) || e.Section != qcow2.SectionL1Table || e.Offset != b.Field(fmt.Sprintf("l1[%d]", stop)).Offset {
					t.Errorf("limit %d, entries %v: %v", limit, r, err)
				}
			}
		}
	}
}

// TestRepeatedL2TablesText: the error names what it is about.
func TestRepeatedL2TablesText(t *testing.T) {
	_, err := collect(open(t, repeatedL2(), upTo(1)).Guest(t.Context(), qcow2.GuestOptions{}))
	want := fmt.Sprintf("L1 table at offset %#x: from entry 3 on the table is not followed: "+
		"it leads to the same clusters again, 1024 bytes of them, above the limit of 512 (RepeatedTableBytes)", repeatedL2().Field("l1[3]").Offset)
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %v", err, want)
	}
}

// TestRepeatedL2TablesDiff: a diff tells what it does not know of tables that are not
// followed, once.
func TestRepeatedL2TablesDiff(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 8 * 64 << 9, Clusters: kinds{0: data, 64: data},
		Snapshots: []qcow2test.Snapshot{{ID: "1", DiskSize: 8 * 64 << 9, Clusters: kinds{0: data}}}}.Build()
	for i := 2; i < 8; i++ {
		b.Set(fmt.Sprintf("l1[%d]", i), b.Get("l1[0]"))
	}
	img := open(t, b, upTo(4))
	s, err := img.FindSnapshot("1")
	if err != nil {
		t.Fatal(err)
	}
	differences, totals := img.Diff(t.Context(), qcow2.DiffOptions{From: &s})
	var errs []error
	for _, err := range differences {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) != 1 || !errors.Is(errs[0], qcow2.ErrLimit) || !totals.Incomplete || totals.Unknown != 2*64<<9 {
		t.Errorf("errors %v, totals %+v", errs, *totals)
	}
}

// TestRepeatedRefcountBlocks: the refcount table is followed until it has led to
// blocks again as often as is allowed. The refcounts of the rest are unknown, and one
// finding says why.
func TestRepeatedRefcountBlocks(t *testing.T) {
	const perBlock = 4096
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, RefcountBits: 1}.Build()
	table, block := b.Field("refcount_table[0]").Offset, b.Get("refcount_table[0]")
	for i := range uint64(8) {
		binary.BigEndian.PutUint64(b.Bytes[table+i*8:], block)
	}
	for limit := range uint64(8) {
		stop := limit + 1
		img, err := qcow2.Open(holeReader(b.Bytes), 8*perBlock<<9, upTo(limit))
		if err != nil {
			t.Fatal(err)
		}
		unknown := uint64(0)
		for c, err := range img.Host(t.Context(), qcow2.HostOptions{}) {
			if err == nil && !c.HasRefcount {
				unknown += c.Length
			}
		}
		if want := (8 - min(stop, 8)) * perBlock << 9; unknown != want {
			t.Errorf("limit %d: the refcounts of %#x bytes are unknown, want %#x", limit, unknown, want)
		}
		var found []uint64
		if _, err := img.Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
			if f.Kind == qcow2.FindingRefcountTable {
				found = append(found, f.Entry)
			}
			return true
		}}); err != nil {
			t.Fatal(err)
		}
		var want []uint64
		if stop < 8 {
			want = []uint64{table + stop*8}
		}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("limit %d: findings of the refcount table (-want +got):\n%s", limit, diff)
		}
	}
}

// TestRepeatedRefcountBlocksOnce: check, which passes over blocks of clusters that are
// fine, ends where host does. What lies behind is unknown, and no leak.
func TestRepeatedRefcountBlocksOnce(t *testing.T) {
	const perBlock = 4096
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, RefcountBits: 1}.Build()
	table, zeros := b.Field("refcount_table[0]").Offset, uint64(len(b.Bytes)+511)&^511
	leak := zeros + 512
	b.Bytes = append(b.Bytes, make([]byte, leak+512-uint64(len(b.Bytes)))...)
	b.Bytes[leak] = 1
	for i := range uint64(7) {
		binary.BigEndian.PutUint64(b.Bytes[table+(i+1)*8:], zeros)
	}
	binary.BigEndian.PutUint64(b.Bytes[table+5*8:], leak)
	img, err := qcow2.Open(holeReader(b.Bytes), 8*perBlock<<9, upTo(2))
	if err != nil {
		t.Fatal(err)
	}
	const stop = 4 // 2 and 3 lead again to what 1 led to
	var ended []uint64
	for _, err := range img.Host(t.Context(), qcow2.HostOptions{}) {
		if e, ok := errors.AsType[*qcow2.Error](err); ok && errors.Is(e, qcow2.ErrLimit) {
			ended = append(ended, e.Offset)
		}
	}
	leaks := 0
	if _, err := img.Check(t.Context(), qcow2.CheckOptions{Finding: func(f *qcow2.Finding) bool {
		switch f.Kind {
		case qcow2.FindingRefcountTable:
			ended = append(ended, f.Entry)
		case qcow2.FindingLeak:
			leaks++
		}
		return true
	}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{table + stop*8, table + stop*8}, ended); diff != "" || leaks != 0 {
		t.Errorf("%d leaks; where host and check end (-want +got):\n%s", leaks, diff)
	}
}
