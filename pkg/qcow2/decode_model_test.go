package qcow2_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestDecodeModel compares every entry of every table of images, decoded by itself,
// with the raw bytes and with what Guest and Host say of it.
func TestDecodeModel(t *testing.T) {
	files, err := filepath.Glob("../../testdata/images/*.qcow2")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(filepath.Base(name), func(t *testing.T) { newDecodeModel(t, p).compare() })
	}
	for name, im := range qcow2test.MalformedBase() {
		t.Run(name, func(t *testing.T) {
			if m := newDecodeModel(t, im.Build().Bytes); m.compare() < 2 {
				t.Errorf("%d entries compared with guest", m.compared)
			}
		})
	}
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 4))
			b := randomHostImage(r).Build()
			if seed%2 == 1 {
				damageTables(r, b)
				damage(r, b)
			}
			newDecodeModel(t, b.Bytes).compare()
		})
	}
}

// A guestCluster is a guest cluster of the active image (-1) or of a snapshot.
type guestCluster struct {
	owner qcow2.Owner
	start uint64
}

// A decodeModel is what Guest and Host say of an image.
type decodeModel struct {
	t         *testing.T
	file      []byte
	img       *qcow2.Image
	g         qcow2.Geometry
	mappings  map[guestCluster]qcow2.Mapping
	refcounts map[uint64]uint64 // of clusters whose refcount can be read
	tables    []qcow2.HostRange // every reference to a cluster of metadata
	targets   map[uint64][]uint64
	compared  int // entries that a mapping was compared with
}

func newDecodeModel(t *testing.T, file []byte) *decodeModel {
	t.Helper()
	img, err := qcow2.Open(holeReader(file), int64(len(file)))
	if err != nil {
		return &decodeModel{t: t} // no header is left
	}
	m := &decodeModel{t: t, file: file, img: img, mappings: map[guestCluster]qcow2.Mapping{}, refcounts: map[uint64]uint64{}, targets: map[uint64][]uint64{}}
	if m.g, err = img.Geometry(); err != nil || img.Supported() != nil {
		return m
	}
	m.map1(qcow2.OwnerActive, nil)
	for s, err := range img.Snapshots() {
		if err == nil {
			m.map1(qcow2.Owner(s.Index), &s)
		}
	}
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{PerCluster: true}) {
		if err == nil && r.HasRefcount {
			m.refcounts[r.Offset] = r.Refcount
		}
	}
	for r, err := range img.Host(t.Context(), qcow2.HostOptions{Owners: true}) {
		if err != nil || !r.HasReference {
			continue
		}
		m.targets[r.Reference.Entry] = append(m.targets[r.Reference.Entry], r.Offset)
		if r.Kind.Metadata() {
			m.tables = append(m.tables, *r)
		}
	}
	return m
}

// map1 keeps the mapping of an owner.
func (m *decodeModel) map1(owner qcow2.Owner, s *qcow2.Snapshot) {
	for p, err := range m.img.Guest(m.t.Context(), qcow2.GuestOptions{Snapshot: s, PerCluster: true, VMState: true}) {
		if err == nil {
			m.mappings[guestCluster{owner, p.Start}] = *p
		}
	}
}

// compare decodes every table. It returns how many entries guest has an answer for.
func (m *decodeModel) compare() int {
	for i := range m.tables {
		r := &m.tables[i]
		table, err := m.img.TableOf(r)
		if err != nil {
			if r.Kind != qcow2.HostEncryptionHeader {
				m.t.Errorf("%+v: %v", r, err)
			}
			continue
		}
		if m.img.Entries(table) > 0 {
			m.compareTable(r, table)
		}
	}
	return m.compared
}

// compareTable compares the entries of a table one by one, and runs with them.
func (m *decodeModel) compareTable(r *qcow2.HostRange, table *qcow2.Table) {
	n, whole := uint64(0), true
	for e, err := range m.img.Decode(m.t.Context(), table, qcow2.DecodeOptions{PerEntry: true, Zeros: true}) {
		if err != nil {
			whole = false
			if !errors.Is(err, qcow2.ErrTruncated) {
				m.t.Error(err)
			}
			continue
		}
		if e.Index != table.First+n || e.Count != 1 || e.Step != 0 {
			m.t.Fatalf("%s: entry %d is %s", r.Kind, n, entryLine(e))
		}
		n++
		m.compareWord(r.Kind, e)
		m.compareEntry(r, e)
	}
	if want := m.img.Entries(table); whole && n != want {
		m.t.Errorf("%s at %#x: %d entries, want %d", r.Kind, r.Offset, n, want)
	}
	m.compareRuns(table)
}

// compareWord compares the value with the bytes of the file.
func (m *decodeModel) compareWord(kind qcow2.HostKind, e *qcow2.TableEntry) {
	var want uint64
	switch kind {
	case qcow2.HostBitmapData:
		want = uint64(m.file[e.Offset]) >> e.Bit & 1
	case qcow2.HostRefcountBlock:
		if m.g.RefcountBits < 8 {
			want = uint64(m.file[e.Offset]) >> e.Bit & (1<<m.g.RefcountBits - 1)
			break
		}
		for _, b := range m.file[e.Offset:][:m.g.RefcountBits/8] {
			want = want<<8 | uint64(b)
		}
	default:
		want = binary.BigEndian.Uint64(m.file[e.Offset:])
	}
	if e.Value != want {
		m.t.Errorf("%s: %s, but the file has %#x", kind, entryLine(e), want)
	}
}

// compareEntry compares what an entry says with Guest and Host.
func (m *decodeModel) compareEntry(r *qcow2.HostRange, e *qcow2.TableEntry) {
	if r.Kind == qcow2.HostRefcountBlock {
		if want, ok := m.refcounts[e.HostOffset]; ok && r.Problems == 0 && want != e.Refcount && r.References == 1 {
			m.t.Errorf("%s, but the refcount is %d", entryLine(e), want)
		}
		return
	}
	cluster := e.HostOffset &^ (m.g.ClusterSize - 1)
	if e.HasRefcount {
		if want, ok := m.refcounts[cluster]; !ok || want != e.Refcount {
			m.t.Errorf("%s: %s, but the refcount is %d (known: %t)", r.Kind, entryLine(e), want, ok)
		}
	}
	if e.HasHost && e.Problems == 0 && m.img.Header().IncompatibleFeatures&qcow2.ExternalDataFile == 0 && !slices.Contains(m.targets[e.Offset], cluster) {
		m.t.Errorf("%s: %s, but host says that it points to %#x", r.Kind, entryLine(e), m.targets[e.Offset])
	}
	if p, ok := m.mappings[guestCluster{r.Reference.Owner, e.GuestOffset}]; ok && r.Kind == qcow2.HostL2Table && r.Problems == 0 {
		m.compared++
		got := qcow2.Mapping{Start: e.GuestOffset, Length: p.Length, HostOffset: e.HostOffset, HasHost: e.HasHost, Sectors: e.Sectors, Problems: e.Problems}
		got.Kind = p.Kind
		if got.HasSubclusterBitmap = e.HasBitmap && p.Kind != qcow2.MappingCompressed; got.HasSubclusterBitmap {
			got.SubclusterBitmap = e.Bitmap
		}
		if diff := cmp.Diff(p, got); diff != "" || p.Kind.String() != e.Kind.String() {
			m.t.Errorf("%s (-guest +decode):\n%s", entryLine(e), diff)
		}
	}
}

// compareRuns compares runs, taken apart, with the entries.
func (m *decodeModel) compareRuns(table *qcow2.Table) {
	for _, zeros := range []bool{false, true} {
		var want, got []string
		for e, err := range m.img.Decode(m.t.Context(), table, qcow2.DecodeOptions{PerEntry: true, Zeros: zeros}) {
			if err == nil {
				want = append(want, fmt.Sprintf("%d %#x %s %#x %d %#x %s", e.Index, e.Value, e.Kind, e.HostOffset, e.Refcount, e.Reserved, e.Problems))
			}
		}
		for e, err := range m.img.Decode(m.t.Context(), table, qcow2.DecodeOptions{Zeros: zeros}) {
			if err != nil {
				continue
			}
			step := e.Step
			if table.Kind == qcow2.HostRefcountBlock {
				step = m.g.ClusterSize // the clusters that refcounts are of
			}
			for i := range e.Count {
				host := e.HostOffset
				if e.HasHost {
					host += i * step
				}
				got = append(got, fmt.Sprintf("%d %#x %s %#x %d %#x %s", e.Index+i, e.Value+i*e.Step, e.Kind, host, e.Refcount, e.Reserved, e.Problems))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			m.t.Errorf("%s at %#x (-entries +runs):\n%s", table.Kind, table.Offset, diff)
		}
	}
}
