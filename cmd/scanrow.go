package cmd

import (
	"fmt"

	"github.com/qinspect/qinspect/pkg/fleet"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the rows of a scan.
const (
	scanFile = iota
	scanStatus
	scanVersion
	scanCompat
	scanVirtualSize
	scanFileSize
	scanActualSize
	scanEndOffset
	scanSnapshots
	scanSnapshotsOnly
	scanFreeBytes
	scanLeakedBytes
	scanCorruptions
	scanLeaks
	scanCheckErrors
	scanChanged
	scanElsewhere
	scanDirty
	scanCorrupt
	scanEncrypted
	scanBacking
	scanBackingFormat
	scanDataFile
	scanBitmaps
	scanMessage

	scanColumns // how many
)

// scanSection declares a row for each image.
func scanSection() *render.Section {
	const programs = render.InPlain | render.InJSON
	return &render.Section{
		Key:    "images",
		Layout: render.LayoutStream,
		Empty:  "no images",
		Line:   appendScanLine,
		Columns: []render.Column{
			scanFile:          {Key: "filename", Title: "FILE", Kind: render.KindImageText, Max: 40},
			scanStatus:        {Key: "status", Title: "STATUS", Kind: render.KindEnum, Names: fleet.StatusNames(), Tones: statusTones()},
			scanVersion:       {Key: "version", Kind: render.KindUint, Show: programs},
			scanCompat:        {Key: "compat", Kind: render.KindText, Show: programs},
			scanVirtualSize:   {Key: "virtual-size", Title: "VIRTUAL", Kind: render.KindSize, Drop: 3},
			scanFileSize:      {Key: "file-size", Kind: render.KindSize, Show: programs},
			scanActualSize:    {Key: "actual-size", Title: "ON DISK", Kind: render.KindSize, Drop: 1},
			scanEndOffset:     {Key: "image-end-offset", Kind: render.KindSize, Show: programs},
			scanSnapshots:     {Key: "snapshots", Title: "SNAPSHOTS", Kind: render.KindUint, Drop: 5},
			scanSnapshotsOnly: {Key: "snapshots-only", Title: "HELD BY SNAPSHOTS", Kind: render.KindSize, Drop: 4},
			scanFreeBytes:     {Key: "free-bytes", Title: "FREE", Kind: render.KindSize, Drop: 2},
			scanLeakedBytes:   {Key: "leaked-bytes", Title: "LEAKED", Kind: render.KindSize, Drop: 1, Tones: caution()},
			scanCorruptions:   {Key: "corruptions", Kind: render.KindUint, Show: programs},
			scanLeaks:         {Key: "leaks", Kind: render.KindUint, Show: programs},
			scanCheckErrors:   {Key: "check-errors", Kind: render.KindUint, Show: programs},
			scanChanged:       {Key: "changed", Kind: render.KindBool, Show: programs},
			scanElsewhere:     {Key: "open-elsewhere", Kind: render.KindEnum, Names: qcow2.ElsewhereNames(), Show: programs},
			scanDirty:         {Key: "dirty-flag", Kind: render.KindBool, Show: programs},
			scanCorrupt:       {Key: "corrupt", Kind: render.KindBool, Show: programs},
			scanEncrypted:     {Key: "encrypted", Kind: render.KindBool, Show: programs},
			scanBacking:       {Key: "backing-filename", Title: "BACKING FILE", Kind: render.KindImageText, Drop: 6},
			scanBackingFormat: {Key: "backing-filename-format", Kind: render.KindImageText, Show: programs},
			scanDataFile:      {Key: "data-file", Kind: render.KindImageText, Show: programs},
			scanBitmaps:       {Key: "bitmaps", Kind: render.KindUint, Show: programs},
			scanMessage:       {Key: "message", Kind: render.KindText, Show: programs},
		},
	}
}

// statusTones is what the statuses mean.
func statusTones() []render.Tone {
	return []render.Tone{
		fleet.StatusOK:          render.ToneGood,
		fleet.StatusLeaks:       render.ToneCaution,
		fleet.StatusErrors:      render.ToneAlarm,
		fleet.StatusLive:        render.ToneCaution,
		fleet.StatusChanged:     render.ToneCaution,
		fleet.StatusUnsupported: render.ToneCaution,
		fleet.StatusNotQcow2:    render.ToneCaution,
		fleet.StatusUnreadable:  render.ToneAlarm,
		fleet.StatusTimedOut:    render.ToneAlarm,
	}
}

// scanCells sets the cells of a row.
func scanCells(c []render.Value, r *fleet.Row) {
	clear(c)
	c[scanFile], c[scanStatus] = render.ImageText(r.Name), render.Enum(uint64(r.Status))
	if f := r.File; f != nil {
		c[scanFileSize] = render.Size(f.Size)
		c[scanActualSize] = valueIf(f.HasAllocated, render.Size(f.Allocated))
		c[scanChanged] = valueIf(f.HasChanged, render.Bool(f.Changed))
		c[scanElsewhere] = valueIf(f.HasElsewhere, render.Enum(uint64(f.Elsewhere)))
	}
	if i := r.Image; i != nil {
		c[scanVersion], c[scanCompat] = render.Uint(uint64(i.Version)), render.Text(i.Compat)
		c[scanVirtualSize], c[scanSnapshots] = render.Size(i.VirtualSize), render.Uint(uint64(i.Snapshots))
		c[scanEncrypted] = render.Bool(i.Encrypted)
		c[scanDirty], c[scanCorrupt] = valueIf(i.HasFeatures, render.Bool(i.Dirty)), valueIf(i.HasFeatures, render.Bool(i.Corrupt))
		c[scanBacking], c[scanBackingFormat] = imageText(i.Backing, i.HasBacking), imageText(i.BackingFormat, i.HasBackingFormat)
		c[scanDataFile] = imageText(i.DataFile, i.HasDataFile)
		c[scanBitmaps] = valueIf(i.HasBitmaps, render.Uint(uint64(i.Bitmaps)))
	}
	if n := r.Counts; n != nil {
		c[scanEndOffset] = render.Size(n.ImageEndOffset)
		c[scanSnapshotsOnly] = valueIf(n.HasSnapshotsOnly, render.Size(n.SnapshotsOnly))
		c[scanFreeBytes], c[scanLeakedBytes] = render.Size(n.FreeBytes), render.Size(n.LeakedBytes)
		c[scanCorruptions], c[scanLeaks], c[scanCheckErrors] = render.Uint(n.Corruptions), render.Uint(n.Leaks), render.Uint(n.CheckErrors)
	}
	if words := r.Message(); words != "" {
		c[scanMessage] = render.Text(words)
	}
}

// appendScanLine makes plain lines: "leaks disks/a.qcow2: virtual 1073741824, on disk
// 12288, snapshots 2, held by snapshots 0, free 0, leaked 4096; 1 leaked cluster".
// What is not known is left out.
func appendScanLine(dst []byte, row []render.Value) []byte {
	dst = fmt.Appendf(dst, "%s %s", fleet.Status(row[scanStatus].Num()), render.Escape(row[scanFile].Str()))
	sep := ": "
	for _, n := range []struct {
		words  string
		column int
	}{
		{"virtual", scanVirtualSize}, {"on disk", scanActualSize}, {"snapshots", scanSnapshots},
		{"held by snapshots", scanSnapshotsOnly}, {"free", scanFreeBytes}, {"leaked", scanLeakedBytes},
	} {
		if !row[n.column].IsNull() {
			dst = fmt.Appendf(dst, "%s%s %d", sep, n.words, row[n.column].Num())
			sep = ", "
		}
	}
	if !row[scanBacking].IsNull() {
		dst = fmt.Appendf(dst, "%sbacking file %s", sep, render.Escape(row[scanBacking].Str()))
		sep = ", "
	}
	if !row[scanMessage].IsNull() {
		if sep == ", " {
			sep = "; "
		}
		dst = append(append(dst, sep...), printable(row[scanMessage].Str())...)
	}
	return dst
}
