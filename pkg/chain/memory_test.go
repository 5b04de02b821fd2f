package chain_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/chain"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// memory is an Opener of files in memory, as a program has one that keeps images
// elsewhere.
type memory map[string]*memoryFile

func (m memory) Open(name string) (chain.File, error) {
	if f, ok := m[name]; ok {
		return f, nil
	}
	return nil, fs.ErrNotExist
}

func (m memory) Stat(string) (fs.FileInfo, error) { return nil, fs.ErrNotExist }

// A memoryFile has data in the given ranges and holes elsewhere; without ranges its
// holes are not known.
type memoryFile struct {
	*bytes.Reader
	data [][2]uint64
}

func (f *memoryFile) Close() error                           { return nil }
func (f *memoryFile) Info() fs.FileInfo                      { return nil }
func (f *memoryFile) AllocatedBytes() (int64, bool)          { return 0, false }
func (f *memoryFile) Changed() (bool, bool)                  { return false, false }
func (f *memoryFile) OpenElsewhere() (qcow2.Elsewhere, bool) { return qcow2.ElsewhereWriting, true }

func (f *memoryFile) DataRange(offset uint64) (start, end uint64, err error) {
	if f.data == nil {
		return 0, 0, fmt.Errorf("no holes: %w", fs.ErrInvalid)
	}
	for _, d := range f.data {
		if offset < d[1] {
			return max(offset, d[0]), d[1], nil
		}
	}
	return uint64(f.Size()), uint64(f.Size()), nil
}

// inMemory returns a file in memory.
func inMemory(content []byte, data ...[2]uint64) *memoryFile {
	return &memoryFile{bytes.NewReader(content), data}
}

// readMemory reads the chain of an image in memory.
func readMemory(t *testing.T, top []byte, m memory) *chain.Chain {
	t.Helper()
	f := inMemory(top)
	img, err := qcow2.Open(f, f.Size())
	if err != nil {
		t.Fatal(err)
	}
	return chain.Read("top", img, f, chain.Options{Opener: m})
}

// extents returns the merged mapping in words.
func extents(t *testing.T, c *chain.Chain, o chain.MapOptions) []string {
	t.Helper()
	var all []string
	for e, err := range c.Map(t.Context(), o) {
		switch {
		case err != nil:
			all = append(all, err.Error())
		case e.Unknown:
			all = append(all, fmt.Sprintf("%#x+%#x %d unknown", e.Start, e.Length, e.Depth))
		case e.HasHost:
			all = append(all, fmt.Sprintf("%#x+%#x %d %v %#x", e.Start, e.Length, e.Depth, e.Kind, e.HostOffset))
		default:
			all = append(all, fmt.Sprintf("%#x+%#x %d %v", e.Start, e.Length, e.Depth, e.Kind))
		}
	}
	return all
}

// TestRawMap: a raw layer has data, holes, the rest of its last sector, and an end.
func TestRawMap(t *testing.T) {
	tests := []struct {
		file *memoryFile
		want []string
	}{
		{inMemory(make([]byte, 100000)), []string{"0x0+0x186a0 1 data 0x0", "0x186a0+0x160 1 zero-allocated 0x186a0", "0x18800+0x27800 0 unallocated"}},
		{inMemory(make([]byte, 0x30000), [2]uint64{0x1000, 0x2000}, [2]uint64{0x20000, 0x21000}), []string{
			"0x0+0x1000 1 zero-allocated 0x0", "0x1000+0x1000 1 data 0x1000", "0x2000+0x1e000 1 zero-allocated 0x2000",
			"0x20000+0x1000 1 data 0x20000", "0x21000+0xf000 1 zero-allocated 0x21000", "0x30000+0x10000 0 unallocated",
		}},
		{inMemory(make([]byte, 0x50000), [2]uint64{0, 0x50000}), []string{"0x0+0x40000 1 data 0x0"}},
		{inMemory(nil), []string{"0x0+0x40000 0 unallocated"}},
	}
	for _, tt := range tests {
		c := readMemory(t, overlay("base", "raw").Build().Bytes, memory{"base": tt.file})
		if diff := cmp.Diff(tt.want, extents(t, c, chain.MapOptions{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		holdSums(t, c)
	}
}

// TestOfRaw: a raw file is a chain of one layer, and another file is none.
func TestOfRaw(t *testing.T) {
	c, err := chain.OfRaw("base", inMemory(make([]byte, 1000), [2]uint64{0, 600}))
	if err != nil {
		t.Fatal(err)
	}
	s := holdSums(t, c)
	if l := c.Layers[0]; len(c.Layers) != 1 || l.Format != "raw" || l.VirtualSize != 1024 || l.FileSize != 1000 || !c.Complete() || s.Layers[0].Visible != 600 {
		t.Errorf("%+v, %+v", l, s)
	}
	for _, p := range [][]byte{qcow2test.Image{Size: cluster}.Build().Bytes, []byte("KDMV")} {
		if c, err := chain.OfRaw("base", inMemory(p)); err == nil || c != nil {
			t.Errorf("%.4q is raw", p)
		}
	}
}

// TestMapRange: a range is widened to clusters of the image, and what lies outside
// is neither there nor unknown.
func TestMapRange(t *testing.T) {
	top := overlay("base", "qcow2")
	top.Clusters = map[uint64]qcow2test.Kind{1: qcow2test.Zero}
	base := qcow2test.Image{Size: 4 * cluster, ClusterBits: 12, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data, 40: qcow2test.Zero}}.Build().Bytes
	c := readMemory(t, top.Build().Bytes, memory{"base": inMemory(base)})
	for o, want := range map[chain.MapOptions][]string{
		{}:                         {"0x0+0x1000 1 data 0x3000", "0x1000+0xf000 1 unallocated", "0x10000+0x10000 0 zero", "0x20000+0x8000 1 unallocated", "0x28000+0x1000 1 zero", "0x29000+0x17000 1 unallocated"},
		{Mapped: true}:             {"0x0+0x1000 1 data 0x3000", "0x10000+0x10000 0 zero", "0x28000+0x1000 1 zero"},
		{Offset: 0x123, Length: 1}: {"0x0+0x1000 1 data 0x3000", "0x1000+0xf000 1 unallocated"},
		{Offset: 0x1ffff, Length: 2, Mapped: true}: {"0x10000+0x10000 0 zero", "0x28000+0x1000 1 zero"},
		{Offset: 4 * cluster}:                      nil,
	} {
		if diff := cmp.Diff(want, extents(t, c, o)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", o, diff)
		}
	}
}

// TestUnreadableTable: a table of the base that cannot be read is reported once,
// however many ranges lead there, and what it hides is unknown.
func TestUnreadableTable(t *testing.T) {
	top := overlay("base", "qcow2")
	top.Clusters = map[uint64]qcow2test.Kind{1: qcow2test.Data}
	base := qcow2test.Image{Size: 4 * cluster, Clusters: map[uint64]qcow2test.Kind{0: qcow2test.Data}}.Build().Set("l1[0]", 1<<40).Bytes
	c := readMemory(t, top.Build().Bytes, memory{"base": inMemory(base)})
	want := []string{
		`layer 1, "base": L1 table at offset 0x10000: entry 0 points to an L2 table at 0x10000000000, but the file ends at 0x60000`,
		"0x0+0x10000 1 unknown", "0x10000+0x10000 0 data 0x30000", "0x20000+0x20000 1 unknown",
	}
	if diff := cmp.Diff(want, extents(t, c, chain.MapOptions{Mapped: true})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if s := holdSums(t, c); s.Unknown != 3*cluster || s.HasFlatten || s.Layers[1].Known || s.Layers[0].Commit != nil {
		t.Errorf("%+v: what hides in a table looks known", s)
	}
}

// TestDamagedEntries: an entry that points nowhere is counted, and what a commit
// would take is then not known.
func TestDamagedEntries(t *testing.T) {
	top := overlay("base", "qcow2")
	top.Clusters = map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 2: qcow2test.Data}
	b := top.Build()
	b.Set("l2[0][0]", 1<<63|0x123000).Set("l2[0][1]", 1<<63|1<<40)
	c := readMemory(t, b.Bytes, memory{"base": inMemory(qcow2test.Image{Size: 4 * cluster}.Build().Bytes)})
	var damage []string
	s, err := c.Shares(t.Context(), func(err error) { damage = append(damage, err.Error()) })
	if err != nil || len(damage) != 1 || damage[0] != "2 damaged entries" {
		t.Errorf("damage %q, %v", damage, err)
	}
	if s.Layers[0].Visible != 3*cluster || s.Layers[0].Known || s.Layers[0].Commit != nil || s.Layers[1].Known {
		t.Errorf("%+v", s.Layers)
	}
}

// TestInUse: a layer that another program has open for writing gets a remark.
func TestInUse(t *testing.T) {
	c := readMemory(t, overlay("base", "raw").Build().Bytes, memory{"base": inMemory(make([]byte, 4*cluster))})
	c.RemarkOnUse()
	if n := len(c.Remarks); n != 1 || c.Remarks[0].Kind != chain.InUse || c.Remarks[0].Depth != 1 {
		t.Errorf("remarks %+v", c.Remarks)
	}
}

// TestMapAllocations: the mapping takes no memory for its rows, and a little for each
// of the L2 tables, which have 512 entries here.
func TestMapAllocations(t *testing.T) {
	allocations := func(clusters uint64) float64 {
		top := qcow2test.Image{Size: clusters * 4096, ClusterBits: 12, BackingFile: "base", Clusters: map[uint64]qcow2test.Kind{}}
		base := qcow2test.Image{Size: clusters * 4096, ClusterBits: 12, Clusters: map[uint64]qcow2test.Kind{}}
		for i := range clusters {
			[]map[uint64]qcow2test.Kind{top.Clusters, base.Clusters}[i%2][i] = qcow2test.Kind(i % 3)
		}
		c := readMemory(t, top.Build().Bytes, memory{"base": inMemory(base.Build().Bytes)})
		rows := uint64(0)
		n := testing.AllocsPerRun(3, func() {
			rows = 0
			for _, err := range c.Map(t.Context(), chain.MapOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				rows++
			}
		})
		if rows != clusters {
			t.Fatalf("%d rows of %d clusters", rows, clusters)
		}
		return n
	}
	// A read of an L2 table takes two: both have one of 512 entries in each layer.
	if few, many := allocations(32), allocations(512); many > few {
		t.Errorf("%v allocations for 32 rows, %v for 512", few, many)
	}
}
