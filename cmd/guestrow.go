package cmd

import (
	"math"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the guest section.
const (
	guestStart = iota
	guestLength
	guestDepth
	guestLayer
	guestPresent
	guestZero
	guestData
	guestCompressed
	guestOffset
	guestHost
	guestKind
	guestVMState
	guestSectors
	guestAllocated
	guestZeros
	guestProblems

	guestColumns // how many
)

// guestSection declares the mapping of guest addresses.
func guestSection(title string, img *qcow2.Image, lines guestLines, o qcow2.GuestOptions) *render.Section {
	g := lines.g
	subclusters := render.InJSON
	if g.L2EntrySize == 16 && o.PerCluster { // else rows have none
		subclusters |= render.InTable
	}
	vmState := render.InJSON
	if o.VMState {
		vmState |= render.InTable
	}
	reach := newAddressReach(img, g, o)
	return &render.Section{
		Key:         "guest",
		Title:       title,
		Layout:      render.LayoutStream,
		Empty:       emptyGuest(img),
		ClusterBits: g.ClusterBits,
		Write:       lines.write,
		Columns: []render.Column{
			guestStart:      {Key: "start", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: reach.guest},
			guestLength:     {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 2},
			guestDepth:      {Key: "depth", Kind: render.KindUint, Show: render.InJSON},
			guestLayer:      {Key: "layer-filename", Kind: render.KindImageText, Show: render.InJSON},
			guestPresent:    {Key: "present", Kind: render.KindBool, Show: render.InJSON},
			guestZero:       {Key: "zero", Kind: render.KindBool, Show: render.InJSON},
			guestData:       {Key: "data", Kind: render.KindBool, Show: render.InJSON},
			guestCompressed: {Key: "compressed", Kind: render.KindBool, Show: render.InJSON},
			guestOffset:     {Key: "offset", Kind: render.KindOffset, Show: render.InJSON},
			guestHost:       {Key: "host-offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: reach.host},
			guestKind:       {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.MappingKindNames(), Tones: mappingTones()},
			guestVMState:    {Key: "vm-state", Title: "VM STATE", Kind: render.KindBool, Drop: 6, Show: vmState},
			guestSectors:    {Key: "sectors", Title: "SECTORS", Kind: render.KindUint, Drop: 3},
			guestAllocated:  {Key: "subclusters.allocated", Title: "ALLOCATED", Kind: render.KindHex, Drop: 4, Show: subclusters},
			guestZeros:      {Key: "subclusters.zero", Title: "ZERO", Kind: render.KindHex, Drop: 5, Show: subclusters},
			guestProblems:   {Key: "problems", Title: "PROBLEMS", Kind: render.KindFlags, Names: qcow2.ProblemNames(), Drop: 1, Tones: alarm()},
		},
	}
}

// emptyGuest says what it means that nothing is mapped.
func emptyGuest(img *qcow2.Image) string {
	if _, ok, _ := img.BackingFile(); ok {
		return "nothing is mapped: all is read from the backing file, which was not looked at"
	}
	return "nothing is mapped"
}

// guestRows pushes rows of mappings.
type guestRows struct {
	rowBatch
	starts, lengths, hosts, sectors []uint64

	encrypted bool   // guest data is encrypted: it has no offset for a reader
	backing   bool   // there is a backing file: unallocated is not zero
	vmState   uint64 // where VM state begins, in bytes

	// What rows have of the layer of a chain that they are of.
	depth   uint64
	layer   render.Value // its file
	unknown bool         // the layer could not be read

	last qcow2.Mapping // what the cells show; before the first, nothing
}

func newGuestRows(rep *report, vmState uint64) *guestRows {
	h := rep.img.Header()
	r := &guestRows{
		encrypted: h.CryptMethod != qcow2.CryptNone,
		backing:   h.BackingFileOffset != 0 && h.BackingFileSize != 0,
		vmState:   vmState,
	}
	r.rowBatch = newRowBatch(rep, guestColumns)
	r.starts, r.lengths = r.column(guestStart), r.column(guestLength)
	r.hosts, r.sectors = r.column(guestHost, guestOffset), r.column(guestSectors)
	return r
}

// add adds the rows of a mapping. Most differ from the one before in numbers alone.
func (r *guestRows) add(m *qcow2.Mapping) error {
	if !r.continues(m) {
		if err := r.flush(); err != nil {
			return err
		}
		r.last = *m
		r.fill(m)
	}
	start, host := m.Start, m.HostOffset
	for range m.More + 1 {
		i := r.n
		r.starts[i], r.lengths[i], r.hosts[i], r.sectors[i] = start, m.Length, host, m.Sectors
		start, host = start+m.Length, host+m.Length
		if err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

// continues reports whether a mapping differs from the one before in numbers alone.
func (r *guestRows) continues(m *qcow2.Mapping) bool {
	l := &r.last
	return r.n > 0 && m.Kind == l.Kind && m.HasHost == l.HasHost && m.Problems == l.Problems &&
		m.HasSubclusterBitmap == l.HasSubclusterBitmap && m.SubclusterBitmap == l.SubclusterBitmap && m.Start >= r.vmState == (l.Start >= r.vmState)
}

// fill sets all cells of the row.
func (r *guestRows) fill(m *qcow2.Mapping) {
	present := m.Kind != qcow2.MappingUnallocated
	compressed := m.Kind == qcow2.MappingCompressed
	zero := m.Kind == qcow2.MappingZero || m.Kind == qcow2.MappingZeroAllocated || !present
	c := r.batch.Row
	c[guestStart] = render.Addr(m.Start)
	c[guestLength] = render.Size(m.Length)
	c[guestDepth] = render.Uint(r.depth)
	c[guestLayer] = r.layer
	c[guestPresent] = render.Bool(present)
	c[guestZero] = valueIf((present || !r.backing) && !r.unknown, render.Bool(zero))
	c[guestData] = render.Bool(m.Kind == qcow2.MappingData || compressed)
	c[guestCompressed] = render.Bool(compressed)
	c[guestOffset] = valueIf(m.HasHost && !compressed && !r.encrypted, render.Offset(m.HostOffset))
	c[guestHost] = valueIf(m.HasHost, render.Addr(m.HostOffset))
	c[guestKind] = render.Enum(uint64(m.Kind))
	if r.unknown {
		c[guestKind] = render.Enum(unknownMapping)
	}
	c[guestVMState] = render.Bool(m.Start >= r.vmState)
	c[guestSectors] = valueIf(compressed, render.Uint(m.Sectors))
	c[guestAllocated] = valueIf(m.HasSubclusterBitmap, render.Hex(m.SubclusterBitmap&math.MaxUint32))
	c[guestZeros] = valueIf(m.HasSubclusterBitmap, render.Hex(m.SubclusterBitmap>>32))
	c[guestProblems] = render.Flags(uint64(m.Problems))
}

// addressReach is the largest guest and host addresses that a listing can have, in
// bytes.
type addressReach struct{ guest, host uint64 }

func newAddressReach(img *qcow2.Image, g qcow2.Geometry, o qcow2.GuestOptions) addressReach {
	size, entries := g.VirtualSize, uint64(img.Header().L1Size)
	if o.Snapshot != nil {
		size, entries = o.Snapshot.DiskSize, uint64(o.Snapshot.L1Size)
	}
	if o.VMState {
		size = max(size, entries*g.L2Entries*g.ClusterSize)
	}
	r := addressReach{guest: size, host: g.HostClusters << g.ClusterBits}
	if img.Header().IncompatibleFeatures&qcow2.ExternalDataFile != 0 {
		r.host = size // guest and host offsets are the same
	}
	return r
}
