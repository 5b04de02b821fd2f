package cmd

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// guestOptions are the flags of the guest command.
type guestOptions struct {
	snapshot           snapshotFlag
	all, each, vmState bool
	window             window
	chain              followFlags
}

func (o *guestOptions) addFlags(flags *pflag.FlagSet) {
	flags.Var(&o.snapshot, "snapshot", snapshotUsage)
	flags.BoolVar(&o.all, "all", false, "unallocated ranges too")
	flags.BoolVar(&o.each, "per-cluster", false, "a row for each cluster instead of runs")
	flags.BoolVar(&o.vmState, "vm-state", false, "also show what is mapped past the end of the disk")
	flags.Var(&o.window.offset, "offset", "begin at this guest address")
	flags.Var(&o.window.length, "length", "end after this many bytes")
	flags.Var(&o.window.at, "at", "only what lies at this guest address")
	selects(flags, "snapshot", "offset", "length", "at")
	o.chain.addFlags(flags)
}

func (a *app) newGuestCommand() *cobra.Command {
	var o guestOptions
	cmd := &cobra.Command{
		Use:   "guest IMAGE",
		Short: "Show where every guest address lies",
		Long: `Show the mapping of guest addresses to host addresses, of the active image or of
a snapshot: data, zeros, preallocated zeros, compressed clusters; with extended
L2 entries by subclusters. Neighbours are joined into runs.

Use it to learn which parts of the disk are allocated here and which come from
the backing file, where a sector of the disk lies in the file, and where a
snapshot is mapped to. With --follow it shows the disk through all layers of the
backing chain, as 'qemu-img map' does; 'qinspect chain --help' says which files
are opened.

Addresses are bytes (0x30000, 196608, 64K, 3G), sectors of 512 bytes (123456s)
or clusters ('#3'). A range shows whole clusters, and of subclusters those runs
that it touches.

Entries that are damaged are listed with their problem.

Exit status: 0 fine, 1 nothing could be shown, 2 a table or an entry is damaged,
or with --follow not every layer could be read.`,
		Example: `  $ qinspect guest disk.qcow2
  $ qinspect guest --snapshot 1 --at 0x4000 disk.qcow2
  $ qinspect guest --offset 64K --length 64K --per-cluster --all disk.qcow2
  $ qinspect guest --follow --all disk.qcow2
  $ qinspect guest -o ndjson disk.qcow2 | jq -s 'map(.length // 0) | add'`,
		SuggestFor: []string{"map"},
		Args:       oneImage,

		ValidArgsFunction: completeImage,
	}
	run := a.loadLayers(func(rep *report) error {
		if o.chain.follow {
			return a.runGuestFollow(rep, o)
		}
		if !forPrograms(a.output.value) {
			noteDataFile(rep, offsetsInDataFile)
			if o.all || o.window.at.given() {
				noteBackingFile(rep)
			}
		}
		return runGuest(rep, o)
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := cmp.Or(o.window.check(cmd), o.chain.check(cmd), o.checkFollow(cmd)); err != nil {
			return err
		}
		return a.lasting(run)(cmd, args)
	}
	o.addFlags(cmd.Flags())
	a.completeFlag(cmd, "snapshot", a.completeSnapshots)
	must(cmd.MarkFlagDirname("allow"))
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
	rep.facts(&render.Section{Show: render.InJSON}, guestFacts(rep.img, g, opts.Snapshot)...)
	if size := diskSize(rep.img, opts); o.window.at.given() && !o.vmState && opts.Offset >= size {
		rep.note(fmt.Errorf("the disk ends at %#x, before that address", size))
	}
	return listGuest(rep, "", guestLines{g: g}, opts)
}

// What is said of the external data file: before its name.
const (
	offsetsInDataFile = "host offsets are those of the external data file"
	dataInDataFile    = "guest data lies in the external data file"
)

// noteDataFile notes what lies in another file, if there is one.
func noteDataFile(rep *report, said string) {
	if rep.img.Header().IncompatibleFeatures&qcow2.ExternalDataFile == 0 {
		return
	}
	if name, ok := rep.img.DataFile(); ok {
		rep.note(fmt.Errorf("%s %q", said, name))
	} else {
		rep.note(errors.New(said))
	}
}

// noteBackingFile notes what unallocated means where there is a backing file.
func noteBackingFile(rep *report) {
	if name, ok, err := rep.img.BackingFile(); ok && err == nil {
		rep.note(fmt.Errorf("what is unallocated is read from the backing file %q, which was not looked at", name))
	}
}

// listGuest pushes the rows of the guest section.
func listGuest(rep *report, title string, lines guestLines, opts qcow2.GuestOptions) error {
	g := lines.g
	lines.whole = g.L2EntrySize == 8 || opts.PerCluster
	rep.Section(guestSection(title, rep.img, lines, opts))
	rows := newGuestRows(rep, vmStateOffset(g, opts.Snapshot))
	opts.Batches = true
	var damaged damagedPlaces
	total := guestTotal(rep.img, opts)
	err := each(rep, rep.img.Guest(rep.ctx, opts), func(m *qcow2.Mapping) error {
		rep.progress.report(m.Start-min(m.Start, opts.Offset), total)
		if m.Problems != 0 {
			first := m.Start >> g.ClusterBits
			damaged.add(first, (m.Start+(m.Length-1))>>g.ClusterBits-first+1)
		}
		return rows.add(m)
	})
	rep.damagedEntries(damaged.n)
	return cmp.Or(err, rows.flush())
}

// guestTotal returns the number of guest bytes that a listing goes through, without
// the few past the end of the disk.
func guestTotal(img *qcow2.Image, o qcow2.GuestOptions) uint64 {
	size := diskSize(img, o)
	total := size - min(o.Offset, size)
	if o.Length > 0 {
		total = min(total, o.Length)
	}
	return total
}

// diskSize returns the size of the disk whose mapping is wanted, in bytes.
func diskSize(img *qcow2.Image, o qcow2.GuestOptions) uint64 {
	if o.Snapshot != nil {
		return o.Snapshot.DiskSize
	}
	return img.Header().VirtualSize()
}

// resolve turns the flags into options of the library.
func (o *guestOptions) resolve(img *qcow2.Image, g qcow2.Geometry) (qcow2.GuestOptions, error) {
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

// guestFacts stand before the mapping in JSON.
func guestFacts(img *qcow2.Image, g qcow2.Geometry, s *qcow2.Snapshot) []fact {
	size, id := g.VirtualSize, render.Null
	if s != nil {
		size, id = s.DiskSize&^511, render.ImageText(s.ID)
	}
	return []fact{
		{render.Column{Key: "virtual-size", Kind: render.KindSize}, render.Size(size)},
		{render.Column{Key: "vm-state-offset", Kind: render.KindOffset}, render.Offset(vmStateOffset(g, s))},
		{render.Column{Key: "snapshot", Kind: render.KindImageText}, id},
		dataFileFact(img),
	}
}

// dataFileFact is the name of the file that host offsets are about, null if it is
// the image itself.
func dataFileFact(img *qcow2.Image) fact {
	return fact{render.Column{Key: "data-file", Kind: render.KindImageText}, imageText(img.DataFile())}
}

// vmStateOffset returns where the VM state of a snapshot begins, or of the active
// image for nil, in bytes.
func vmStateOffset(g qcow2.Geometry, s *qcow2.Snapshot) uint64 {
	if s == nil {
		return g.VMStateOffset
	}
	return g.VMStateOffsetOf(s.DiskSize)
}
