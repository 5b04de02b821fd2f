package qcow2

// A progress tells how much of the work of Host is done: first its L1 entries,
// then, as the other half, the clusters of the file.
type progress struct {
	report func(done, total uint64) // nil: nobody wants to know
	before uint64                   // L1 entries of the segments before the current one
	all    uint64                   // L1 entries
	cur    *segment
}

func newProgress(report func(done, total uint64), l1 *l1Tables) progress {
	p := progress{report: report}
	for _, g := range l1.segments {
		p.all += (g.to - g.from) / l1EntrySize
	}
	return p
}

// table tells that the L1 entry at a file offset has its turn.
func (p *progress) table(g *segment, at uint64) {
	if p.report == nil {
		return
	}
	if p.cur != nil && p.cur != g {
		p.before += (p.cur.to - p.cur.from) / l1EntrySize
	}
	p.cur = g
	p.report(p.before+(at-g.from)/l1EntrySize, 2*p.all)
}

// cluster tells that a cluster has its turn, of so many.
func (p *progress) cluster(cluster, clusters uint64) {
	if p.report != nil {
		p.report(clusters+cluster, 2*clusters)
	}
}
