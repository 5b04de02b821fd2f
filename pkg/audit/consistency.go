package audit

import (
	"cmp"
	"fmt"

	"github.com/qinspect/qinspect/pkg/qcow2"
)

// consistencyRules are about what 'qinspect check' finds.
func consistencyRules() []Rule {
	return []Rule{
		rejects("consistency", "'qinspect check' finds an error", checkConsistency),
		rejects("overlap", "metadata overlap the header or other metadata, or guest data lie there: a write could change them", checkOverlap),
		notes("leaks", "clusters have leaked", checkLeaks).strictly(),
	}
}

// add takes a finding of the check.
func (c *checked) add(f *qcow2.Finding) bool {
	if f.Severity != qcow2.SeverityError {
		return true
	}
	if c.first == nil {
		c.first = ofCheck(f)
	}
	if f.Kind == qcow2.FindingOverlap {
		c.overlaps += f.Count
		if c.overlap == nil {
			c.overlap = ofCheck(f)
		}
	}
	return true
}

// ofCheck returns a finding in the words of the check.
func ofCheck(f *qcow2.Finding) *Finding {
	words := f.Detail
	if f.HasReference && f.HasWith {
		words = fmt.Sprintf("%s, and %s", f.HostKind, f.WithKind)
	} else if f.HasReference && words == "" {
		words = f.HostKind.String()
	}
	finding := found("%s", cmp.Or(f.Kind.String()+": "+words, f.Kind.String()))
	switch {
	case f.HasOffset:
		finding = finding.at(f.Offset).over(f.Length)
	case f.HasEntry:
		finding = finding.at(f.Entry)
	}
	return &finding
}

func checkConsistency(x *examination) ([]Finding, error) {
	c, err := x.checked()
	if err != nil || c.Corruptions == 0 {
		return nil, err
	}
	f := found("'qinspect check' finds errors").value(c.Corruptions)
	if c.first != nil {
		f = c.first.value(c.Corruptions)
		f.Message = "'qinspect check' finds errors, the first: " + f.Message
	}
	return only(f)
}

func checkOverlap(x *examination) ([]Finding, error) {
	c, err := x.checked()
	if err != nil || c.overlap == nil {
		return nil, err
	}
	return only(c.overlap.value(c.overlaps))
}

func checkLeaks(x *examination) ([]Finding, error) {
	c, err := x.checked()
	if err != nil {
		return nil, err
	}
	return failIf(c.Leaks > 0, func() Finding { return found("clusters have leaked: %d", c.Leaks).value(c.Leaks) })
}
