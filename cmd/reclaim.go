package cmd

import (
	"errors"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the section of what can be reclaimed.
const (
	reclaimKind = iota
	reclaimClusters
	reclaimBytes
	reclaimOnDisk
	reclaimHow
	reclaimWords
)

// reclaimSection declares what can be given back.
func reclaimSection() *render.Section {
	return &render.Section{
		Key:    "reclaim",
		Title:  "What can be given back",
		Layout: render.LayoutList,
		Label:  "kind",
		Columns: []render.Column{
			reclaimKind:     {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.ReclaimKindNames()},
			reclaimClusters: {Key: "clusters", Title: "CLUSTERS", Kind: render.KindUint, Drop: 1},
			reclaimBytes:    {Key: "bytes", Title: "BYTES", Kind: render.KindSize},
			reclaimOnDisk:   {Key: "on-disk", Title: "ON DISK", Kind: render.KindSize, Drop: 2},
			reclaimHow:      {Key: "how", Kind: render.KindEnum, Names: qcow2.ReclaimMethodNames(), Show: render.InPlain | render.InJSON},
			reclaimWords:    {Key: "advice", Title: "HOW", Kind: render.KindText, Show: render.InTable},
		},
	}
}

// listReclaim pushes what can be reclaimed, in a table only what there is of it.
// The end of a block device is no tail, but room to grow.
func listReclaim(rep *report, u *qcow2.Usage, o usageOptions) {
	s := reclaimSection()
	rep.Section(s)
	advice := newReclaimAdvice(rep, u)
	if advice.device && !rep.motion.elsewhereKnown {
		rep.note(errOpenUnknown)
	}
	c := make([]render.Value, len(s.Columns))
	for _, r := range u.Reclaim {
		if r.Kind == qcow2.ReclaimTail && rep.file.IsDevice() || o.people && r.Bytes == 0 {
			continue
		}
		c[reclaimKind], c[reclaimClusters], c[reclaimBytes] = render.Enum(uint64(r.Kind)), render.Uint(r.Clusters), render.Size(r.Bytes)
		c[reclaimOnDisk] = valueIf(u.HasOnDisk, render.Size(r.OnDisk))
		c[reclaimHow], c[reclaimWords] = render.Enum(uint64(r.Kind)), render.Text(advice.of(r))
		rep.row(c...)
	}
}

// errOpenUnknown warns of the commands for a block device.
var errOpenUnknown = errors.New("whether another program has the device open is not known: type no command before you know that none has")

// A reclaimAdvice knows what to type to give space back.
type reclaimAdvice struct {
	usage     *qcow2.Usage
	file      string // the name of the image as a word for the shell
	device    bool
	copies    bool      // a copy has all that the image has
	unknown   bool      // clusters that look leaked may belong to a feature that is not known
	snapshots deletions // of all snapshots
	// blocked is why nothing may be written to the image now: empty, if it may.
	blocked string
}

func newReclaimAdvice(rep *report, u *qcow2.Usage) *reclaimAdvice {
	h := rep.img.Header()
	_, bitmaps := rep.img.Extension(qcow2.ExtBitmaps)
	return &reclaimAdvice{
		usage: u, file: shellFile(rep.name), device: rep.file.IsDevice(),
		copies:    u.HasCompact && h.NbSnapshots == 0 && !bitmaps,
		unknown:   hasUnknownParts(rep.img),
		snapshots: newDeletions(rep.img),
		blocked:   blockedReason(rep, u),
	}
}

// blockedReason returns why no command may be given that writes to an image:
// punched, cut or repaired while a machine runs, it loses data.
func blockedReason(rep *report, u *qcow2.Usage) string {
	rep.motion.look(rep.file)
	switch {
	case rep.motion.writing():
		return "stop the VM first"
	case rep.motion.elsewhere == qcow2.ElsewhereReading: // it may be the base of a running machine
		return "when no other program has it open"
	case u.TakenForFree > 0 || u.TooLow > 0:
		return "repair the image first: see 'qinspect check'"
	}
	return ""
}

// hasUnknownParts reports whether an image has features or extensions that are not
// known, which some programs keep clusters for.
func hasUnknownParts(img *qcow2.Image) bool {
	h := img.Header()
	if h.CompatibleFeatures&^qcow2.LazyRefcounts != 0 || h.AutoclearFeatures&^(qcow2.BitmapsConsistent|qcow2.RawExternalData) != 0 {
		return true
	}
	for x, err := range img.Extensions() {
		if err == nil && x.Type.String() == "unknown" {
			return true
		}
	}
	return false
}

// of returns what to do about a kind, in words, and what to type.
func (a *reclaimAdvice) of(r qcow2.Reclaim) string {
	if a.blocked != "" {
		return a.blocked
	}
	switch r.Kind {
	case qcow2.ReclaimFree:
		return a.free(r)
	case qcow2.ReclaimTail:
		return fmt.Sprintf("cut the file: truncate -s %d %s", a.usage.ImageEndOffset, a.file)
	case qcow2.ReclaimZeroAllocated:
		return "let the guest discard what it does not use: fstrim -av, on a disk with discard=unmap"
	case qcow2.ReclaimLeaked:
		if a.unknown {
			return "may belong to a feature that qinspect does not know: a repair would free them"
		}
		return "repair: qemu-img check -r leaks " + a.file
	}
	return a.snapshots.advice(a.file)
}

// free returns what to do about free clusters.
func (a *reclaimAdvice) free(r qcow2.Reclaim) string {
	tool := "punch holes: fallocate -p"
	switch {
	case a.usage.HasOnDisk && r.OnDisk == 0:
		return "nothing to do: they are holes, and are used again before the file grows"
	case a.copies:
		return "copy the image: qemu-img convert -O qcow2 " + a.file + " NEW"
	case a.device:
		tool = "discard: blkdiscard"
	}
	return fmt.Sprintf("%s -o OFFSET -l LENGTH %s, with the ranges of: qinspect host --kind free %s", tool, a.file, a.file)
}
