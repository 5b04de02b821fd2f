package qcow2_test

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestProgress: what is reported grows, and does not exceed the total.
func TestProgress(t *testing.T) {
	for name, shared := range map[string]bool{"tables of their own": false, "one table": true} {
		b := qcow2test.Image{ClusterBits: 9, Size: 4 << 15, Clusters: kinds{3: data, 70: data, 140: data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}, {ID: "2"}}}.Build()
		if shared {
			for _, field := range []string{"snapshot[0].l1_table_offset", "snapshot[1].l1_table_offset"} {
				b.Set(field, b.Get("l1_table_offset"))
			}
		}
		img := open(t, b)
		s, err := img.FindSnapshot("2")
		if err != nil {
			t.Fatal(err)
		}
		for work, run := range map[string]func(report func(done, total uint64)){
			"host": func(report func(done, total uint64)) {
				for range img.Host(t.Context(), qcow2.HostOptions{Progress: report}) {
				}
			},
			"host of a snapshot": func(report func(done, total uint64)) {
				for range img.Host(t.Context(), qcow2.HostOptions{Progress: report, Snapshot: &s}) {
				}
			},
			"check": func(report func(done, total uint64)) {
				if _, err := img.Check(t.Context(), qcow2.CheckOptions{Progress: report}); err != nil {
					t.Error(err)
				}
			},
			"usage": func(report func(done, total uint64)) {
				if _, err := img.Usage(t.Context(), qcow2.UsageOptions{Progress: report}); err != nil {
					t.Error(err)
				}
			},
		} {
			last, n := 0.0, 0
			run(func(done, total uint64) {
				part := float64(done) / float64(total)
				if part < last || part >= 1 {
					t.Errorf("%s, %s: %d of %d after a part of %g", name, work, done, total, last)
				}
				last = part
				n++
			})
			if n < 2 || last < 0.5 {
				t.Errorf("%s, %s: told %d times, the last time a part of %g", name, work, n, last)
			}
		}
	}
}
