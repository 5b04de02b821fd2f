package cmd

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/qinspect/qinspect/pkg/audit"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/render"
)

// Columns of the findings section.
const (
	findingLevel = iota
	findingRule
	findingOffset
	findingLength
	findingValue
	findingLimit
	findingName
	findingMessage

	findingColumns // how many
)

// findingsSection declares why rules fail.
func findingsSection() *render.Section {
	return &render.Section{
		Key:    "findings",
		Layout: render.LayoutList,
		Line:   appendFindingLine,
		Columns: []render.Column{
			findingLevel:   {Key: "level", Title: "LEVEL", Kind: render.KindEnum, Names: audit.LevelNames(), Tones: levelTones()},
			findingRule:    {Key: "rule", Title: "RULE", Kind: render.KindText},
			findingOffset:  {Key: "offset", Title: "OFFSET", Kind: render.KindOffset, Drop: 1},
			findingLength:  {Key: "length", Kind: render.KindSize, Show: render.InJSON},
			findingValue:   {Key: "value", Kind: render.KindUint, Show: render.InJSON},
			findingLimit:   {Key: "limit", Kind: render.KindUint, Show: render.InJSON},
			findingName:    {Key: "name", Kind: render.KindImageText, Show: render.InJSON | render.InPlain},
			findingMessage: {Key: "message", Title: "MESSAGE", Kind: render.KindText},
		},
	}
}

// Columns of the rules section.
const (
	resultRule = iota
	resultLevel
	resultOutcome
)

// rulesSection declares how the image fared with every rule.
func rulesSection(show render.Audience) *render.Section {
	return &render.Section{
		Key:    "rules",
		Layout: render.LayoutList,
		Line:   appendRuleLine,
		Show:   show,
		Columns: []render.Column{
			resultRule:    {Key: "rule", Title: "RULE", Kind: render.KindText},
			resultLevel:   {Key: "level", Title: "LEVEL", Kind: render.KindEnum, Names: audit.LevelNames()},
			resultOutcome: {Key: "result", Title: "RESULT", Kind: render.KindEnum, Names: audit.OutcomeNames(), Tones: []render.Tone{audit.Pass: render.ToneGood, audit.Fail: render.ToneAlarm, audit.NotChecked: render.ToneAlarm, audit.Off: render.ToneAbsent}},
		},
	}
}

// levelTones is what the levels mean.
func levelTones() []render.Tone {
	return []render.Tone{audit.LevelWarn: render.ToneCaution, audit.LevelReject: render.ToneAlarm}
}

func (a *app) newAuditCommand() *cobra.Command {
	f := newAuditFlags()
	stdin := sync.OnceValues(a.readStdin)
	cmd := &cobra.Command{
		Use:   "audit IMAGE...",
		Short: "Judge by rules whether an image is safe to accept",
		Long: `Judge an image from a stranger, such as an upload, before QEMU opens it: does it
name other files, is it something else as well, does it claim more than it is,
does it carry more than the disk? Each rule has a stable name, and a level in
the policy: 'reject', 'warn', 'note' or 'off'. docs/audit.md lists them.

The image is accepted if no rule fails that rejects, and all could be checked:
what was not checked rejects. The policy 'strict' rejects what 'default' warns
of, leaked clusters, and with --content bytes in free clusters.

Nobody can see in a file what it was meant to be: a guest can write the header
of an image on its raw disk. Say what the file was declared as: --declared raw
rejects what has the signature of any image format.

It reads metadata, the first 36 KiB of the disk, up to 64 KiB at the end of the
file, and with --content the bytes to which nothing refers. It opens no other
file. The limits apply, whatever --no-limits says. --header-only reads the
first 64 KiB (or cluster, if that is larger), from a pipe, too, if the name is
'-'; rules that look further are off.

Exit status: 0 accept, 1 not audited (it could not be read, or changed), 2
reject. Only 0 is a yes.`,
		Example: `  $ qinspect audit backup.qcow2
  $ qinspect audit --policy strict --rule bitmaps=off --max-virtual-size 2T backup.qcow2
  $ qinspect audit --header-only --all backup.qcow2
  $ qinspect audit -o json backup.qcow2 | jq -r '.verdict, .findings[].rule'`,
		Args:        images,
		Annotations: map[string]string{strictVariables: ""},

		ValidArgsFunction: completeImages,
	}
	cmd.RunE = a.lasting(func(cmd *cobra.Command, names []string) error {
		open := func(name string) (*qcow2.Image, File, error) { return a.openToAudit(name, f.headerOnly, stdin) }
		ready := func() error { return f.check(cmd.Flags()) }
		return a.loadBy(loading{open: open, ready: ready}, func(rep *report) error { return runAudit(rep, f) })(cmd, names)
	})
	f.add(a, cmd)
	addJobs(cmd, 1)
	return cmd
}

func runAudit(rep *report, f *auditFlags) error {
	rep.judges = true
	o := f.options(time.Now())
	o.Name, o.Progress = fullName(rep.name), rep.progress.report
	file := rep.file.(HostFile) //nolint:errcheck // openToAudit returns no other
	input := audit.File{ReaderAt: file, Size: file.Size(), DataRange: file.DataRange, OpenElsewhere: file.OpenElsewhere}
	_, input.Pipe = file.(*pipe)
	r, err := audit.Audit(rep.ctx, input, o)
	if err != nil {
		return err
	}
	if rep.settle(); r.Verdict == audit.Reject {
		rep.failures.verdict(exitDamaged)
	}
	showReport(rep, r, &o, input, f.all)
	return nil
}

// showReport shows what an audit found. Every rule is in JSON, and with all in every
// format.
func showReport(rep *report, r *audit.Report, o *audit.Options, file audit.File, all bool) {
	facts := []fact{{
		render.Column{Key: "verdict", Title: "Verdict", Kind: render.KindEnum, Names: audit.VerdictNames(), Tones: []render.Tone{audit.Accept: render.ToneGood, audit.Reject: render.ToneAlarm}},
		valueIf(!rep.motion.changed, render.Enum(uint64(r.Verdict))),
	}}
	if r.Verdict == audit.Reject {
		facts = append(facts, fact{render.Column{Key: "rejected-by", Title: "Rejected by", Kind: render.KindList, Show: render.InTable}, render.List(rejecting(r))})
	}
	facts = append(facts,
		fact{render.Column{Key: "rules", Title: "Rules", Kind: render.KindText, Show: render.InTable}, render.Text(ruleCounts(r))},
		fact{render.Column{Key: "policy", Title: "Policy", Kind: render.KindText}, render.Text(o.Policy.Name)},
		fact{render.Column{Key: "declared", Title: "Declared", Kind: render.KindText}, render.Text(string(o.Declared))},
		fact{render.Column{Key: "format", Title: "Format", Kind: render.KindText}, valueIf(r.Format != "", render.Text(r.Format))},
		fact{render.Column{Key: "virtual-size", Title: "Virtual size", Kind: render.KindSize}, valueIf(r.HasVirtualSize, render.Size(r.VirtualSize))},
		fact{render.Column{Key: "file-size", Title: "File size", Kind: render.KindSize}, valueIf(!file.Pipe, render.Size(uint64(file.Size)))},
	)
	rep.facts(&render.Section{}, facts...)
	rep.Section(findingsSection())
	cells := make([]render.Value, findingColumns)
	for _, f := range r.Findings {
		rep.row(findingRow(cells, &f)...)
	}
	show := render.InJSON
	if all {
		show = render.InJSON | render.InTable | render.InPlain
	}
	rep.Section(rulesSection(show))
	for _, result := range r.Results {
		rep.row(render.Text(string(result.Rule)), render.Enum(uint64(result.Level)), render.Enum(uint64(result.Outcome)))
	}
}

func findingRow(cells []render.Value, f *audit.Finding) []render.Value {
	cells[findingLevel], cells[findingRule] = render.Enum(uint64(f.Level)), render.Text(string(f.Rule))
	cells[findingOffset] = valueIf(f.HasOffset, render.Offset(f.Offset))
	cells[findingLength] = valueIf(f.Length > 0, render.Size(f.Length))
	cells[findingValue], cells[findingLimit] = valueIf(f.HasValue, render.Uint(f.Value)), valueIf(f.HasLimit, render.Uint(f.Limit))
	cells[findingName] = valueIf(f.HasName, render.ImageText(f.Name))
	cells[findingMessage] = render.Text(f.Message)
	return cells
}

// appendFindingLine makes plain lines: "reject backing-file: 0x210, "../x"". What has
// no name has a message.
func appendFindingLine(dst []byte, row []render.Value) []byte {
	dst = fmt.Appendf(dst, "%s %s: ", audit.Level(row[findingLevel].Num()), row[findingRule].Str())
	if !row[findingOffset].IsNull() {
		dst = fmt.Appendf(dst, "%#x, ", row[findingOffset].Num())
	}
	if !row[findingName].IsNull() {
		return strconv.AppendQuote(dst, row[findingName].Str())
	}
	return append(dst, row[findingMessage].Str()...)
}

// appendRuleLine makes plain lines: "pass version (reject)".
func appendRuleLine(dst []byte, row []render.Value) []byte {
	return fmt.Appendf(dst, "%s %s (%s)", audit.Outcome(row[resultOutcome].Num()), row[resultRule].Str(), audit.Level(row[resultLevel].Num()))
}

// rejecting returns the rules for which the image is rejected.
func rejecting(r *audit.Report) []string {
	var all []string
	unchecked := false
	for _, f := range r.Findings {
		switch id := string(f.Rule); {
		case f.Level < audit.LevelReject:
		case f.NotChecked:
			unchecked = true
		case len(all) == 0 || all[len(all)-1] != id:
			all = append(all, id)
		}
	}
	if unchecked {
		all = append(all, "what was not checked")
	}
	return all
}

// ruleCounts returns how many rules have each outcome, in words.
func ruleCounts(r *audit.Report) string {
	words := []string{strconv.Itoa(r.Count(audit.Pass)) + " passed"}
	for _, c := range []struct {
		outcome audit.Outcome
		words   string
	}{{audit.Fail, "failed"}, {audit.NotChecked, "not checked"}, {audit.Off, "off"}} {
		if n := r.Count(c.outcome); n > 0 {
			words = append(words, fmt.Sprintf("%d %s", n, c.words))
		}
	}
	return strings.Join(words, ", ")
}
