package cmd

import (
	"encoding/hex"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the snapshots section that the lines of dump are made of.
const (
	snapshotID        = 2
	snapshotName      = 3
	snapshotL1Offset  = 13
	snapshotL1Entries = 14
)

// snapshotsSection declares the snapshot table.
func snapshotsSection(clusterBits uint) *render.Section {
	return &render.Section{
		Key:         "snapshots",
		Layout:      render.LayoutList,
		Empty:       "no snapshots",
		ClusterBits: clusterBits,
		Columns: []render.Column{
			{Key: "index", Title: "#", Kind: render.KindUint, Drop: 1},
			{Key: "offset", Title: "ENTRY", Kind: render.KindOffset, Drop: 9},
			snapshotID:   {Key: "id", Title: "ID", Kind: render.KindImageText},
			snapshotName: {Key: "name", Title: "NAME", Kind: render.KindImageText},
			{Key: "vm-state-size", Title: "VM STATE", Kind: render.KindSize, Drop: 3},
			{Key: "date", Title: "DATE", Kind: render.KindTime, Drop: 2},
			{Key: "date-sec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			{Key: "date-nsec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			{Key: "vm-clock", Title: "VM CLOCK", Kind: render.KindDuration, Drop: 6, Show: render.InTable},
			{Key: "vm-clock-sec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			{Key: "vm-clock-nsec", Kind: render.KindUint, Show: render.InPlain | render.InJSON},
			{Key: "icount", Title: "ICOUNT", Kind: render.KindUint, Drop: 8},
			{Key: "disk-size", Title: "DISK SIZE", Kind: render.KindSize, Drop: 4},
			snapshotL1Offset:  {Key: "l1-table.offset", Title: "L1 TABLE", Kind: render.KindAddr, Drop: 5},
			snapshotL1Entries: {Key: "l1-table.entries", Title: "L1 ENTRIES", Kind: render.KindUint, Drop: 7},
			{Key: "extra-data-size", Kind: render.KindSize, Show: render.InPlain | render.InJSON},
			{Key: "unknown-extra-data", Kind: render.KindText, Show: render.InPlain | render.InJSON},
		},
	}
}

func (a *app) newSnapshotsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "snapshots IMAGE...",
		Short: "List the internal snapshots",
		Long: `List the snapshot table: id, name, date, VM clock, size of the VM state,
disk size at the snapshot, instruction count, and where each snapshot's own L1
table lies.

Use it to find a snapshot, also while the VM runs, since no lock is taken.
'qinspect usage' shows how much deleting one would free.

Entries before a damaged one are listed; what is wrong goes to standard error.

Exit status: 0 fine, 1 nothing could be shown, 2 the snapshot table is damaged.`,
		Example: `  $ qinspect snapshots disk.qcow2
  $ qinspect snapshots -o json disk.qcow2 | jq -r '.snapshots[] | "\(.date) \(.name)"'`,
		Args: images,
		RunE: a.load(runSnapshots),

		ValidArgsFunction: completeImages,
	}
}

func runSnapshots(rep *report) error {
	g, err := rep.img.Geometry()
	if err != nil {
		return err
	}
	return listSnapshots(rep, snapshotsSection(g.ClusterBits))
}

// listSnapshots pushes the rows of the snapshots section.
func listSnapshots(rep *report, s *render.Section) error {
	rep.Section(s)
	row := make([]render.Value, 0, len(s.Columns))
	for snapshot, err := range rep.img.Snapshots() {
		if err != nil {
			rep.damaged(err)
			rep.Incomplete()
			break
		}
		for _, e := range snapshot.Damage {
			rep.damaged(e)
		}
		if err := rep.Row(snapshotRow(row, &snapshot)); err != nil {
			return err
		}
		if err := rep.interrupted(); err != nil {
			return err
		}
	}
	return nil
}

func snapshotRow(row []render.Value, s *qcow2.Snapshot) []render.Value {
	const second = 1e9 // nanoseconds
	icount, unknown := render.Null, render.Null
	if s.HasICount {
		icount = render.Uint(s.ICount)
	}
	if len(s.Extra) > 0 {
		unknown = render.Text(hex.EncodeToString(s.Extra))
	}
	return append(row[:0],
		render.Uint(uint64(s.Index)),
		render.Offset(s.Offset),
		render.ImageText(s.ID),
		render.ImageText(s.Name),
		render.Size(s.VMStateSize),
		render.Time(uint64(s.Seconds)),
		render.Uint(uint64(s.Seconds)),
		render.Uint(uint64(s.Nanoseconds)),
		render.Duration(s.VMClock),
		render.Uint(s.VMClock/second),
		render.Uint(s.VMClock%second),
		icount,
		render.Size(s.DiskSize),
		render.Addr(s.L1TableOffset),
		render.Uint(uint64(s.L1Size)),
		render.Size(uint64(s.ExtraSize)),
		unknown,
	)
}
