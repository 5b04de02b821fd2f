package qcow2_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// seed adds small images of every kind to the corpus of a fuzz target.
func seed(f *testing.F) {
	f.Helper()
	names := []byte{0, 62}
	names = append(names, make([]byte, 46)...)
	for _, image := range []qcow2test.Image{
		{ClusterBits: 9, Size: 1 << 15},
		{ClusterBits: 9, Version: 2, Size: 1 << 15, BackingFile: "base", Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "n", ExtraSize: -1}}},
		{ClusterBits: 9, Size: 1 << 15, Snapshots: []qcow2test.Snapshot{{ID: "1", Name: "n"}, {ID: "2", UnknownExtra: []byte("12345678")}}},
		{ClusterBits: 9, Size: 1 << 15, Bitmaps: []qcow2test.Bitmap{{Name: "a"}, {Name: "b", Flags: 3}}},
		{ClusterBits: 9, Size: 1 << 15, Extensions: []qcow2test.Extension{{Type: uint32(qcow2.ExtFeatureNames), Data: names}, {Type: 7}}},
		{ClusterBits: 9, LUKS: make([]byte, 592)},
	} {
		f.Add(image.Build().Bytes)
	}
	files, err := filepath.Glob("../../testdata/images/*.qcow2")
	if err != nil || len(files) == 0 {
		f.Fatalf("no images: %v", err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(p) < 8<<10 { // the fuzzer takes minutes to minimise a longer one
			f.Add(p)
		}
	}
}

// openFuzzed opens p and checks what is true of every error of Open.
func openFuzzed(t *testing.T, p []byte) *qcow2.Image {
	t.Helper()
	img, err := qcow2.Open(bytes.NewReader(p), int64(len(p)), qcow2.WithLimits(qcow2.NoLimits()))
	if err != nil {
		checkError(t, p, err)
		return nil
	}
	return img
}

// openStrict opens p, which can be opened, with tables that lead to nothing twice.
func openStrict(t *testing.T, p []byte) *qcow2.Image {
	t.Helper()
	limits := qcow2.NoLimits()
	limits.RepeatedTableBytes = 0
	img, err := qcow2.Open(bytes.NewReader(p), int64(len(p)), qcow2.WithLimits(limits))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// checkError checks that err has a type, and points into the file, right after it,
// or to an offset that the file claims to have.
func checkError(t *testing.T, p []byte, err error) {
	t.Helper()
	e, ok := errors.AsType[*qcow2.Error](err)
	if !ok {
		t.Fatalf("%v (%T) is not an *Error", err, err)
	}
	if e.Offset > uint64(len(p)) && !errors.Is(e, qcow2.ErrTruncated) && !errors.Is(e, qcow2.ErrCorrupt) {
		t.Fatalf("%v: offset past the end of the file of %d bytes", e, len(p))
	}
	for _, c := range e.Error() {
		if c < ' ' {
			t.Fatalf("the error %q has control characters", e.Error())
		}
	}
}

func FuzzHeader(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		sum := 0
		for field, value := range img.Header().Fields() {
			sum += field.Size
			if field.Size < 8 && value>>(8*field.Size) != 0 {
				t.Errorf("%s = %#x in %d bytes", field.Name, value, field.Size)
			}
		}
		if sum+len(img.Header().Rest) > len(p) {
			t.Errorf("%d bytes of fields in a file of %d", sum, len(p))
		}
		errs := img.HeaderErrors()
		for _, e := range errs {
			checkError(t, p, e)
		}
		g, err := img.Geometry()
		if err != nil {
			if len(errs) == 0 {
				t.Errorf("Geometry: %v, but HeaderErrors is empty", err)
			}
			return
		}
		if g.Clusters*g.ClusterSize < g.VirtualSize && g.Clusters != 1<<(64-g.ClusterBits) {
			t.Errorf("%d clusters for %d bytes", g.Clusters, g.VirtualSize)
		}
		if _, _, err := img.BackingFile(); err != nil {
			checkError(t, p, err)
		}
	})
}

func FuzzExtensions(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		total := 0
		for x, err := range img.Extensions() {
			if err != nil {
				checkError(t, p, err)
				break
			}
			total += 8 + len(x.Data)
		}
		if total > len(p) {
			t.Errorf("%d bytes of extensions in a file of %d", total, len(p))
		}
		fuzzPointers(t, img, p)
		if n := len(img.FeatureNames()); n*48 > len(p) {
			t.Errorf("%d feature names in a file of %d bytes", n, len(p))
		}
	})
}

// fuzzPointers follows the extensions that point to more than a text.
func fuzzPointers(t *testing.T, img *qcow2.Image, p []byte) {
	t.Helper()
	total := 0
	for b, err := range img.Bitmaps() {
		if err != nil {
			checkError(t, p, err)
			break
		}
		total += 24 + len(b.Name)
		for _, e := range b.Damage {
			checkError(t, p, e)
		}
	}
	if total > len(p) {
		t.Errorf("%d bytes of bitmap directory in a file of %d", total, len(p))
	}
	l, ok, err := img.LUKS()
	if err != nil {
		checkError(t, p, err)
	}
	if !ok || err != nil {
		return
	}
	for _, e := range l.Damage {
		checkError(t, p, e)
	}
}

func FuzzSnapshotTable(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, p []byte) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		n, total := 0, 0
		for s, err := range img.Snapshots() {
			if err != nil {
				checkError(t, p, err)
				break
			}
			if s.Index != n || s.Offset >= uint64(len(p)) {
				t.Errorf("entry %d has index %d and offset %#x", n, s.Index, s.Offset)
			}
			n++
			total += 40 + len(s.Extra) + len(s.ID) + len(s.Name) // what is kept of it
			for _, e := range s.Damage {
				checkError(t, p, e)
			}
		}
		if total > len(p) {
			t.Errorf("%d bytes of snapshot table in a file of %d", total, len(p))
		}
	})
}

// fuzzedMappings bounds how many mappings of an image a fuzz target looks at:
// without a mapping there can be many single clusters.
const fuzzedMappings = 20000

func FuzzGuest(f *testing.F) {
	for _, image := range []qcow2test.Image{
		{ClusterBits: 9, Size: 80 << 9, Clusters: kinds{0: data, 1: data, 2: zero, 4: zeroAllocated, 63: data, 64: data, 90: data}},
		{ClusterBits: 9, Version: 2, Size: 1000, Clusters: kinds{0: data}, Compressed: map[uint64]qcow2test.Compressed{1: {Offset: 9, Sectors: 2}}},
		{ClusterBits: 9, Size: 4 << 9, Clusters: kinds{0: data}, Snapshots: []qcow2test.Snapshot{{ID: "1"}, {ID: "2", DiskSize: 9 << 9, Clusters: kinds{8: data}}}},
		{ClusterBits: 12, Size: 4 << 12, IncompatibleFeatures: 1 << 2, Clusters: kinds{0: data, 1: zeroAllocated}},
		{ClusterBits: 14, Size: 3<<14 + 512, IncompatibleFeatures: 1 << 4, Clusters: kinds{0: data, 1: zero, 3: data}, Subclusters: map[uint64]uint64{0: 0xff00ff, 3: 1}},
	} {
		b := image.Build()
		healthy := bytes.Clone(b.Bytes)
		f.Add(healthy, uint64(0), uint64(0), false, uint8(0))
		f.Add(healthy, uint64(513), uint64(1<<15), true, uint8(2))
		f.Add(healthy, uint64(0x1400), uint64(1), false, uint8(0))
		f.Add(b.Set("l1[0]", b.Get("l1_table_offset")|1).Bytes, uint64(0), uint64(0), true, uint8(0))
	}
	f.Add(repeatedL2().Bytes, uint64(0), uint64(0), false, uint8(0))
	f.Fuzz(func(t *testing.T, p []byte, offset, length uint64, vmState bool, snapshot uint8) {
		img := openFuzzed(t, p)
		if img == nil {
			return
		}
		o := qcow2.GuestOptions{Offset: offset, Length: length, VMState: vmState}
		for s, err := range img.Snapshots() {
			if err == nil && s.Index+1 == int(snapshot) {
				o.Snapshot = &s
			}
		}
		runs := fuzzWalk(t, p, img, o)
		o.PerCluster = true
		each := fuzzWalk(t, p, img, o)
		if runs.whole && each.whole && !slices.Equal(runs.errs, each.errs) {
			t.Errorf("%+v: errors %q in runs, but %q in clusters", o, runs.errs, each.errs)
		}
		g, _ := img.Geometry()
		sameMappings(t, o, runs, each, g.SubclusterSize)
		sameStart(t, each, fuzzWalk(t, p, openStrict(t, p), o))
	})
}

// sameStart checks that a walk which RepeatedTableBytes may have ended is the start of
// the one without limits.
func sameStart(t *testing.T, all, limited walked) {
	t.Helper()
	n, errs := len(limited.mappings), len(limited.errs)
	ended := errs > 0 && strings.HasSuffix(limited.errs[errs-1], "(RepeatedTableBytes)")
	if ended {
		errs--
	}
	if n > len(all.mappings) || !slices.Equal(limited.mappings, all.mappings[:n]) || !ended && n < len(all.mappings) {
		t.Fatalf("%d mappings with the limit, ended by it: %t; %d without, or others", n, ended, len(all.mappings))
	}
	if errs > len(all.errs) || !slices.Equal(limited.errs[:errs], all.errs[:errs]) || !ended && errs < len(all.errs) {
		t.Fatalf("errors %q with the limit, %q without", limited.errs, all.errs)
	}
}

// A walked is what Guest yielded.
type walked struct {
	mappings []qcow2.Mapping
	errs     []string
	whole    bool // to the end
}

// fuzzWalk checks what is true of every sequence of mappings.
func fuzzWalk(t *testing.T, p []byte, img *qcow2.Image, o qcow2.GuestOptions) walked {
	t.Helper()
	w := walked{whole: true}
	g, _ := img.Geometry()
	size := g.VirtualSize
	if o.Snapshot != nil {
		size = o.Snapshot.DiskSize &^ 511
	}
	next, lost := uint64(0), true // where the next mapping begins, unless something was lost
	for m, err := range img.Guest(t.Context(), o) {
		if err != nil {
			checkError(t, p, err)
			w.errs = append(w.errs, err.Error())
			lost = true
			continue
		}
		end := m.Start + m.Length
		behind := o.VMState && m.Start >= size
		cut := behind && next == size && m.Start-next < g.ClusterSize // the rest of the last cluster
		switch {
		case m.Length == 0 || end < m.Start || end > size && !behind:
			t.Fatalf("%+v: mapping %+v of a disk of %#x bytes", o, m, size)
		case m.Start < next || m.Start > next && !lost && !cut:
			t.Fatalf("%+v: mapping %+v where %#x goes on", o, m, next)
		case o.PerCluster && m.Start/g.ClusterSize != (end-1)/g.ClusterSize:
			t.Fatalf("%+v: mapping %+v is more than a cluster of %#x", o, m, g.ClusterSize)
		}
		checkMapping(t, m, o.PerCluster && g.L2EntrySize == 16)
		next, lost = end, false
		if w.mappings = append(w.mappings, *m); len(w.mappings) == fuzzedMappings {
			w.whole = false
			break
		}
	}
	return w
}

// checkMapping checks what is true of every mapping.
func checkMapping(t *testing.T, m *qcow2.Mapping, bitmap bool) {
	t.Helper()
	unallocated, compressed := m.Kind == qcow2.MappingUnallocated, m.Kind == qcow2.MappingCompressed
	needsHost := m.Kind == qcow2.MappingData || m.Kind == qcow2.MappingZeroAllocated || compressed
	switch {
	case int(m.Kind) >= len(qcow2.MappingKindNames()), int(m.Problems)>>len(qcow2.ProblemNames()) != 0,
		needsHost && !m.HasHost, m.HasHost && !needsHost && !unallocated,
		compressed != (m.Sectors > 0), m.HasSubclusterBitmap && (compressed || !bitmap):
		t.Fatalf("mapping %+v", m)
	}
}

// sameMappings checks that runs and single clusters agree about every byte that
// both reach and the options select: runs can leave out subclusters.
func sameMappings(t *testing.T, o qcow2.GuestOptions, runs, each walked, subcluster uint64) {
	t.Helper()
	last := o.Offset + o.Length - 1
	if o.Length == 0 || last < o.Offset {
		last = math.MaxUint64
	}
	i := 0
	for _, cluster := range each.mappings {
		for _, m := range subclusters(cluster, subcluster) {
			if m.Start+m.Length-1 < o.Offset || m.Start > last {
				continue
			}
			for i < len(runs.mappings) && runs.mappings[i].Start+runs.mappings[i].Length <= m.Start {
				i++
			}
			if i == len(runs.mappings) {
				if runs.whole {
					t.Fatalf("no run has cluster %+v", m)
				}
				return
			}
			r := runs.mappings[i]
			host := r.HostOffset
			if m.Kind != qcow2.MappingCompressed {
				host += m.Start - r.Start
			}
			if m.Start < r.Start || m.Start+m.Length > r.Start+r.Length || m.Kind != r.Kind || m.Sectors != r.Sectors ||
				m.HasHost != r.HasHost || m.HasHost && m.HostOffset != host || m.Problems != r.Problems {
				t.Fatalf("cluster %+v, but run %+v", m, r)
			}
		}
	}
}

// subclusters returns the subclusters of a cluster that has some, else the
// cluster.
func subclusters(m qcow2.Mapping, size uint64) []qcow2.Mapping {
	if !m.HasSubclusterBitmap {
		return []qcow2.Mapping{m}
	}
	var all []qcow2.Mapping
	for i := uint64(0); i*size < m.Length; i++ {
		allocated, zero := m.SubclusterBitmap>>i&1 != 0, m.SubclusterBitmap>>(i+32)&1 != 0
		s := m
		s.Start, s.Length, s.HostOffset = m.Start+i*size, min(size, m.Length-i*size), m.HostOffset+i*size
		s.Kind = subclusterKind(allocated, zero, m.HasHost)
		s.Problems &^= qcow2.InvalidSubclusters
		if allocated && (zero || !m.HasHost) {
			s.Problems |= qcow2.InvalidSubclusters
		}
		all = append(all, s)
	}
	return all
}

func subclusterKind(allocated, zero, host bool) qcow2.MappingKind {
	switch {
	case allocated && host:
		return qcow2.MappingData
	case zero && host:
		return qcow2.MappingZeroAllocated
	case zero:
		return qcow2.MappingZero
	}
	return qcow2.MappingUnallocated
}
