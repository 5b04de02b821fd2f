package audit_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/qinspect/qinspect/pkg/audit"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// hold holds what is true of every report.
func hold(t *testing.T, name string, r *audit.Report) {
	t.Helper()
	rejected, fails := false, map[audit.ID]audit.Level{}
	for i, rule := range audit.Rules() {
		result := r.Results[i]
		if result.Rule != rule.ID || (result.Outcome == audit.Off) != (result.Level == audit.LevelOff) {
			t.Errorf("%s: result %d is %+v, of %s", name, i, result, rule.ID)
		}
		switch {
		case result.Outcome == audit.Fail:
			fails[rule.ID] = result.Level
			rejected = rejected || result.Level == audit.LevelReject
		case result.Outcome == audit.NotChecked && (rule.ID != "nested-format" || result.Level > audit.LevelNote):
			rejected = true
		}
	}
	if rejected != (r.Verdict == audit.Reject) || len(r.Results) != len(audit.Rules()) {
		t.Errorf("%s: %v, %d results %+v", name, r.Verdict, len(r.Results), r.Results)
	}
	if !slices.IsSortedFunc(r.Findings, func(a, b audit.Finding) int { return int(b.Level) - int(a.Level) }) {
		t.Errorf("%s: not the gravest first: %+v", name, r.Findings)
	}
	named := map[audit.ID]bool{}
	for _, f := range r.Findings {
		if strings.ContainsFunc(f.Message, func(c rune) bool { return !unicode.IsPrint(c) }) || f.Message == "" {
			t.Errorf("%s: the message %q", name, f.Message)
		}
		if level, ok := fails[f.Rule]; ok && f.Level == level {
			named[f.Rule] = true
		}
	}
	if len(named) != len(fails) || (r.Verdict == audit.Reject) != slices.ContainsFunc(r.Findings, func(f audit.Finding) bool { return f.Level == audit.LevelReject }) {
		t.Errorf("%s: %v, fails %v, findings %+v", name, r.Verdict, fails, r.Findings)
	}
}

// fuzzOptions are the options of an audit, chosen by a number.
func fuzzOptions(choice uint8) audit.Options {
	o := audit.Options{Policy: audit.Default(), Content: choice&1 != 0, HeaderOnly: choice&2 != 0}
	if choice&4 != 0 {
		o.Policy = audit.Strict()
	}
	if choice&8 != 0 {
		o.Declared = audit.DeclaredRaw
	}
	if choice&16 != 0 {
		o.Policy = o.Policy.With("backing-file", audit.LevelOff).With("consistency", audit.LevelNote)
		o.Policy.MaxVirtualSize = 1 << 20
	}
	return o
}

// FuzzAudit: whatever a file holds, there is a verdict, and a report that bears it
// out.
func FuzzAudit(f *testing.F) {
	bases := qcow2test.MalformedBase()
	delete(bases, "extl2") // its clusters are too large for the fuzzer
	for i, name := range slices.Sorted(maps.Keys(bases)) {
		im := bases[name]
		im.ClusterBits = 9
		f.Add(im.Build().Bytes, uint8(i))
	}
	f.Add(compressedSmall(), uint8(0))
	f.Fuzz(func(t *testing.T, p []byte, choice uint8) {
		r, err := audit.Audit(t.Context(), audit.File{ReaderAt: bytes.NewReader(p), Size: int64(len(p))}, fuzzOptions(choice))
		if err != nil {
			t.Fatal(err)
		}
		hold(t, "the file", r)
	})
}

// compressedSmall returns an image with clusters of 512 bytes, two of them
// compressed.
func compressedSmall() []byte {
	im := qcow2test.Image{ClusterBits: 9, Size: 1 << 12, Compressed: map[uint64]qcow2test.Compressed{0: {Sectors: 1}, 1: {Offset: 100, Sectors: 1}}}
	return over(over(im.Build().Bytes, 512, deflate(make([]byte, 512))), 612, deflate(make([]byte, 512)))
}

// TestMalformed: every image of the catalogue has a verdict.
func TestMalformed(t *testing.T) {
	for name, b := range qcow2test.Malformed() {
		for _, choice := range []uint8{1, 6, 8, 20} {
			hold(t, name, auditBytes(t, b.Bytes, fuzzOptions(choice)))
		}
	}
}
