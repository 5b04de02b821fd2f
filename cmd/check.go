package cmd

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the problems section.
const (
	checkSeverity = iota
	checkKind
	checkOffset
	checkCluster
	checkLength
	checkRefcount
	checkRefcountOffset
	checkReferences
	checkHolds
	checkOwner
	checkSnapshot
	checkSnapshotIndex
	checkGuest
	checkIndex
	checkL1Index
	checkEntry
	checkMessage
	checkWords

	checkColumns // how many
)

// problemsSection declares what is wrong with an image.
func problemsSection(g qcow2.Geometry) *render.Section {
	line := problemLine{g}
	return &render.Section{
		Key:         "problems",
		Layout:      render.LayoutList,
		ClusterBits: g.ClusterBits,
		Line:        line.append,
		Columns: []render.Column{
			checkSeverity:       {Key: "severity", Title: "SEVERITY", Kind: render.KindEnum, Names: qcow2.SeverityNames(), Tones: severityTones()},
			checkKind:           {Key: "kind", Title: "KIND", Kind: render.KindEnum, Names: qcow2.FindingKindNames()},
			checkOffset:         {Key: "offset", Title: "HOST OFFSET", Kind: render.KindAddr, Max: g.HostClusters << g.ClusterBits},
			checkCluster:        {Key: "cluster", Kind: render.KindUint, Show: render.InJSON},
			checkLength:         {Key: "length", Title: "LENGTH", Kind: render.KindSize, Drop: 4},
			checkRefcount:       {Key: "refcount", Title: "REFCOUNT", Kind: render.KindUint, Drop: 1},
			checkRefcountOffset: {Key: "refcount-offset", Kind: render.KindOffset, Show: render.InJSON | render.InPlain},
			checkReferences:     {Key: "references", Title: "REFERENCES", Kind: render.KindUint, Drop: 2},
			checkHolds:          {Key: "holds", Title: "HOLDS", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Drop: 6, Tones: hostTones()},
			checkOwner:          {Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: ownerNames(), Drop: 7},
			checkSnapshot:       {Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText, Max: 8, Drop: 8},
			checkSnapshotIndex:  {Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			checkGuest:          {Key: "guest-offset", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: g.VirtualSize, Drop: 5},
			checkIndex:          {Key: "index", Kind: render.KindUint, Show: render.InJSON},
			checkL1Index:        {Key: "l1-index", Kind: render.KindUint, Show: render.InJSON},
			checkEntry:          {Key: "entry", Title: "ENTRY", Kind: render.KindOffset, Max: g.HostClusters << g.ClusterBits, Drop: 3},
			checkMessage:        {Key: "message", Kind: render.KindText, Show: render.InJSON | render.InPlain},
			checkWords:          {Key: "message", Title: "MESSAGE", Kind: render.KindText, Show: render.InTable},
		},
	}
}

// A problemRow makes rows of findings.
type problemRow struct {
	cells   []render.Value
	ids     []string // of the snapshots
	g       qcow2.Geometry
	inWords bool // the rows are for a table: see words
}

func (p *problemRow) of(f *qcow2.Finding) []render.Value {
	c := p.cells
	clear(c)
	c[checkSeverity], c[checkKind] = render.Enum(uint64(f.Severity)), render.Enum(uint64(f.Kind))
	c[checkOffset] = valueIf(f.HasOffset, render.Addr(f.Offset))
	c[checkCluster] = valueIf(f.HasOffset, render.Uint(f.Offset>>p.g.ClusterBits))
	c[checkLength] = valueIf(f.Length > 0, render.Size(f.Length))
	c[checkRefcount] = valueIf(f.HasRefcount, render.Uint(f.Refcount))
	c[checkRefcountOffset] = valueIf(f.RefcountOffset > 0, render.Offset(f.RefcountOffset))
	c[checkReferences] = valueIf(f.HasReferences, render.Uint(f.References))
	c[checkEntry] = valueIf(f.HasEntry, render.Offset(f.Entry))
	c[checkMessage] = valueIf(f.Detail != "", render.Text(f.Detail))
	if p.inWords {
		c[checkWords] = render.Text(cmp.Or(f.Detail, p.words(f)))
	}
	if f.HasReference {
		p.reference(f)
	}
	return c
}

// words returns what is wrong with clusters in words, for a table on a terminal,
// which may have no room for the columns.
func (p *problemRow) words(f *qcow2.Finding) string {
	var words []string
	if f.HasRefcount {
		words = append(words, fmt.Sprintf("refcount %d", f.Refcount))
	}
	if f.HasReferences {
		words = append(words, counted(f.References, "reference", "references"))
	}
	if f.Length > p.g.ClusterSize {
		words = append(words, fmt.Sprintf("%d clusters", p.g.ClustersIn(f.Length)))
	}
	return strings.Join(words, ", ")
}

// reference sets the cells about what refers to the first cluster.
func (p *problemRow) reference(f *qcow2.Finding) {
	c, ref := p.cells, newReferenceCells(f.HostKind, &f.Reference, p.ids)
	c[checkHolds] = render.Enum(uint64(f.HostKind))
	c[checkOwner], c[checkSnapshot], c[checkSnapshotIndex] = ref.owner, ref.snapshot, ref.snapshotIndex
	c[checkGuest], c[checkIndex], c[checkL1Index] = ref.guest, ref.index, ref.l1Index
	if !f.HasEntry {
		c[checkEntry] = ref.entry
	}
}

// checkFacts are the totals, after those of qemu-img check.
func checkFacts(r *qcow2.CheckResult, omitted, warnings uint64) []fact {
	return []fact{
		{render.Column{Key: "result", Title: "Result", Kind: render.KindText, Tones: verdictTones(r), Show: render.InTable | render.InPlain},
			render.Text(checkVerdict(r, warnings))},
		{render.Column{Key: "problems-omitted", Title: "Problems left out", Kind: render.KindUint}, render.Uint(omitted)},
		{render.Column{Key: "check-errors", Title: "Read errors", Kind: render.KindUint, Tones: alarm()}, render.Uint(r.CheckErrors)},
		{render.Column{Key: "corruptions", Title: "Errors", Kind: render.KindUint, Tones: alarm()}, render.Uint(r.Corruptions)},
		{render.Column{Key: "leaks", Title: "Leaked clusters", Kind: render.KindUint, Tones: caution()}, render.Uint(r.Leaks)},
		{render.Column{Key: "image-end-offset", Title: "Image end offset", Kind: render.KindSize}, render.Size(r.ImageEndOffset)},
		{render.Column{Key: "total-clusters", Title: "Guest clusters", Kind: render.KindUint}, render.Uint(r.TotalClusters)},
		{render.Column{Key: "allocated-clusters", Title: "Allocated clusters", Kind: render.KindUint}, render.Uint(r.AllocatedClusters)},
		{render.Column{Key: "fragmented-clusters", Title: "Fragmented clusters", Kind: render.KindUint}, render.Uint(r.FragmentedClusters)},
		{render.Column{Key: "compressed-clusters", Title: "Compressed clusters", Kind: render.KindUint}, render.Uint(r.CompressedClusters)},
	}
}

// defaultProblems is the number of problems that people are shown.
const defaultProblems = 100

func (a *app) newCheckCommand() *cobra.Command {
	var limit uint64
	cmd := &cobra.Command{
		Use:   "check IMAGE...",
		Short: "Check whether an image is consistent, and report what is wrong",
		Long: `Count the references to every host cluster and compare them with the refcounts;
judge every structure and every table entry on the way. Errors endanger data,
leaks waste space; warnings and notes do not change the exit status.

Use it after a crash, a full disk or a copy that failed, and before an image is
relied on. It repairs nothing; 'qemu-img check -r' does.

The JSON has the keys of 'qemu-img check --output=json'. It lists all problems
unless --limit is given on the command line; a limit in the config file applies
to tables and plain lines only.
'qinspect host --at OFFSET' lists everything that refers to a cluster.

Exit status: 0 consistent, 1 nothing could be checked, 2 errors, 3 leaks only.`,
		Example: `  $ qinspect check disk.qcow2
  $ qinspect check --limit 0 -o plain disk.qcow2
  $ qinspect check -o json disk.qcow2 | jq '.corruptions, .leaks'
  $ qinspect check -o ndjson *.qcow2 | jq -r '[.filename, .corruptions, .leaks] | @tsv'`,
		Args: images,

		ValidArgsFunction: completeImages,
	}
	cmd.RunE = a.lasting(a.load(func(rep *report) error {
		list := problemList{limit: limit, words: a.output.value == render.FormatTable}
		if limit == 0 || forPrograms(a.output.value) && !cmd.Flag("limit").Changed {
			list.limit = math.MaxUint64
		}
		return runCheck(rep, &list)
	}))
	cmd.Flags().Uint64Var(&limit, "limit", defaultProblems, "problems listed, 0: all; JSON: all by default")
	return cmd
}

func runCheck(rep *report, list *problemList) error {
	rep.judges = true
	g, err := rep.mappable()
	if err != nil {
		return err
	}
	rep.facts(&render.Section{Show: render.InJSON}, fact{render.Column{Key: "format", Kind: render.KindText}, render.Text("qcow2")})
	rep.Section(problemsSection(g))
	list.rep, list.row = rep, problemRow{cells: make([]render.Value, checkColumns), ids: snapshotIDs(rep.img), g: g, inWords: list.words}
	result, err := rep.img.Check(rep.ctx, qcow2.CheckOptions{Progress: rep.progress.report, Finding: list.add})
	if list.err != nil || err != nil {
		return cmp.Or(list.err, err)
	}
	switch {
	case result.Corruptions > 0:
		rep.failures.verdict(exitDamaged)
	case result.Leaks > 0:
		rep.failures.verdict(exitLeaks)
	}
	if list.hides && result.Leaks > 0 {
		rep.note(errLooksLeaked)
	}
	rep.facts(&render.Section{}, checkFacts(&result, list.omitted, list.warnings)...)
	return nil
}

// A problemList takes findings and makes rows of the first ones.
type problemList struct {
	limit uint64 // the most rows
	words bool   // see problemRow

	rep      *report
	row      problemRow
	shown    uint64
	omitted  uint64
	warnings uint64
	hides    bool  // a structure is damaged: what it points to is unknown
	err      error // writing a row
}

// add takes a finding. It returns false when it cannot be written.
func (l *problemList) add(f *qcow2.Finding) bool {
	switch {
	case f.Severity == qcow2.SeverityWarning:
		l.warnings++
	case f.Severity == qcow2.SeverityError && f.Kind.Structure():
		l.hides = true
	}
	if l.shown == l.limit {
		l.omitted++
		return true
	}
	l.shown++
	l.err = l.rep.Row(l.row.of(f))
	return l.err == nil
}

// errLooksLeaked warns that clusters which look leaked may be in use.
var errLooksLeaked = &hintError{
	errors.New("tables are damaged: what they point to looks leaked, and may be data"),
	"'qemu-img check -r leaks' would free it: repair the tables first, in a copy",
}

// checkVerdict returns the result in words.
func checkVerdict(r *qcow2.CheckResult, warnings uint64) string {
	var words []string
	if r.Corruptions > 0 {
		words = append(words, counted(r.Corruptions, "error", "errors"))
	}
	if r.Leaks > 0 {
		words = append(words, counted(r.Leaks, "leaked cluster", "leaked clusters"))
	}
	if len(words) == 0 {
		words = append(words, "consistent")
	}
	if warnings > 0 {
		words = append(words, counted(warnings, "warning", "warnings"))
	}
	return strings.Join(words, ", ")
}

// verdictTones returns the tone of the result in words.
func verdictTones(r *qcow2.CheckResult) []render.Tone {
	switch {
	case r.Corruptions > 0:
		return alarm()
	case r.Leaks > 0:
		return caution()
	}
	return []render.Tone{render.ToneGood}
}
