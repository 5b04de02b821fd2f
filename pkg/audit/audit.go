package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// A File is what is audited.
type File struct {
	io.ReaderAt
	Size int64 // bytes
	// Pipe says that the bytes are the start of something longer, as [ReadPrefix]
	// returns it; it needs [Options.HeaderOnly].
	Pipe bool
	// DataRange, if not nil, finds what is no hole, as [qcow2.HostFile.DataRange] does.
	DataRange func(offset uint64) (start, end uint64, err error)
	// OpenElsewhere, if not nil, returns what another program does with the file, as
	// [qcow2.HostFile.OpenElsewhere] does. Without it "open-for-writing" is off.
	OpenElsewhere func() (state qcow2.Elsewhere, ok bool)
}

// A Declared is the format that whoever hands in a file says it has.
type Declared string

// The formats that can be declared.
const (
	DeclaredQcow2 Declared = "qcow2"
	DeclaredRaw   Declared = "raw" // any signature of an image format rejects it
)

// Options changes what is looked at.
type Options struct {
	Policy   Policy
	Declared Declared // "": qcow2
	// Content lets the rules of [ScopeContent] read bytes that are no metadata.
	Content bool
	// HeaderOnly looks at the first 64 KiB alone, or at the first cluster if that is
	// larger. Only the rules of [ScopeHeader] are on.
	HeaderOnly bool
	// Zstd fills dst with the first bytes of what src decompresses to. Without it
	// zstd-compressed clusters cannot be looked at.
	Zstd func(dst, src []byte) error
	// Now is the time that dates are compared with; zero: they cannot be.
	Now time.Time
	// Name is that of the file; it can be empty.
	Name string
	// Progress, if not nil, is called now and then with how much of the check is
	// done.
	Progress func(done, total uint64)
}

// A Report is what an audit found.
type Report struct {
	Verdict Verdict
	// Format is the name of the format that the file has; empty: not known.
	Format string
	// VirtualSize is the size of the disk in bytes, meaningful when HasVirtualSize
	// is true.
	VirtualSize    uint64
	HasVirtualSize bool
	// Findings are why rules fail, the gravest first, and what was not checked for
	// another reason.
	Findings []Finding
	// Results has every rule, in the order of [Rules].
	Results []Result
}

// A Result is how the image fared with a rule, and what that means.
type Result struct {
	Rule    ID
	Level   Level
	Outcome Outcome
}

// Count returns how many rules have an outcome.
func (r *Report) Count(o Outcome) int {
	n := 0
	for _, result := range r.Results {
		if result.Outcome == o {
			n++
		}
	}
	return n
}

// Audit judges a file. What is wrong with it is in the report; the error says that
// there is no verdict: the start of the file cannot be read, or the context is done.
func Audit(ctx context.Context, f File, o Options) (*Report, error) {
	x, err := examine(ctx, f, o)
	if err != nil {
		return nil, err
	}
	r := &Report{Format: x.format()}
	r.VirtualSize, r.HasVirtualSize = x.virtualSize()
	j := judge{report: r, causes: map[string]int{}}
	for _, rule := range Rules() {
		j.judge(x, &rule)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	j.finish()
	return r, nil
}

// A judge makes a report.
type judge struct {
	report    *Report
	unchecked []uncheckedRules
	causes    map[string]int // indexes of unchecked, by what it says
}

// An uncheckedRules is rules that were not checked, for one reason.
type uncheckedRules struct {
	finding Finding // of the first of them
	more    int
}

// A harmlessError is why a rule could not be checked where that rejects nothing:
// another rule says the same.
type harmlessError struct{ error }

// judge looks at one rule.
func (j *judge) judge(x *examination, rule *Rule) {
	level := x.level(rule)
	result := Result{rule.ID, level, Off}
	if level > LevelOff {
		findings, err := x.check(rule)
		switch {
		case len(findings) > 0:
			result.Outcome = Fail
			j.fail(rule.ID, level, findings)
		case err != nil:
			result.Outcome = NotChecked
			result.Level = j.notChecked(rule.ID, level, err)
		default:
			result.Outcome = Pass
		}
	}
	j.report.Results = append(j.report.Results, result)
}

// fail adds what a rule found.
func (j *judge) fail(id ID, level Level, findings []Finding) {
	for _, f := range findings {
		f.Rule, f.Level = id, level
		j.report.Findings = append(j.report.Findings, f)
	}
	if level == LevelReject {
		j.report.Verdict = Reject
	}
}

// notChecked notes that a rule was not checked, and returns its level. Rules that
// were not checked for one reason are one finding.
func (j *judge) notChecked(id ID, level Level, err error) Level {
	f := ofError(err)
	f.Rule, f.Level, f.NotChecked = id, LevelReject, true
	if _, ok := errors.AsType[harmlessError](err); ok {
		level, f.Level = min(level, LevelNote), LevelNote
	} else {
		j.report.Verdict = Reject
	}
	cause := fmt.Sprint(f.Level, f.Offset, f.Message)
	if i, ok := j.causes[cause]; ok {
		j.unchecked[i].more++
		return level
	}
	j.causes[cause] = len(j.unchecked)
	j.unchecked = append(j.unchecked, uncheckedRules{finding: f})
	return level
}

// finish orders the findings. Why rules were not checked is left out where a rule that
// rejects has failed for the same reason.
func (j *judge) finish() {
	failed := j.report.Findings
	for _, u := range j.unchecked {
		f := u.finding
		if slices.ContainsFunc(failed, func(o Finding) bool {
			return o.Level == LevelReject && o.Message == f.Message && o.Offset == f.Offset
		}) {
			continue
		}
		f.Message = "not checked: " + f.Message
		switch u.more {
		case 0:
		case 1:
			f.Message += "; nor was another rule"
		default:
			f.Message += fmt.Sprintf("; nor were %d more rules", u.more)
		}
		j.report.Findings = append(j.report.Findings, f)
	}
	slices.SortStableFunc(j.report.Findings, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
}
