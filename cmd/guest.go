package cmd

import (
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the guest section that its plain lines are made of.
const (
	guestStart   = 0
	guestLength  = 1
	guestOffset  = 7
	guestHost    = 8
	guestKind    = 9
	guestSectors = 10

	guestProblems = 13
)

// guestSection declares the mapping of guest addresses. Addresses are no larger
// than reach says. Subclusters have a place in the table where rows have them.
func guestSection(g qcow2.Geometry, reach addressReach, each bool) *render.Section {
	subclusters := render.InJSON
	if g.L2EntrySize == 16 && each {
		subclusters |= render.InTable
	}
	return &render.Section{
		Key:         "guest",
		Layout:      render.LayoutStream,
		Empty:       "nothing is mapped",
		ClusterBits: g.ClusterBits,
		Line:        (&guestLines{g}).append,
		Columns: []render.Column{
			guestStart:  {Key: "start", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: reach.guest},
			guestLength: {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 2},
			{Key: "depth", Kind: render.KindUint, Show: render.InJSON},
			{Key: "present", Kind: render.KindBool, Show: render.InJSON},
			{Key: "zero", Kind: render.KindBool, Show: render.InJSON},
			{Key: "data", Kind: render.KindBool, Show: render.InJSON},
			{Key: "compressed", Kind: render.KindBool, Show: render.InJSON},
			guestOffset:  {Key: "offset", Kind: render.KindOffset, Show: render.InJSON},
			guestHost:    {Key: "host-offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: reach.host},
			guestKind:    {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.MappingKindNames(), Tones: mappingTones()},
			guestSectors: {Key: "sectors", Title: "SECTORS", Kind: render.KindUint, Drop: 3},
			{Key: "subclusters.allocated", Title: "ALLOCATED", Kind: render.KindHex, Drop: 4, Show: subclusters},
			{Key: "subclusters.zero", Title: "ZERO", Kind: render.KindHex, Drop: 5, Show: subclusters},
			guestProblems: {Key: "problems", Title: "PROBLEMS", Kind: render.KindFlags, Names: qcow2.ProblemNames(), Drop: 1, Tones: alarm()},
		},
	}
}

// addressReach is how large guest and host addresses can get, in bytes.
type addressReach struct{ guest, host uint64 }

func newAddressReach(img *qcow2.File, g qcow2.Geometry, o qcow2.GuestOptions) addressReach {
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

// guestOptions are the flags of the guest command.
type guestOptions struct {
	snapshot           snapshotFlag
	all, each, vmState bool
	window             window
}

func (o *guestOptions) addFlags(flags *pflag.FlagSet) {
	flags.Var(&o.snapshot, "snapshot", snapshotUsage)
	flags.BoolVar(&o.all, "all", false, "unallocated ranges too")
	flags.BoolVar(&o.each, "per-cluster", false, "a row for each cluster instead of runs")
	flags.BoolVar(&o.vmState, "vm-state", false, "also show what is mapped past the end of the disk")
	flags.Var(&o.window.offset, "offset", "begin at this guest address")
	flags.Var(&o.window.length, "length", "end after so many bytes")
	flags.Var(&o.window.at, "at", "only what lies at this guest address")
	selects(flags, "snapshot", "offset", "length", "at")
}

func (a *app) newGuestCommand() *cobra.Command {
	var o guestOptions
	cmd := &cobra.Command{
		Use:   "guest IMAGE",
		Short: "Show where every guest address lies",
		Long: `Show the mapping of guest addresses to host addresses, of the active image or of
a snapshot: data, zeros, preallocated zeros, compressed clusters; with extended
L2 entries by subclusters. Neighbours are joined into runs.

Use it to learn what of the disk is allocated here and what comes from the
backing file, where in the file a sector that cannot be read lies, and what a
snapshot has in another place.

Addresses are bytes (0x30000, 196608, 64K, 3G) or clusters ('#3'). A range shows
whole clusters, and of subclusters those runs that it touches.

Entries that are damaged are listed with their problem.

Exit status: 0 fine, 1 nothing could be shown, 2 a table or an entry is damaged.`,
		Example: `  $ qinspect guest disk.qcow2
  $ qinspect guest --snapshot 1 --at 0x4000 disk.qcow2
  $ qinspect guest --offset 64K --length 64K --per-cluster --all disk.qcow2
  $ qinspect guest -o ndjson disk.qcow2 | jq -s 'map(.length // 0) | add'`,
		SuggestFor: []string{"map"},
		Args:       oneImage,

		ValidArgsFunction: completeImage,
	}
	run := a.load(func(rep *report) error {
		if !forPrograms(a.output.value) {
			noteDataFile(rep)
		}
		return runGuest(rep, o)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.window.check(cmd); err != nil {
			return err
		}
		return a.lasting(run)(cmd, args)
	}
	o.addFlags(cmd.Flags())
	must(cmd.RegisterFlagCompletionFunc("snapshot", a.completeSnapshots))
	return cmd
}

func runGuest(rep *report, o guestOptions) error {
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	opts, err := o.resolve(rep.img, g)
	if err != nil {
		return err
	}
	rep.Section(guestHead())
	if err := rep.Row(guestHeadRow(rep.img, g, opts.Snapshot)); err != nil {
		return err
	}
	if size := diskSize(rep.img, opts); o.window.at.given() && !o.vmState && opts.Offset >= size {
		rep.note(fmt.Errorf("the disk ends at %#x, before that address", size))
	}
	return listGuest(rep, guestSection(g, newAddressReach(rep.img, g, opts), o.each), opts)
}

// noteDataFile says where the host offsets are, if that is not the image file.
func noteDataFile(rep *report) {
	if rep.img.Header().IncompatibleFeatures&qcow2.ExternalDataFile == 0 {
		return
	}
	if name, ok := rep.img.DataFile(); ok {
		rep.note(fmt.Errorf("host offsets are those of the external data file %q", name))
	} else {
		rep.note(errors.New("host offsets are those of the external data file"))
	}
}

// listGuest pushes the rows of the guest section.
func listGuest(rep *report, s *render.Section, opts qcow2.GuestOptions) error {
	rep.Section(s)
	row := guestRow{
		cells:     make([]render.Value, len(s.Columns)),
		encrypted: rep.img.Header().CryptMethod != qcow2.CryptNone,
		backing:   rep.img.Header().BackingFileOffset != 0 && rep.img.Header().BackingFileSize != 0,
	}
	damaged := damagedPlaces{one: "damaged entry", many: "damaged entries"}
	total := guestTotal(rep.img, opts)
	for m, err := range rep.img.Guest(rep.ctx, opts) {
		if err != nil && rep.ctx.Err() == nil {
			rep.damaged(err)
			rep.Incomplete()
			continue
		}
		if err != nil || rep.interrupted() != nil {
			break
		}
		rep.progress.report(m.Start-min(m.Start, opts.Offset), total)
		damaged.add(m.Start>>s.ClusterBits, 1, m.Problems)
		if err := rep.Row(row.of(m)); err != nil {
			return err
		}
	}
	damaged.report(rep)
	return nil
}

// guestTotal returns how many guest bytes a listing goes through. What lies past
// the end of the disk is little, and not counted.
func guestTotal(img *qcow2.File, o qcow2.GuestOptions) uint64 {
	size := diskSize(img, o)
	total := size - min(o.Offset, size)
	if o.Length > 0 {
		total = min(total, o.Length)
	}
	return total
}

// diskSize returns how large the disk is whose mapping is wanted, in bytes.
func diskSize(img *qcow2.File, o qcow2.GuestOptions) uint64 {
	if o.Snapshot != nil {
		return o.Snapshot.DiskSize
	}
	return img.Header().VirtualSize()
}

// resolve turns the flags into what the library wants.
func (o *guestOptions) resolve(img *qcow2.File, g qcow2.Geometry) (qcow2.GuestOptions, error) {
	opts := qcow2.GuestOptions{PerCluster: o.each, VMState: o.vmState, Mapped: !o.all && !o.window.at.given()}
	var err error
	if opts.Snapshot, err = o.snapshot.find(img); err != nil {
		return opts, err
	}
	if opts.Offset, opts.Length, err = o.window.bytes(g.ClusterBits); err != nil {
		return opts, err
	}
	return opts, nil
}

// guestHead declares what stands before the mapping in JSON.
func guestHead() *render.Section {
	return &render.Section{
		Show: render.InJSON,
		Columns: []render.Column{
			{Key: "virtual-size", Kind: render.KindSize},
			{Key: "vm-state-offset", Kind: render.KindOffset},
			{Key: "snapshot", Kind: render.KindImageText},
			{Key: "data-file", Kind: render.KindImageText},
		},
	}
}

func guestHeadRow(img *qcow2.File, g qcow2.Geometry, s *qcow2.Snapshot) []render.Value {
	size, vmState, id := g.VirtualSize, g.VMStateOffset, render.Null
	if s != nil {
		size, id = s.DiskSize&^511, render.ImageText(s.ID)
		vmState = g.VMStateOffsetOf(s.DiskSize)
	}
	return []render.Value{render.Size(size), render.Offset(vmState), id, imageText(img.DataFile())}
}

// A guestRow makes rows of mappings.
type guestRow struct {
	cells     []render.Value
	encrypted bool // guest data is: it has no offset for a reader
	backing   bool // there is a backing file: unallocated is not zero

	last qcow2.Mapping // what the cells show; before the first, nothing
}

// of returns the row of a mapping. Most differ from the one before in their
// offsets alone.
func (r *guestRow) of(m *qcow2.Mapping) []render.Value {
	if m.Kind == qcow2.MappingData && r.last.Kind == m.Kind && m.HasHost && r.last.HasHost &&
		!m.HasSubclusterBitmap && !r.last.HasSubclusterBitmap && m.Problems|r.last.Problems == 0 {
		r.cells[guestStart].SetNum(m.Start)
		r.cells[guestLength].SetNum(m.Length)
		r.cells[guestOffset].SetNum(m.HostOffset)
		r.cells[guestHost].SetNum(m.HostOffset)
		return r.cells
	}
	r.last = *m
	return r.fill(m)
}

// fill sets all cells of the row.
func (r *guestRow) fill(m *qcow2.Mapping) []render.Value {
	present := m.Kind != qcow2.MappingUnallocated
	compressed := m.Kind == qcow2.MappingCompressed
	zero := render.Bool(m.Kind == qcow2.MappingZero || m.Kind == qcow2.MappingZeroAllocated || !present)
	if !present && r.backing {
		zero = render.Null
	}
	offset, host, sectors, allocated, zeros := render.Null, render.Null, render.Null, render.Null, render.Null
	if m.HasHost {
		host = render.Addr(m.HostOffset)
		if !compressed && !r.encrypted {
			offset = render.Offset(m.HostOffset)
		}
	}
	if compressed {
		sectors = render.Uint(m.Sectors)
	}
	if m.HasSubclusterBitmap {
		allocated, zeros = render.Hex(m.SubclusterBitmap&math.MaxUint32), render.Hex(m.SubclusterBitmap>>32)
	}
	return append(r.cells[:0],
		render.Addr(m.Start),
		render.Size(m.Length),
		render.Uint(0),
		render.Bool(present),
		zero,
		render.Bool(m.Kind == qcow2.MappingData || compressed),
		render.Bool(compressed),
		offset,
		host,
		render.Enum(uint64(m.Kind)),
		sectors,
		allocated,
		zeros,
		render.Flags(uint64(m.Problems)),
	)
}

// guestLines makes plain lines of mappings, as dump-qcow2.pl has them: "0x0 (#0):
// 0x50000 (#5)", or for a run "0x0-0x1ffff (#0-#1): 0x50000-0x6ffff (#5-#6)".
// Problems follow in brackets.
type guestLines struct{ g qcow2.Geometry }

func (l *guestLines) append(dst []byte, row []render.Value) []byte {
	start, length := row[guestStart].Num(), row[guestLength].Num()
	one := length <= l.g.ClusterSize && start&(l.g.ClusterSize-1) == 0 && (length == l.g.ClusterSize || l.g.L2EntrySize == 8)
	dst = append(l.appendPlace(dst, start, length, one), ": "...)
	dst = l.appendMapping(dst, row, one)
	if problems := row[guestProblems].Num(); problems != 0 {
		dst = append(render.AppendNames(append(dst, " ["...), qcow2.ProblemNames(), problems), ']')
	}
	return dst
}

// appendMapping appends what a mapping points to.
func (l *guestLines) appendMapping(dst []byte, row []render.Value, one bool) []byte {
	length, host := row[guestLength].Num(), row[guestHost].Num()
	switch qcow2.MappingKind(row[guestKind].Num()) {
	case qcow2.MappingUnallocated:
		return append(dst, "Unallocated"...)
	case qcow2.MappingZero:
		return append(dst, "All zeros"...)
	case qcow2.MappingCompressed:
		return appendCompressed(dst, host, row[guestSectors].Num(), l.g.ClusterBits)
	case qcow2.MappingZeroAllocated:
		return append(l.appendPlace(dst, host, length, one), " (all zeros)"...)
	}
	return l.appendPlace(dst, host, length, one)
}

// appendPlace appends where a cluster lies, "0x50000 (#5)", or a run of bytes.
func (l *guestLines) appendPlace(dst []byte, first, length uint64, one bool) []byte {
	if one {
		return render.AppendAddr(dst, first, l.g.ClusterBits)
	}
	return render.AppendAddrRange(dst, first, first+length-1, l.g.ClusterBits)
}

// appendCompressed appends where compressed data lie: their first byte, and
// the clusters that they touch.
func appendCompressed(dst []byte, offset, sectors uint64, clusterBits uint) []byte {
	first, last := offset>>clusterBits, (qcow2.CompressedEnd(offset, sectors)-1)>>clusterBits
	if first == last {
		return fmt.Appendf(dst, "%#x (#%d) (compressed, %d sectors)", offset, first, sectors)
	}
	return fmt.Appendf(dst, "%#x (#%d - #%d) (compressed, %d sectors)", offset, first, last, sectors)
}
