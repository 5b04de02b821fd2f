package qcow2

import (
	"github.com/qinspect/qinspect/pkg/qcow2/internal/interval"
)

// A progress reports how much of the work of a walk is done. One half is its L1
// entries, counted as often as they are read, the other the clusters of the file.
type progress struct {
	report  func(done, total uint64) // nil: report nothing
	l1      *l1Tables
	segment int    // the segment that is being read
	at      uint64 // file offset of the last L1 entry that was read
	before  uint64 // L1 entries of the segments before it
	all     uint64 // L1 entries
}

// newProgress returns the progress of a walk that reads the L1 tables the given
// number of times.
func newProgress(report func(done, total uint64), l1 *l1Tables, times uint64) progress {
	p := progress{report: report, l1: l1}
	for i := range l1.BySpan {
		p.all += times * segmentEntries(&l1.BySpan[i])
	}
	return p
}

// table reports that the L1 entry at a file offset is read.
func (p *progress) table(g *interval.Segment, at uint64) {
	if p.report == nil {
		return
	}
	for &p.l1.BySpan[p.segment] != g || at < p.at {
		p.skip()
	}
	p.at = at
	p.report(p.before+(at-g.From)/entrySize, 2*p.all)
}

// skip goes on with the next segment, after the last with the first.
func (p *progress) skip() {
	p.before += segmentEntries(&p.l1.BySpan[p.segment])
	p.segment, p.at = (p.segment+1)%len(p.l1.BySpan), 0
}

// cluster reports that a cluster is next, of the given number of clusters.
func (p *progress) cluster(cluster, clusters uint64) {
	if p.report != nil {
		p.report(clusters+cluster, 2*clusters)
	}
}
