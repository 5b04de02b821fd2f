package cmd

import (
	"encoding/hex"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the snapshots section.
const (
	snapshotIndex = iota
	snapshotOffset
	snapshotID
	snapshotName
	snapshotVMStateSize
	snapshotDate
	snapshotSeconds
	snapshotNanoseconds
	snapshotClock
	snapshotClockSeconds
	snapshotClockNanoseconds
	snapshotICount
	snapshotDiskSize
	snapshotL1Offset
	snapshotL1Entries
	snapshotExtraSize
	snapshotExtra
)

// snapshotsSection declares the snapshot table.
func snapshotsSection(title string, clusterBits uint) *render.Section {
	return &render.Section{
		Key:         "snapshots",
		Title:       title,
		Layout:      render.LayoutList,
		Empty:       "no snapshots",
		ClusterBits: clusterBits,
		Columns: []render.Column{
			snapshotIndex:            {Key: "index", Title: "#", Kind: render.KindUint, Drop: 1},
			snapshotOffset:           {Key: "offset", Title: "ENTRY", Kind: render.KindOffset, Drop: 9},
			snapshotID:               {Key: "id", Title: "ID", Kind: render.KindImageText},
			snapshotName:             {Key: "name", Title: "NAME", Kind: render.KindImageText},
			snapshotVMStateSize:      {Key: "vm-state-size", Title: "VM STATE", Kind: render.KindSize, Drop: 3},
			snapshotDate:             {Key: "date", Title: "DATE", Kind: render.KindTime, Drop: 2},
			snapshotSeconds:          {Key: "date-sec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			snapshotNanoseconds:      {Key: "date-nsec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			snapshotClock:            {Key: "vm-clock", Title: "VM CLOCK", Kind: render.KindDuration, Drop: 6, Show: render.InTable},
			snapshotClockSeconds:     {Key: "vm-clock-sec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			snapshotClockNanoseconds: {Key: "vm-clock-nsec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			snapshotICount:           {Key: "icount", Title: "ICOUNT", Kind: render.KindUint, Drop: 8},
			snapshotDiskSize:         {Key: "disk-size", Title: "DISK SIZE", Kind: render.KindSize, Drop: 4},
			snapshotL1Offset:         {Key: "l1-table.offset", Title: "L1 TABLE", Kind: render.KindAddr, Drop: 5},
			snapshotL1Entries:        {Key: "l1-table.entries", Title: "L1 ENTRIES", Kind: render.KindUint, Drop: 7},
			snapshotExtraSize:        {Key: "extra-data-size", Kind: render.KindSize, Show: render.InPlain | render.InJSON},
			snapshotExtra:            {Key: "unknown-extra-data", Kind: render.KindText, Show: render.InPlain | render.InJSON},
		},
	}
}

// setSnapshot sets the cells of a row of the snapshots section.
func setSnapshot(c []render.Value, s *qcow2.Snapshot) {
	const second = 1e9 // nanoseconds
	c[snapshotIndex] = render.Uint(uint64(s.Index))
	c[snapshotOffset] = render.Offset(s.Offset)
	c[snapshotID] = render.ImageText(s.ID)
	c[snapshotName] = render.ImageText(s.Name)
	c[snapshotVMStateSize] = render.Size(s.VMStateSize)
	c[snapshotDate] = render.Time(uint64(s.Seconds))
	c[snapshotSeconds] = render.Uint(uint64(s.Seconds))
	c[snapshotNanoseconds] = render.Uint(uint64(s.Nanoseconds))
	c[snapshotClock] = render.Duration(s.VMClock)
	c[snapshotClockSeconds] = render.Uint(s.VMClock / second)
	c[snapshotClockNanoseconds] = render.Uint(s.VMClock % second)
	c[snapshotICount] = valueIf(s.HasICount, render.Uint(s.ICount))
	c[snapshotDiskSize] = render.Size(s.DiskSize)
	c[snapshotL1Offset] = render.Addr(s.L1TableOffset)
	c[snapshotL1Entries] = render.Uint(uint64(s.L1Size))
	c[snapshotExtraSize] = render.Size(uint64(s.ExtraSize))
	c[snapshotExtra] = valueIf(len(s.Extra) > 0, render.Text(hex.EncodeToString(s.Extra)))
}

func (a *app) newSnapshotsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshots IMAGE...",
		Short: "List the internal snapshots",
		Long: `List the snapshot table: id, name, date, VM clock, size of the VM state,
disk size at the snapshot, instruction count, and where each snapshot's own L1
table lies.

Use it to find a snapshot, also while the VM runs, since no lock is taken.
'qinspect usage' shows how much deleting one would free.

Of a damaged entry what can be read is listed, and what comes after it if its
lengths are right; what is wrong goes to standard error.

Exit status: 0 fine, 1 nothing could be shown, 2 the snapshot table is damaged.`,
		Example: `  $ qinspect snapshots disk.qcow2
  $ qinspect snapshots -o json disk.qcow2 | jq -r '.snapshots[] | "\(.date) \(.name)"'`,
		Args: images,
		RunE: a.load(runSnapshots),

		ValidArgsFunction: completeImages,
	}
	addJobs(cmd, 1)
	return cmd
}

func runSnapshots(rep *report) error {
	if _, err := rep.img.Geometry(); err != nil {
		return err
	}
	return listSnapshots(rep, "")
}

// listSnapshots pushes the rows of the snapshots section.
func listSnapshots(rep *report, title string) error {
	g, _ := rep.img.Geometry() // there is one
	s := snapshotsSection(title, g.ClusterBits)
	rep.Section(s)
	c := make([]render.Value, len(s.Columns))
	return eachSnapshot(rep, func(snapshot *qcow2.Snapshot) error {
		setSnapshot(c, snapshot)
		return rep.Row(c)
	})
}

// eachSnapshot calls show for each snapshot, and reports what is wrong with the
// snapshot table.
func eachSnapshot(rep *report, show func(*qcow2.Snapshot) error) error {
	return each(rep, rep.img.Snapshots(), func(s qcow2.Snapshot) error {
		for _, e := range s.Damage {
			rep.damaged(e)
		}
		return show(&s)
	})
}
