package audit

import (
	"cmp"
	"errors"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// notRaw is the rule that is on where raw was declared, and only there.
const notRaw ID = "not-raw"

// formatRules are about what other programs take the file for.
func formatRules() []Rule {
	return []Rule{
		rejects("not-qcow2", "the file is no qcow2 image", checkNotQcow2).in(ScopeHeader).ofFile(),
		rejects(notRaw, "the file was declared raw, and has the signature of another format (with --header-only: at its start)", checkNotRaw).in(ScopeHeader).ofRaw(),
		rejects("format-ambiguous", "the file also has the signature of another format where those look who probe for it: VDI, a partition table, ISO 9660, tar", checkAmbiguous).in(ScopeHeader),
		warns("format-tail", "the file ends with the signature of a VHD, a DMG or a zip archive, in bytes to which nothing refers; reads up to 64 KiB at the end of the file", checkTail),
		rejects("version", "the version is not 2 or 3", checkVersion).in(ScopeHeader).ofFile(),
		rejects("open-for-writing", "another program has the file open for writing", checkOpen).in(ScopeSystem).ofRaw(),
	}
}

func checkNotQcow2(x *examination) ([]Finding, error) {
	if x.img != nil || errors.Is(x.openErr, qcow2.ErrUnsupported) {
		return nil, nil
	}
	return only(ofError(x.openErr))
}

func checkNotRaw(x *examination) ([]Finding, error) {
	for s := range qcow2.HeadSignatures(x.head) {
		if s.Format != string(DeclaredRaw) {
			return only(found("it was declared raw, but looks like %s", s.What).at(s.Offset).over(s.Length))
		}
	}
	if x.options.HeaderOnly {
		return nil, nil
	}
	tail, start, err := x.tail()
	if err != nil {
		return nil, err
	}
	for s := range qcow2.TailSignatures(tail) {
		return only(found("it was declared raw, but looks like %s", s.What).at(start + s.Offset).over(s.Length))
	}
	return nil, nil
}

func checkAmbiguous(x *examination) ([]Finding, error) {
	var all []Finding
	for s := range qcow2.HeadSignatures(x.head) {
		if s.Format != "qcow2" {
			all = append(all, found("it also looks like %s", s.What).at(s.Offset).over(s.Length))
		}
	}
	return all, nil
}

// tail returns the end of the file, and where it begins.
func (x *examination) tail() (p []byte, start uint64, err error) {
	p = make([]byte, min(x.size, qcow2.TailBytes))
	start = uint64(x.size) - uint64(len(p))
	return p, start, readAt(x.file, p, int64(start))
}

func checkTail(x *examination) ([]Finding, error) {
	tail, start, err := x.tail()
	if err != nil {
		return nil, err
	}
	for s := range qcow2.TailSignatures(tail) {
		at := start + s.Offset
		unused, err := x.unused(at)
		if err != nil {
			return nil, err
		}
		if unused {
			return only(found("the end of the file looks like that of %s", s.What).at(at).over(s.Length))
		}
	}
	return nil, nil
}

// unused reports whether nothing refers to the byte at a file offset.
func (x *examination) unused(at uint64) (bool, error) {
	if err := x.img.Supported(); err != nil {
		return false, err
	}
	for s, err := range x.img.Slacks() {
		if err == nil && s.Offset <= at && at < s.Offset+s.Length {
			return true, nil
		}
	}
	for r, err := range x.img.Host(x.ctx, qcow2.HostOptions{Offset: at, Length: 1}) {
		if err == nil {
			return !r.Kind.Referenced(), nil
		}
	}
	return false, cmp.Or(x.ctx.Err(), errors.New("what the end of the file holds is not known"))
}

func checkVersion(x *examination) ([]Finding, error) {
	format, _ := errors.AsType[qcow2.ForeignFormat](x.openErr)
	switch {
	case x.img != nil:
		return nil, nil
	case errors.Is(x.openErr, qcow2.ErrUnsupported), format == "qcow":
		return only(ofError(x.openErr).field("version"))
	}
	return nil, x.openErr
}

func checkOpen(x *examination) ([]Finding, error) {
	state, ok := x.file.OpenElsewhere()
	if !ok {
		return nil, errors.New("the system does not tell whether another program has the file open")
	}
	return failIf(state == qcow2.ElsewhereWriting, func() Finding {
		return found("another program has the file open for writing: its content can change at any time")
	})
}
