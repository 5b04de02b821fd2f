package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// A checkVerdict is what check makes of an image.
type checkVerdict struct {
	result   qcow2.CheckResult
	warnings uint64
	corrupt  bool // the corrupt bit is set
	backed   bool // there is a backing file
}

// checkFacts are the totals, after those of qemu-img check.
func checkFacts(v *checkVerdict, omitted uint64) []fact {
	r, m := &v.result, &v.result.Missing
	all := []fact{
		{render.Column{Key: "result", Title: "Result", Kind: render.KindText, Tones: v.tones(), Show: render.InTable | render.InPlain},
			render.Text(v.words())},
		{render.Column{Key: "problems-omitted", Title: "Problems left out", Kind: render.KindUint}, render.Uint(omitted)},
		{render.Column{Key: "check-errors", Title: "Read errors", Kind: render.KindUint, Tones: alarm()}, render.Uint(r.CheckErrors)},
		{render.Column{Key: "corruptions", Title: "Errors", Kind: render.KindUint, Tones: alarm()}, render.Uint(r.Corruptions)},
		{render.Column{Key: "leaks", Title: "Leaked clusters", Kind: render.KindUint, Tones: caution()}, render.Uint(r.Leaks)},
		{render.Column{Key: "image-end-offset", Title: "Image end offset", Kind: render.KindSize}, render.Size(r.ImageEndOffset)},
		{render.Column{Key: "total-clusters", Title: "Guest clusters", Kind: render.KindUint}, render.Uint(r.TotalClusters)},
		{render.Column{Key: "allocated-clusters", Title: "Allocated clusters", Kind: render.KindUint}, render.Uint(r.AllocatedClusters)},
		{render.Column{Key: "fragmented-clusters", Title: "Fragmented clusters", Kind: render.KindUint}, render.Uint(r.FragmentedClusters)},
		{render.Column{Key: "compressed-clusters", Title: "Compressed clusters", Kind: render.KindUint}, render.Uint(r.CompressedClusters)},
		{render.Column{Key: "missing.file-bytes", Kind: render.KindSize, Show: render.InJSON}, valueIf(m.FileBytes > 0, render.Size(m.FileBytes))},
		{render.Column{Key: "missing.guest-bytes", Kind: render.KindSize, Show: render.InJSON}, valueIf(m.FileBytes > 0, render.Size(m.GuestBytes))},
		{render.Column{Key: "unread", Kind: render.KindList, Show: render.InJSON}, render.List(r.Unread.Names())},
	}
	if m.FileBytes > 0 {
		all = append(all, fact{render.Column{Key: "missing", Title: "Missing", Kind: render.KindText, Tones: alarm(), Show: render.InTable | render.InPlain},
			render.Text(fmt.Sprintf("the file is %s short, and %s of the disk are lost with that", bytesInWords(m.FileBytes), bytesInWords(m.GuestBytes)))})
	}
	return all
}

// bytesInWords returns a number of bytes.
func bytesInWords(n uint64) string { return counted(n, "byte", "bytes") }

// words returns the result in words.
func (v *checkVerdict) words() string {
	var words []string
	if n := v.result.Corruptions; n > 0 {
		words = append(words, counted(n, "error", "errors"))
	}
	if n := v.result.Leaks; n > 0 {
		leaks := counted(n, "leaked cluster", "leaked clusters")
		if v.result.Unread != 0 {
			leaks = counted(n, "cluster that looks leaked", "clusters that look leaked") + ", but may be in use"
		}
		words = append(words, leaks)
	}
	if len(words) == 0 {
		words = append(words, "consistent")
		if v.backed {
			words = append(words, "its backing file was not looked at")
		}
	}
	if v.warnings > 0 {
		words = append(words, counted(v.warnings, "warning", "warnings"))
	}
	return strings.Join(words, ", ")
}

// tones returns the tone of the result in words.
func (v *checkVerdict) tones() []render.Tone {
	switch {
	case v.result.Corruptions > 0:
		return alarm()
	case v.result.Leaks > 0:
		return caution()
	}
	return []render.Tone{render.ToneGood}
}

// advise notes what the numbers do not say.
func (v *checkVerdict) advise(rep *report) {
	r := &v.result
	switch {
	case r.Leaks > 0 && r.AboveLimit:
		rep.note(&hintError{errLooksLeaked, "--no-limits reads what is above a limit"})
	case r.Leaks > 0 && r.Unread != 0:
		rep.note(&hintError{errLooksLeaked, "mend what was not read first, in a copy: to free what it uses destroys data"})
	case v.corrupt && r.Corruptions+r.Leaks+r.CheckErrors == 0:
		rep.note(errOnlyCorruptBit)
	}
}

// errLooksLeaked says that what looks leaked may be in use.
var errLooksLeaked = errors.New("not all was read that refers to clusters: what looks leaked may be data")

// errOnlyCorruptBit says that the corrupt bit is all that is wrong.
var errOnlyCorruptBit = &hintError{
	errors.New("the corrupt bit is set, and nothing else is wrong"),
	"'qemu-img check -r all' clears the bit: run it on a copy first",
}
