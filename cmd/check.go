package cmd

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
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
	checkCount
	checkRefcount
	checkRefcountOffset
	checkReferences
	checkHolds
	checkOwner
	checkSnapshot
	checkSnapshotIndex
	checkGuest
	checkGuestLength
	checkIndex
	checkL1Index
	checkEntry
	checkWithKind
	checkWithOwner
	checkWithSnapshot
	checkWithGuest
	checkWithIndex
	checkWithL1Index
	checkWithEntry
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
			checkCount:          {Key: "count", Kind: render.KindUint, Show: render.InJSON},
			checkRefcount:       {Key: "refcount", Title: "REFCOUNT", Kind: render.KindUint, Drop: 1},
			checkRefcountOffset: {Key: "refcount-offset", Kind: render.KindOffset, Show: render.InJSON | render.InPlain},
			checkReferences:     {Key: "references", Title: "REFERENCES", Kind: render.KindUint, Drop: 2},
			checkHolds:          {Key: "holds", Title: "HOLDS", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Drop: 6, Tones: hostTones()},
			checkOwner:          {Key: "owner", Title: "OWNER", Kind: render.KindEnum, Names: ownerNames(), Drop: 7},
			checkSnapshot:       {Key: "snapshot", Title: "SNAPSHOT", Kind: render.KindImageText, Max: 8, Drop: 8},
			checkSnapshotIndex:  {Key: "snapshot-index", Kind: render.KindUint, Show: render.InJSON},
			checkGuest:          {Key: "guest-offset", Title: "GUEST OFFSET", Kind: render.KindAddr, Max: g.VirtualSize, Drop: 5},
			checkGuestLength:    {Key: "guest-length", Kind: render.KindSize, Show: render.InJSON | render.InPlain},
			checkIndex:          {Key: "index", Kind: render.KindUint, Show: render.InJSON},
			checkL1Index:        {Key: "l1-index", Kind: render.KindUint, Show: render.InJSON},
			checkEntry:          {Key: "entry", Title: "ENTRY", Kind: render.KindOffset, Max: g.HostClusters << g.ClusterBits, Drop: 3},
			checkWithKind:       {Key: "with.kind", Kind: render.KindEnum, Names: qcow2.HostKindNames(), Show: render.InJSON | render.InPlain},
			checkWithOwner:      {Key: "with.owner", Kind: render.KindEnum, Names: ownerNames(), Show: render.InJSON | render.InPlain},
			checkWithSnapshot:   {Key: "with.snapshot", Kind: render.KindImageText, Show: render.InJSON | render.InPlain},
			checkWithGuest:      {Key: "with.guest-offset", Kind: render.KindAddr, Show: render.InJSON | render.InPlain},
			checkWithIndex:      {Key: "with.index", Kind: render.KindUint, Show: render.InJSON | render.InPlain},
			checkWithL1Index:    {Key: "with.l1-index", Kind: render.KindUint, Show: render.InJSON | render.InPlain},
			checkWithEntry:      {Key: "with.entry", Kind: render.KindOffset, Show: render.InJSON | render.InPlain},
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
	c[checkCount] = render.Uint(f.Count)
	c[checkGuestLength] = valueIf(f.GuestLength > 0, render.Size(f.GuestLength))
	c[checkRefcount] = valueIf(f.HasRefcount, render.Uint(f.Refcount))
	c[checkRefcountOffset] = valueIf(f.RefcountOffset > 0, render.Offset(f.RefcountOffset))
	c[checkReferences] = valueIf(f.HasReferences, render.Uint(f.References))
	c[checkEntry] = valueIf(f.HasEntry, render.Offset(f.Entry))
	c[checkMessage] = valueIf(f.Detail != "", render.Text(f.Detail))
	if f.HasReference {
		p.reference(f)
	}
	if f.HasWith {
		p.with(f)
	}
	if p.inWords {
		c[checkWords] = render.Text(cmp.Or(f.Detail, p.words(f)))
	}
	return c
}

// words returns what is wrong with clusters, for a table on a terminal, which may
// have no room for the columns that hold it.
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
	if f.HasWith {
		words = append(words, string(appendWith(nil, p.cells, p.g.ClusterBits)))
	}
	return strings.Join(words, ", ")
}

// reference sets the cells that say who refers to the first cluster.
func (p *problemRow) reference(f *qcow2.Finding) {
	c, ref := p.cells, newReferenceCells(f.HostKind, &f.Reference, p.ids)
	c[checkHolds] = render.Enum(uint64(f.HostKind))
	c[checkOwner], c[checkSnapshot], c[checkSnapshotIndex] = ref.owner, ref.snapshot, ref.snapshotIndex
	c[checkGuest], c[checkIndex], c[checkL1Index] = ref.guest, ref.index, ref.l1Index
	if !f.HasEntry {
		c[checkEntry] = ref.entry
	} else if f.HostKind == qcow2.HostL2Table { // it is about the L1 entry
		c[checkGuest], c[checkL1Index] = render.Addr(f.Reference.GuestOffset), render.Null
	}
}

// with sets the cells that say what overlaps metadata.
func (p *problemRow) with(f *qcow2.Finding) {
	c, ref := p.cells, newReferenceCells(f.WithKind, &f.With, p.ids)
	c[checkWithKind] = render.Enum(uint64(f.WithKind))
	c[checkWithOwner], c[checkWithSnapshot], c[checkWithEntry] = ref.owner, ref.snapshot, ref.entry
	c[checkWithGuest], c[checkWithIndex], c[checkWithL1Index] = ref.guest, ref.index, ref.l1Index
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
relied on. It repairs nothing; 'qemu-img check -r' does. Backing files are not
looked at.

Neighbours that are wrong alike are one row, and count for each cluster or
entry. Where something that can refer to clusters was not read, what looks
leaked may be in use: the rows and a remark say so.

The JSON has the keys of 'qemu-img check --output=json'. It lists all problems
unless --limit is given on the command line; a limit in the config file applies
to tables and plain lines only.
'qinspect host --at OFFSET' lists everything that refers to a cluster, and
'qinspect decode --at ENTRY' shows an entry with its neighbours.

Exit status: 0 consistent, 1 no verdict (nothing could be checked, or the file
changed), 2 errors, 3 leaks only.`,
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
	addJobs(cmd, 1)
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
	result, err := rep.img.Check(rep.ctx, qcow2.CheckOptions{Name: fullName(rep.name), Progress: rep.progress.report, Finding: list.add})
	if list.err != nil || err != nil {
		return cmp.Or(list.err, err)
	}
	v := &checkVerdict{result: result, warnings: list.warnings, corrupt: rep.img.Header().IncompatibleFeatures&qcow2.Corrupt != 0}
	_, v.backed, _ = rep.img.BackingFile()
	switch {
	case result.Corruptions > 0:
		rep.failures.verdict(exitDamaged)
	case result.Leaks > 0:
		rep.failures.verdict(exitLeaks)
	}
	v.advise(rep)
	if list.entry > 0 {
		rep.note(decodeHint(rep, fmt.Errorf("the first entry that is wrong lies at %#x", list.entry), list.entry))
	}
	rep.facts(&render.Section{}, checkFacts(v, list.omitted)...)
	return nil
}

// fullName returns the name of a file from the root. It looks at no file.
func fullName(name string) string {
	if full, err := filepath.Abs(name); err == nil {
		return full
	}
	return name
}

// A problemList takes findings and makes rows of the first.
type problemList struct {
	limit uint64 // rows at most
	words bool   // see problemRow

	rep      *report
	row      problemRow
	shown    uint64
	omitted  uint64
	warnings uint64
	entry    uint64 // file offset of the first table entry that is wrong, for people; 0: none
	err      error  // writing a row
}

// add takes a finding. It returns false when it cannot be written.
func (l *problemList) add(f *qcow2.Finding) bool {
	if f.Severity == qcow2.SeverityWarning {
		l.warnings++
	}
	if l.words && l.entry == 0 && f.Severity == qcow2.SeverityError && f.HasEntry && f.HasReference {
		l.entry = f.Entry
	}
	if l.shown == l.limit {
		l.omitted++
		return true
	}
	l.shown++
	l.err = l.rep.Row(l.row.of(f))
	return l.err == nil
}
