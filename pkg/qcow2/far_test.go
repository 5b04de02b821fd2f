package qcow2_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

const (
	overlapStart = 1 << 20 // where the L1 tables of overlappingTables lie
	overlapEnd   = 3 << 20
)

// overlappingTables has L1 tables of a thousand clusters each that overlap: 70
// begin at one place, 20 each at two others. L2 entries lead into them, in front
// of them and past them, and refcounts are higher and lower than the references.
func overlappingTables(t *testing.T) *qcow2test.Built {
	t.Helper()
	const entries = 64 << 10 // of each table: 512 KiB
	b := qcow2test.Image{ClusterBits: 9, RefcountBits: 8, Size: 1 << 15, L1Size: 1, Clusters: kinds{0: data, 1: data, 2: data, 3: data, 4: data}, Snapshots: make([]qcow2test.Snapshot, 110)}.Build()
	if len(b.Bytes) > overlapStart {
		t.Fatalf("%d bytes before the tables", len(b.Bytes))
	}
	b.Bytes = append(b.Bytes, make([]byte, overlapEnd-len(b.Bytes))...)
	for i := range uint64(110) {
		offset := uint64(overlapStart)
		switch {
		case i >= 90:
			offset += 640 << 10 // over none
		case i >= 70:
			offset += 256 << 10
		}
		b.Set(fmt.Sprintf("snapshot[%d].l1_table_offset", i), offset).Set(fmt.Sprintf("snapshot[%d].l1_size", i), entries)
	}
	binary.BigEndian.PutUint64(b.Bytes[overlapStart+300<<10:], b.Get("l1[0]")) // of 90 snapshots
	for i, offset := range []uint64{overlapStart - 512, overlapStart, overlapStart + 300<<10, overlapStart + 700<<10, overlapEnd - 512} {
		b.Set(fmt.Sprintf("l2[0][%d]", i), offset)
	}
	return b
}

// TestFarStructures: clusters of structures, and what else refers to them, are the
// same whether there is a place for every cluster of the file or not.
func TestFarStructures(t *testing.T) {
	b := overlappingTables(t)
	near, far := open(t, b), openAs(t, b, 1<<40)
	for _, o := range []qcow2.HostOptions{{}, {PerCluster: true}, {Owners: true, Limit: 3}, {Owners: true, Offset: overlapStart + 299<<10, Length: 4 << 10}} {
		if diff := cmp.Diff(rowsBefore(t, near, o), rowsBefore(t, far, o)); diff != "" {
			t.Errorf("%+v (-near +far):\n%s", o, diff)
		}
	}
	want, wantResult := check(t, near)
	got, result := check(t, far)
	if diff := cmp.Diff(want, got); diff != "" || result != wantResult || len(want) < 10 {
		t.Errorf("%+v and %+v (-near +far):\n%s", wantResult, result, diff)
	}
	nearUsage, err1 := near.Usage(t.Context(), qcow2.UsageOptions{})
	farUsage, err2 := far.Usage(t.Context(), qcow2.UsageOptions{})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(nearUsage.Owners, farUsage.Owners); diff != "" {
		t.Errorf("owners (-near +far):\n%s", diff)
	}
	if got := farUsage.Owners[100].Referenced; got != 512<<10 {
		t.Errorf("the snapshots that share a table have %d bytes, want %d", got, 512<<10)
	}
	if nearUsage.ImageEndOffset != overlapEnd || farUsage.ImageEndOffset != overlapEnd {
		t.Errorf("the image ends at %#x and %#x, want %#x", nearUsage.ImageEndOffset, farUsage.ImageEndOffset, overlapEnd)
	}
}

// rowsBefore returns what the clusters before overlapEnd hold.
func rowsBefore(t *testing.T, img *qcow2.Image, o qcow2.HostOptions) []string {
	t.Helper()
	var rows []string
	for r, err := range img.Host(t.Context(), o) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Offset >= overlapEnd {
			break
		}
		rows = append(rows, fmt.Sprintf("%+v", *r))
	}
	return rows
}

// TestCancelFarAway: a cancelled context ends what goes through clusters without
// a word one by one.
func TestCancelFarAway(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, RefcountBits: 8, Size: 1 << 15}.Build()
	block := b.Get("refcount_table[0]")
	for i := range uint64(512) {
		b.Bytes[block+i] = byte(i) | 1 // no two that follow each other are alike
	}
	const n = 1 << 14
	b.Set("refcount_table_offset", uint64(len(b.Bytes))).Set("refcount_table_clusters", n*8/512)
	for range n {
		b.Bytes = binary.BigEndian.AppendUint64(b.Bytes, block)
	}
	img := openAs(t, b, n*512*512)
	for name, run := range map[string]func(context.Context, func(uint64, uint64)){
		"host": func(ctx context.Context, report func(uint64, uint64)) {
			for range img.Host(ctx, qcow2.HostOptions{Progress: report, Wanted: func(qcow2.HostKind) bool { return false }}) {
			}
		},
		"check": func(ctx context.Context, report func(uint64, uint64)) {
			if _, err := img.Check(ctx, qcow2.CheckOptions{Progress: report}); !errors.Is(err, context.Canceled) {
				t.Errorf("check: %v", err)
			}
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		calls := 0
		run(ctx, func(done, total uint64) {
			if done > total/2+total/64 {
				calls++
				cancel()
			}
		})
		cancel()
		if calls == 0 || calls > 2 {
			t.Errorf("%s: told %d times after it was cancelled", name, calls)
		}
	}
}
