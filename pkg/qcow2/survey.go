package qcow2

import (
	"context"

	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// Survey is [Image.Check] and [Image.Usage] at once: both results are the same, but
// each table is read and decoded once, as one walk serves both.
//
// Progress of check is called for the whole; that of usage is ignored. If Finding ends the
// check, there is no usage: it is nil. The error is that of [Image.Supported], or of
// a cancelled context.
func (img *Image) Survey(ctx context.Context, check CheckOptions, usage UsageOptions) (CheckResult, *Usage, error) {
	if err := img.Supported(); err != nil {
		return CheckResult{}, nil, err
	}
	w := newReferenceWalk(ctx, img)
	s := &surveyor{newChecker(w, check), newUsageCounter(w, usage.Damage)}
	w.sink, w.entry, w.run, w.beyond = s, s.addL1Entry, s.addRun, s.checker.need
	s.checker.check()
	if s.checker.stopped || ctx.Err() != nil {
		return s.checker.result, nil, ctx.Err()
	}
	w.tick.report = nil // all is done as far as the caller was told
	u, err := s.counter.finish(usage.Without)
	return s.checker.result, u, err
}

// A surveyor hands what a walk finds to a checker, and to a usageCounter. It is the
// sink of the walk.
type surveyor struct {
	checker *checker
	counter *usageCounter
}

// addStructures implements referenceSink.
func (s *surveyor) addStructures(r *reference) bool {
	return s.checker.addStructures(r) && s.counter.addStructures(r)
}

// add implements referenceSink.
func (s *surveyor) add(r *reference) bool { return s.checker.add(r) && s.counter.add(r) }

// addData implements referenceSink.
func (s *surveyor) addData(d *dataBatch) bool { return s.checker.addData(d) && s.counter.addData(d) }

// fail implements referenceSink.
func (s *surveyor) fail(err error) bool { return s.checker.fail(err) && s.counter.fail(err) }

// addL1Entry takes an L1 entry from the walk.
func (s *surveyor) addL1Entry(g *interval.Segment, at uint64, e L1Entry) bool {
	return s.checker.checkL1Entry(g, at, e) && s.counter.mapped.addL1Entry(g, at, e)
}

// addRun takes a run of L2 entries from the walk.
func (s *surveyor) addRun(t *ownedTable, r *l2Run) bool {
	return s.checker.checkRun(t, r) && s.counter.mapped.addRun(t, r)
}
