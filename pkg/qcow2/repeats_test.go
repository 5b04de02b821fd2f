package qcow2_test

import (
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

func TestRepeats(t *testing.T) {
	data := map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 200: qcow2test.Data}
	compressed := map[uint64]qcow2test.Compressed{3: {Offset: 0, Sectors: 1}, 4: {Offset: 100, Sectors: 1}}
	base := qcow2test.Image{ClusterBits: 9, Size: 1 << 17, Clusters: data, Compressed: compressed}
	snapshots := base
	snapshots.Snapshots = []qcow2test.Snapshot{{ID: "1"}, {ID: "2", Clusters: data}}
	repeat := func(count, offset uint64) qcow2.Repeat { return qcow2.Repeat{Count: count, Offset: offset} }
	same := func(to, from string) func(*qcow2test.Built) {
		return func(b *qcow2test.Built) { b.Set(to, b.Get(from)) }
	}
	entry := func(b *qcow2test.Built, name string) uint64 { return b.Get(name) & (1<<56 - 1<<9) }
	tests := []struct {
		name  string
		image qcow2test.Image
		patch func(*qcow2test.Built)
		want  func(*qcow2test.Built) qcow2.Repeats
	}{
		{"healthy", base, nil, nil},
		{"snapshots share everything", snapshots, nil, nil},
		{"a data cluster twice in a table", base, same("l2[0][1]", "l2[0][0]"), func(b *qcow2test.Built) qcow2.Repeats {
			return qcow2.Repeats{Clusters: repeat(1, entry(b, "l2[0][0]"))}
		}},
		{"a data cluster in two tables", base, same("l2[3][8]", "l2[0][0]"), func(b *qcow2test.Built) qcow2.Repeats {
			return qcow2.Repeats{Clusters: repeat(1, entry(b, "l2[0][0]"))}
		}},
		{"the same, with snapshots", snapshots, same("l2[3][8]", "l2[0][0]"), func(b *qcow2test.Built) qcow2.Repeats {
			return qcow2.Repeats{Clusters: repeat(1, entry(b, "l2[0][0]"))}
		}},
		{"an L2 table twice", base, same("l1[1]", "l1[0]"), func(b *qcow2test.Built) qcow2.Repeats {
			return qcow2.Repeats{Clusters: repeat(1, entry(b, "l1[0]"))}
		}},
		{"compressed data twice", base, same("l2[0][4]", "l2[0][3]"), func(*qcow2test.Built) qcow2.Repeats {
			return qcow2.Repeats{Compressed: repeat(1, 512)}
		}},
		{"a cluster of a snapshot alone, twice", snapshots, func(b *qcow2test.Built) {
			b.Set("snapshot[1].l2[0][1]", b.Get("snapshot[1].l2[0][0]"))
		}, func(b *qcow2test.Built) qcow2.Repeats {
			return qcow2.Repeats{Clusters: repeat(1, entry(b, "snapshot[1].l2[0][0]"))}
		}},
		{"a cluster of the active image in a snapshot's table", snapshots, func(b *qcow2test.Built) {
			b.Set("snapshot[1].l2[0][1]", b.Get("l2[0][0]"))
		}, nil},
	}
	for _, tt := range tests {
		b := tt.image.Build()
		if tt.patch != nil {
			tt.patch(b)
		}
		var want qcow2.Repeats
		if tt.want != nil {
			want = tt.want(b)
		}
		got, err := open(t, b).Repeats(t.Context())
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", tt.name, got, err, want)
		}
	}
}
