package fleet

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A File is what a [Scanner] asks of the file that an image is in. A [qcow2.File] has
// these methods.
type File interface {
	Close() error
	Info() fs.FileInfo // nil where there is no system to say
	AllocatedBytes() (n int64, ok bool)
	Changed() (changed, ok bool)
	OpenElsewhere() (state qcow2.Elsewhere, ok bool)
}

// A Scanner looks at images. Its methods can be called by several goroutines.
type Scanner struct {
	// Open opens an image; nil: as [qcow2.OpenFile] does.
	Open func(name string) (*qcow2.Image, File, error)
	// Timeout is how long looking at an image may take; 0: as long as it does.
	Timeout time.Duration

	patience patience
}

// The errors of [Scanner.Look] for files that have no row.
var (
	// ErrNoImage: the file was found because it lies in a directory, and is no qcow2
	// image.
	ErrNoImage = errors.New("no image")
	// ErrVanished: the file was in a directory, and is not there any more. A symbolic
	// link may have taken its place, or that of a directory above it, or something else
	// that a [Search] passes over, such as a named pipe.
	ErrVanished = errors.New("vanished")
	// ErrAgain: the file is found [Found.Again], and has a row already.
	ErrAgain = errors.New("found again")
)

// Look opens what was found and looks at it. An image that cannot be read has a row
// that says so. The error is [ErrNoImage], [ErrVanished], [ErrAgain], or that of the
// context. A read that hangs is abandoned when the time is over, or when the context is done.
func (s *Scanner) Look(ctx context.Context, f Found) (*Row, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if f.Err != nil {
		return &Row{Name: f.Name, Status: statusOf(f.Err), Err: f.Err}, nil
	}
	l, err := within(ctx, &s.patience, s.Timeout, func(ctx context.Context) look { return s.look(ctx, f) })
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil && errors.Is(l.err, context.DeadlineExceeded):
		err = late(s.Timeout)
	}
	switch {
	case err != nil && f.Again: // it hung before
		return nil, ErrAgain
	case err != nil:
		return &Row{Name: f.Name, Status: StatusTimedOut, Err: err}, nil
	}
	return l.row, l.err
}

// A look is what came of looking at an image.
type look struct {
	row *Row
	err error
}

// look opens an image and looks at it.
func (s *Scanner) look(ctx context.Context, f Found) look {
	img, file, err := s.open(f.Name)
	if err == nil {
		defer file.Close() //nolint:errcheck // it was only read
	}
	switch {
	case f.Again && !errors.Is(err, qcow2.ErrNotQcow2):
		return look{err: ErrAgain}
	case err != nil && f.Any && errors.Is(err, qcow2.ErrNotQcow2):
		return look{err: ErrNoImage}
	case err != nil && f.Walked && isGone(err):
		return look{err: ErrVanished}
	case err != nil:
		return look{row: &Row{Name: f.Name, Status: statusOf(err), Err: err}}
	}
	if f.Walked && !f.isStill(file.Info()) {
		return look{err: ErrVanished}
	}
	row := &Row{Name: f.Name, File: newFileFacts(img, file), Image: newImageFacts(img)}
	row.Counts, err = count(ctx, img, f.Name)
	if ctx.Err() != nil {
		return look{err: ctx.Err()}
	}
	row.File.lookAgain(file)
	row.judge(err)
	return look{row: row}
}

func (s *Scanner) open(name string) (*qcow2.Image, File, error) {
	if s.Open != nil {
		return s.Open(name)
	}
	f, err := qcow2.OpenFile(name)
	if err != nil {
		return nil, nil, err
	}
	return f.Image, f, nil
}

// count checks an image, and adds up its usage.
func count(ctx context.Context, img *qcow2.Image, name string) (*Counts, error) {
	if full, err := filepath.Abs(name); err == nil {
		name = full
	}
	damaged := false
	check, usage, err := img.Survey(ctx, qcow2.CheckOptions{Name: name}, qcow2.UsageOptions{Damage: func(error) { damaged = true }})
	if err != nil {
		return nil, err
	}
	return &Counts{
		Corruptions: check.Corruptions, Leaks: check.Leaks, CheckErrors: check.CheckErrors,
		ImageEndOffset: check.ImageEndOffset,
		FreeBytes:      usage.Free.Bytes, LeakedBytes: usage.Kinds[qcow2.HostLeaked].Bytes,
		SnapshotsOnly:    usage.SnapshotsOnly,
		HasSnapshotsOnly: usage.Owners != nil && !damaged && usage.DamagedClusters == 0,
	}, nil
}
