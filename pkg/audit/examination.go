package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"sync"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// An examination is one file, and what is known of it: each fact is asked for once.
type examination struct {
	ctx     context.Context
	file    File
	size    int64 // bytes that are looked at
	options Options
	policy  Policy
	head    []byte // what can hold signatures, from the start

	img     *qcow2.Image // nil: there is none, and openErr says why
	openErr error
	g       qcow2.Geometry

	checked func() (*checked, error)
	repeats func() (qcow2.Repeats, error)
	names   func() ([]qcow2.FileReference, error)
}

// errNoImage is why nothing is known of the image in a file that was declared raw.
var errNoImage = errors.New("the file was declared raw")

// examine reads the start of a file. The error says that this failed.
func examine(ctx context.Context, f File, o Options) (*examination, error) {
	x := &examination{ctx: ctx, file: f, size: max(f.Size, 0), options: o, policy: o.Policy, openErr: errNoImage}
	if o.HeaderOnly {
		x.size = prefixLength(f, x.size)
	}
	x.checked = sync.OnceValues(x.survey)
	x.repeats = sync.OnceValues(func() (qcow2.Repeats, error) { return x.img.Repeats(ctx) })
	x.names = sync.OnceValues(x.findNames)
	x.head = make([]byte, min(x.size, qcow2.SignatureBytes))
	if err := readAt(f, x.head, 0); err != nil {
		return nil, err
	}
	if o.Declared == DeclaredRaw {
		return x, nil
	}
	return x, x.open()
}

// open opens the image. The error is not about what the file holds.
func (x *examination) open() error {
	var opts []qcow2.Option
	if x.file.DataRange != nil && !x.options.HeaderOnly {
		opts = append(opts, qcow2.WithHoles(x.file.DataRange))
	}
	x.img, x.openErr = qcow2.Open(x.file, x.size, opts...)
	if x.openErr == nil {
		x.g, _ = x.img.Geometry() // HeaderErrors says why there is none
		return nil
	}
	for _, kind := range []error{qcow2.ErrNotQcow2, qcow2.ErrUnsupported, qcow2.ErrTruncated, qcow2.ErrCorrupt} {
		if errors.Is(x.openErr, kind) {
			return nil
		}
	}
	return x.openErr
}

// level returns the level of a rule, off if the options leave it out.
func (x *examination) level(rule *Rule) Level {
	raw := x.options.Declared == DeclaredRaw
	switch {
	case x.options.HeaderOnly && rule.Scope != ScopeHeader,
		rule.Scope == ScopeContent && !x.options.Content,
		rule.Scope == ScopeSystem && x.file.OpenElsewhere == nil,
		raw && !rule.raw,
		!raw && rule.ID == notRaw,
		rule.ID == virtualSize && x.policy.MaxVirtualSize == 0:
		return LevelOff
	}
	return x.policy.Level(rule.ID)
}

// check judges the file by one rule.
func (x *examination) check(rule *Rule) ([]Finding, error) {
	if x.img == nil && !rule.noImage {
		return nil, x.openErr
	}
	return rule.check(x)
}

// format returns the name of the format of the file, empty if it is not known.
func (x *examination) format() string {
	if x.options.Declared == DeclaredRaw {
		for s := range qcow2.HeadSignatures(x.head) {
			return s.Format
		}
		return string(DeclaredRaw)
	}
	if x.img != nil || errors.Is(x.openErr, qcow2.ErrUnsupported) {
		return "qcow2"
	}
	format, _ := errors.AsType[qcow2.ForeignFormat](x.openErr)
	return string(format)
}

// virtualSize returns the size of the disk in bytes, and whether it is known.
func (x *examination) virtualSize() (uint64, bool) {
	switch {
	case x.img != nil:
		return x.img.Header().VirtualSize(), true
	case x.options.Declared == DeclaredRaw && !x.file.Pipe:
		return uint64(max(x.file.Size, 0)), true
	}
	return 0, false
}

// A checked is what [qcow2.Image.Survey] says, as far as rules ask.
type checked struct {
	qcow2.CheckResult
	usage    *qcow2.Usage
	first    *Finding // of the errors
	overlap  *Finding // of the overlaps
	overlaps uint64   // clusters
}

// survey checks the image, and adds up its usage: one walk serves both.
func (x *examination) survey() (*checked, error) {
	c := &checked{}
	o := qcow2.CheckOptions{Name: x.options.Name, Progress: x.options.Progress, Finding: c.add}
	var err error
	c.CheckResult, c.usage, err = x.img.Survey(x.ctx, o, qcow2.UsageOptions{})
	return c, err
}

// usage returns the usage of the image.
func (x *examination) usage() (*qcow2.Usage, error) {
	c, err := x.checked()
	return c.usage, err
}

// findNames finds the other files that the image names. The error says that there
// can be more.
func (x *examination) findNames() ([]qcow2.FileReference, error) {
	var all []qcow2.FileReference
	var failed error
	for r, err := range x.img.References() {
		if err == nil {
			all = append(all, r)
		} else if failed == nil {
			failed = err
		}
	}
	return all, failed
}

// readAt reads all bytes of p.
func readAt(r io.ReaderAt, p []byte, offset int64) error {
	n, err := r.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// prefixBytes is how much of a file is read with [Options.HeaderOnly], unless its
// first cluster is larger.
const prefixBytes = 64 << 10

// prefixLength returns how much of a file of size bytes is read with
// [Options.HeaderOnly].
func prefixLength(r io.ReaderAt, size int64) int64 {
	n := min(size, prefixBytes)
	img, err := qcow2.Open(r, n)
	if err != nil {
		return n // examine says it
	}
	g, _ := img.Geometry() // no cluster size is 0
	return min(size, max(n, int64(g.ClusterSize)))
}

// ReadPrefix reads what an audit with [Options.HeaderOnly] looks at, from something
// that can be read only once.
func ReadPrefix(r io.Reader) ([]byte, error) {
	p, err := io.ReadAll(io.LimitReader(r, prefixBytes))
	if err != nil {
		return nil, err
	}
	n := prefixLength(bytes.NewReader(p), math.MaxInt64)
	rest, err := io.ReadAll(io.LimitReader(r, n-int64(len(p)))) // nothing, where that is not above 0
	return append(p, rest...), err
}
