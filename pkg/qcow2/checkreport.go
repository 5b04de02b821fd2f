package qcow2

import (
	"errors"
	"fmt"
)

// report hands on a finding that does not grow, after those that did.
func (c *checker) report(f Finding) bool { return c.flushEntries() && c.hand(f) }

// hand hands a finding on, and counts it.
func (c *checker) hand(f Finding) bool {
	if c.stopped {
		return false
	}
	f.Count = max(f.Count, 1)
	switch f.Severity {
	case SeverityError:
		c.result.Corruptions += f.Count
	case SeverityLeak:
		c.result.Leaks += f.Count
	}
	if c.options.Finding == nil {
		return true
	}
	if c.handed[f.Kind]++; c.handed[f.Kind] > manyFindings+c.result.AllocatedClusters/entriesPerFinding {
		c.addRest(&f)
		return true
	}
	return c.give(f)
}

const (
	// manyFindings is how many findings of a kind are told apart in any image: more
	// come from those that are made for it.
	manyFindings = 4096
	// entriesPerFinding is how many table entries in use allow for one more: so what
	// is said of a large image is no more than some times its tables.
	entriesPerFinding = 16
)

// give calls Finding.
func (c *checker) give(f Finding) bool {
	if f.HasRefcount {
		f.RefcountOffset, _, _ = c.lookup.locate(f.Offset >> c.img.geometry.ClusterBits) // compare reports the error
	}
	c.found = f
	c.stopped = !c.options.Finding(&c.found)
	return !c.stopped
}

// addRest adds a finding to the others of its kind, of which there were too many.
func (c *checker) addRest(f *Finding) {
	r := &c.rest[f.Kind]
	if r.Count == 0 {
		*r = *f
	} else {
		r.Count, r.Length, r.GuestLength = r.Count+f.Count, r.Length+f.Length, r.GuestLength+f.GuestLength
		r.HasRefcount = r.HasRefcount && f.HasRefcount && r.Refcount == f.Refcount
		r.HasReferences = r.HasReferences && f.HasReferences && r.References == f.References
	}
	if r.GuestLength > 0 {
		r.Length = 0 // not all of them have one
	}
}

// handRest reports what addRest has added up.
func (c *checker) handRest() {
	for kind := range c.rest {
		if r := &c.rest[kind]; r.Count > 0 && !c.stopped {
			r.Detail = fmt.Sprintf("the rest of %d findings of this kind, not next to each other; the first is here", c.handed[kind])
			c.give(*r)
		}
	}
}

// fail implements referenceSink: an error is a finding, and hides references unless
// what it is about can be read.
func (c *checker) fail(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok { // of the context
		return false
	}
	if !errors.Is(e, ErrReadable) {
		c.hide(findingOf[e.Section])
	}
	c.result.AboveLimit = c.result.AboveLimit || errors.Is(e, ErrLimit)
	c.loseRest(e)
	return c.reportError(e)
}

// reportError reports an error, unless it was remembered.
func (c *checker) reportError(e *Error) bool {
	if c.seen[errorKey{e.Offset, e.Detail}] {
		return !c.stopped
	}
	if e.isRead() {
		c.result.CheckErrors++
	}
	if errors.Is(e, ErrTruncated) {
		c.need(c.img.src.size) // at least
	}
	return c.report(Finding{Severity: SeverityError, Kind: findingOf[e.Section], Entry: e.Offset, HasEntry: true, Detail: e.Detail})
}

// reportOnce is reportError for what the walk comes across, too, or what several
// entries lead to.
func (c *checker) reportOnce(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok { // of the context
		return false
	}
	more := c.reportError(e)
	c.seen[errorKey{e.Offset, e.Detail}] = true
	return more
}
