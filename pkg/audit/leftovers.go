package audit

import (
	"errors"
	"iter"
	"time"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// leftoverRules are about what the image carries beside the disk.
func leftoverRules() []Rule {
	return []Rule{
		warns("snapshots", "there are internal snapshots: old data leave with the image", checkSnapshots).in(ScopeHeader),
		rejects("vm-state", "a snapshot has the state of a machine, its memory among it, or something is mapped past the end of the disk", checkVMState),
		notes("bitmaps", "there are persistent bitmaps", checkBitmaps).in(ScopeHeader),
		rejects("nested-format", "the disk begins with the signature of an image format, so that a raw copy of it is an image again; reads the first 36 KiB of the disk", checkNested),
		warns("hidden-tail", "the file goes on after the last cluster in use, not as a hole", checkHiddenTail),
		notes("hidden-free", "free or leaked clusters hold bytes other than zero", checkHiddenFree).in(ScopeContent).strictly(),
		notes("hidden-slack", "clusters of the header or of tables hold bytes other than zero where nothing is to be", checkHiddenSlack).in(ScopeContent),
		{ID: "timestamps", About: "a snapshot is dated before 1980 or in the future", Scope: ScopeImage, check: checkTimestamps},
	}
}

func checkSnapshots(x *examination) ([]Finding, error) {
	n := x.img.Header().NbSnapshots
	return failIf(n > 0, func() Finding {
		return found("internal snapshots: %d", n).field("nb_snapshots").value(uint64(n))
	})
}

func checkVMState(x *examination) ([]Finding, error) {
	u, err := x.usage()
	if err != nil {
		return nil, err
	}
	for s, err := range x.img.Snapshots() {
		if err != nil {
			return nil, err
		}
		if s.VMStateSize > 0 {
			return only(found("snapshot %q has a machine state of %d bytes", s.Name, s.VMStateSize).at(s.Offset).value(s.VMStateSize).named(s.Name))
		}
	}
	for _, k := range u.Kinds {
		if k.Kind == qcow2.HostVMState && k.Clusters > 0 {
			return only(found("%d clusters hold what is mapped past the end of a disk", k.Clusters).value(k.Clusters))
		}
	}
	return x.checkPastEnd()
}

// checkPastEnd looks for what the active image maps past the end of the disk,
// before VM state would begin.
func (x *examination) checkPastEnd() ([]Finding, error) {
	m, err := x.img.Mapper(x.ctx, qcow2.GuestOptions{VMState: true, Mapped: true})
	if err != nil {
		return nil, err
	}
	var all []Finding
	from := (x.g.VirtualSize + x.g.ClusterSize - 1) / x.g.ClusterSize * x.g.ClusterSize
	if from < x.g.VirtualSize || from >= x.g.VMStateOffset {
		return nil, nil
	}
	m.Map(from, x.g.VMStateOffset, func(p *qcow2.Mapping, e error) bool {
		switch {
		case e != nil:
			err = e
		case p.Kind != qcow2.MappingZero:
			all = append(all, found("guest address %#x is mapped, past the end of the disk", p.Start).value(p.Start).limit(x.g.VirtualSize))
		}
		return e == nil && all == nil
	})
	return all, err
}

func checkBitmaps(x *examination) ([]Finding, error) {
	e, ok := x.img.Extension(qcow2.ExtBitmaps)
	return failIf(ok, func() Finding {
		if !x.img.BitmapsConsistent() {
			return found("there are persistent bitmaps, and they are stale").at(e.Offset)
		}
		return found("there are persistent bitmaps").at(e.Offset)
	})
}

func checkNested(x *examination) ([]Finding, error) {
	p, err := x.guestHead()
	if err != nil {
		return nil, err
	}
	for s := range qcow2.HeadSignatures(p) {
		if s.Format != string(DeclaredRaw) {
			return only(found("the disk itself looks like %s", s.What).at(s.Offset).over(s.Length))
		}
	}
	return nil, nil
}

func checkHiddenTail(x *examination) ([]Finding, error) {
	u, err := x.usage()
	if err != nil {
		return nil, err
	}
	for _, r := range u.Reclaim {
		if r.Kind != qcow2.ReclaimTail {
			continue
		}
		n := r.Bytes
		if u.HasOnDisk {
			n = r.OnDisk
		}
		return failIf(n > 0, func() Finding {
			return found("the file goes on for %d bytes after the last cluster in use", u.Tail).at(u.ImageEndOffset).over(u.Tail).value(n)
		})
	}
	return nil, errors.New("where the image ends is not known")
}

func checkHiddenFree(x *examination) ([]Finding, error) {
	unused := func(k qcow2.HostKind) bool { return !k.Referenced() }
	return x.nonZero("clusters to which nothing refers hold bytes other than zero", func(yield func(uint64, uint64) bool) {
		for r, err := range x.img.Host(x.ctx, qcow2.HostOptions{Wanted: unused}) {
			if err == nil && !yield(r.Offset, r.Offset+r.Length) {
				return
			}
		}
	})
}

func checkHiddenSlack(x *examination) ([]Finding, error) {
	if p := x.img.Header().Padding; p != [7]byte{} {
		return only(found("the padding of the header is %x", p).field("compression_type"))
	}
	return x.nonZero("a cluster of the header or of a table holds bytes other than zero where nothing is to be", func(yield func(uint64, uint64) bool) {
		for s, err := range x.img.Slacks() {
			if err != nil || !yield(s.Offset, s.Offset+s.Length) {
				return
			}
		}
	})
}

// nonZero fails if ranges of the file hold bytes other than zero.
func (x *examination) nonZero(what string, ranges iter.Seq2[uint64, uint64]) ([]Finding, error) {
	if err := x.img.Supported(); err != nil {
		return nil, err
	}
	at, ok, err := x.img.NonZero(x.ctx, ranges)
	if err != nil {
		return nil, err
	}
	return failIf(ok, func() Finding { return found("%s, the first at %#x", what, at).at(at) })
}

func checkTimestamps(x *examination) ([]Finding, error) {
	if x.options.Now.IsZero() {
		return nil, errors.New("the time is not known")
	}
	earliest := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	for s, err := range x.img.Snapshots() {
		if err != nil {
			return nil, err
		}
		if date := time.Unix(int64(s.Seconds), 0).UTC(); date.Before(earliest) || date.After(x.options.Now) {
			return only(found("snapshot %q is dated %s", s.Name, date.Format(time.RFC3339)).at(s.Offset).value(uint64(s.Seconds)).named(s.Name))
		}
	}
	return nil, nil
}
