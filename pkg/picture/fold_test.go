package picture_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/picture"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// model adds up classes and runs the slow way: from every reference to each cluster
// by itself, and from the runs.
func model(t *testing.T, img *qcow2.Image, square uint64) (squares []picture.Square) {
	t.Helper()
	at := func(offset uint64) *picture.Square {
		for uint64(len(squares)) <= offset/square {
			squares = append(squares, picture.Square{Offset: uint64(len(squares)) * square})
		}
		return &squares[offset/square]
	}
	labels := map[uint64]qcow2.HostRange{}
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{PerCluster: true}) {
		if err == nil {
			labels[r.Offset] = *r
		}
	}
	active, others := map[uint64]bool{}, map[uint64]bool{}
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{Owners: true}) {
		if err == nil && r.HasReference {
			owners := others
			if r.Reference.Owner == qcow2.OwnerActive {
				owners = active
			}
			owners[r.Offset] = true
		}
	}
	for offset, r := range labels {
		at(offset).Bytes[class(&r, active[offset], others[offset])] += r.Length
	}
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{Sharing: true}) {
		if err != nil {
			continue
		}
		at(r.Offset).Runs++
		for offset := r.Offset; offset < r.Offset+r.Length; offset += square - offset%square {
			at(offset).RunLength = max(at(offset).RunLength, r.Length)
		}
	}
	return squares
}

// class returns the class of a cluster, given to whom it belongs.
func class(r *qcow2.HostRange, active, others bool) picture.Class {
	kinds := map[qcow2.HostKind]picture.Class{
		qcow2.HostZeroAllocated: picture.Zeros, qcow2.HostCompressed: picture.Compressed, qcow2.HostVMState: picture.VMState,
		qcow2.HostLeaked: picture.Leaked, qcow2.HostFree: picture.Free, qcow2.HostUnknown: picture.Unknown,
	}
	switch c, ok := kinds[r.Kind]; {
	case r.Problems != 0:
		return picture.Conflict
	case r.Kind != qcow2.HostData && !ok:
		return picture.Metadata
	case ok:
		return c
	case active && others:
		return picture.Shared
	case active:
		return picture.Active
	}
	return picture.Snapshots
}

// fold folds an image into at most n squares.
func fold(t *testing.T, img *qcow2.Image, n int) *picture.Picture {
	t.Helper()
	p, err := picture.Fold(t.Context(), img, picture.Options{Squares: n})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// open opens an image in memory.
func open(t *testing.T, b *qcow2test.Built) *qcow2.Image {
	t.Helper()
	img, err := qcow2.Open(b.Reader(), int64(len(b.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// TestFoldAgainstModel compares pictures of all malformed images, healthy ones
// among them, with the model.
func TestFoldAgainstModel(t *testing.T) {
	pictures := 0
	for name, built := range qcow2test.Malformed() {
		img, err := qcow2.Open(built.Reader(), int64(len(built.Bytes)))
		if err != nil || img.Supported() != nil {
			continue
		}
		for _, n := range []int{1, 7, 1000} {
			p, err := picture.Fold(t.Context(), img, picture.Options{Squares: n})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if len(p.Squares) > n {
				t.Errorf("%s: %d squares, want %d at most", name, len(p.Squares), n)
			}
			if diff := cmp.Diff(model(t, img, p.SquareSize), p.Squares); diff != "" {
				t.Errorf("%s in %d squares (-want +got):\n%s", name, n, diff)
			}
			pictures++
		}
	}
	if pictures < 300 {
		t.Errorf("only %d pictures were compared", pictures)
	}
}

// shared is an image with clusters of 512 bytes of all classes but VM state,
// compressed and unknown: the guest clusters 0 and 1 belong to the snapshot as well,
// as its table is cluster by cluster another.
func sharedImage() *qcow2test.Built {
	data, zeros := qcow2test.Data, qcow2test.ZeroAllocated
	return qcow2test.Image{
		ClusterBits: 9, Size: 64 << 9,
		Clusters:  map[uint64]qcow2test.Kind{0: data, 1: data, 2: zeros},
		Snapshots: []qcow2test.Snapshot{{ID: "1", Clusters: map[uint64]qcow2test.Kind{5: data}}},
	}.Build()
}

func TestFoldClasses(t *testing.T) {
	b := sharedImage()
	img := open(t, b)
	p := fold(t, img, 1000)
	all := p.Bytes()
	want := map[picture.Class]uint64{picture.Active: 2 << 9, picture.Zeros: 1 << 9, picture.Snapshots: 1 << 9}
	for c, n := range want {
		if all[c] != n {
			t.Errorf("%v has %d bytes, want %d", c, all[c], n)
		}
	}
	snapshot := b.Get("snapshot[0].l1[0]")
	b.Set("l1[0]", snapshot&^(1<<63)) // now both have the snapshot's table
	all = fold(t, open(t, b), 1000).Bytes()
	if all[picture.Shared] != 1<<9 || all[picture.Snapshots] != 0 || all[picture.Active] != 0 || all[picture.Leaked] != 4<<9 {
		t.Errorf("with one table: %v", all)
	}
}

// TestFoldWindow folds a part of the file: its first and last clusters are whole.
func TestFoldWindow(t *testing.T) {
	img := open(t, sharedImage())
	for _, tt := range []struct {
		offset, length uint64
		first          uint64
		squares        int
	}{
		{0, 0, 0, int((img.Size()-1)>>9 + 1)},
		{513, 1, 512, 1},
		{1023, 2, 512, 2},
		{uint64(img.Size()) - 1, 0, uint64(img.Size()-1) &^ 511, 1},
		{uint64(img.Size()) - 1, 1 << 40, uint64(img.Size()-1) &^ 511, 1},
		{0, 1 << 63, 0, int((img.Size()-1)>>9 + 1)},
	} {
		p, err := picture.Fold(t.Context(), img, picture.Options{Squares: 1000, Offset: tt.offset, Length: tt.length})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Squares) != tt.squares || p.Squares[0].Offset != tt.first {
			t.Errorf("from %d, %d bytes: %d squares from %d, want %d from %d", tt.offset, tt.length, len(p.Squares), p.Squares[0].Offset, tt.squares, tt.first)
		}
	}
	p, err := picture.Fold(t.Context(), img, picture.Options{Squares: 10, Offset: 1 << 40})
	if err != nil || len(p.Squares) != 0 {
		t.Errorf("past the end: %d squares, error %v, want none", len(p.Squares), err)
	}
}

// TestFoldWanted: no number of squares is refused, and none is more than MaxSquares.
func TestFoldWanted(t *testing.T) {
	b := qcow2test.Image{ClusterBits: 9, Size: 1 << 20}.Build()
	b.Bytes = append(b.Bytes, make([]byte, (picture.MaxSquares+1)<<9-len(b.Bytes))...)
	img := open(t, b)
	for wanted, want := range map[int]int{-1: 30001, 0: 30001, 1: 1, picture.MaxSquares + 1: 30001} {
		if n := len(fold(t, img, wanted).Squares); n != want {
			t.Errorf("of %d squares that are wanted there are %d, want %d", wanted, n, want)
		}
	}
}

func TestFoldErrors(t *testing.T) {
	unknown := qcow2test.Image{ClusterBits: 9, Size: 1 << 20, IncompatibleFeatures: 1 << 40}.Build()
	if _, err := picture.Fold(t.Context(), open(t, unknown), picture.Options{Squares: 1}); !errors.Is(err, qcow2.ErrUnsupported) {
		t.Errorf("unknown feature: error %v, want %v", err, qcow2.ErrUnsupported)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := picture.Fold(ctx, open(t, sharedImage()), picture.Options{Squares: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: error %v", err)
	}
	b := sharedImage()
	b.Set("l1[0]", 1<<50) // past the end of the file
	var damage []error
	if _, err := picture.Fold(t.Context(), open(t, b), picture.Options{Squares: 1, Damage: func(err error) { damage = append(damage, err) }}); err != nil || len(damage) != 1 {
		t.Errorf("a table past the end: error %v, damage %v, want one", err, damage)
	}
}

// TestScatter compares the grid with the clusters, one by one.
func TestScatter(t *testing.T) {
	img := open(t, qcow2test.Image{ClusterBits: 9, Size: 1000 << 9, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 500: qcow2test.Data, 999: qcow2test.ZeroAllocated, 1001: qcow2test.Data}}.Build())
	s := fold(t, img, 10).Scatter
	want := map[[2]uint64]uint64{} // bytes by column and row
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{PerCluster: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != qcow2.HostData && r.Kind != qcow2.HostZeroAllocated {
			continue
		}
		for i := range r.Length {
			guest, host := r.Reference.GuestOffset+i, r.Offset+i
			if guest >= s.GuestSize {
				break // past the end of the disk
			}
			want[[2]uint64{guest * uint64(s.Columns) / s.GuestSize, host * uint64(s.Rows) / s.HostSize}]++
		}
	}
	got := map[[2]uint64]uint64{}
	for row := range s.Rows {
		for column := range s.Columns {
			if _, n := s.At(column, row); n > 0 {
				got[[2]uint64{uint64(column), uint64(row)}] = n
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cells (-want +got):\n%s", diff)
	}
}
