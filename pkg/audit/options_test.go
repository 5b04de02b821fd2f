package audit_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/audit"
	"github.com/qinspect/qinspect/pkg/qcow2"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// TestPolicies holds the policies: what each rule means there.
func TestPolicies(t *testing.T) {
	levels := func(p audit.Policy, l audit.Level) string {
		var all []string
		for _, r := range audit.Rules() {
			if p.Level(r.ID) == l {
				all = append(all, string(r.ID))
			}
		}
		return strings.Join(all, " ")
	}
	d, s := audit.Default(), audit.Strict()
	for _, tt := range []struct {
		policy audit.Policy
		level  audit.Level
		want   string
	}{
		{d, audit.LevelOff, "timestamps"},
		{d, audit.LevelNote, "unknown-compatible unknown-autoclear unknown-extension luks-slow luks-sha1 leaks bitmaps hidden-free hidden-slack"},
		{d, audit.LevelWarn, "format-tail dirty-bit data-file-unused encrypted luks-weak ratio sparse-claim snapshots hidden-tail"},
		{s, audit.LevelOff, "timestamps"},
		{s, audit.LevelNote, "unknown-compatible unknown-autoclear unknown-extension luks-slow luks-sha1 bitmaps hidden-slack"},
		{s, audit.LevelWarn, ""},
	} {
		if got := levels(tt.policy, tt.level); got != tt.want {
			t.Errorf("%s, %v: %s, want %s", tt.policy.Name, tt.level, got, tt.want)
		}
	}
	for _, name := range audit.PolicyNames() {
		if p, ok := audit.PolicyNamed(name); !ok || p.Name != name {
			t.Errorf("the policy %s is %q, %v", name, p.Name, ok)
		}
	}
	changed := d.With("encrypted", audit.LevelOff)
	if changed.Level("encrypted") != audit.LevelOff || d.Level("encrypted") != audit.LevelWarn || (audit.Policy{}).Level("leaks") != audit.LevelReject {
		t.Error("a policy is no value")
	}
}

// TestRuleIDs: no id stands for two rules.
func TestRuleIDs(t *testing.T) {
	seen := map[audit.ID]bool{}
	for _, r := range audit.Rules() {
		if found, ok := audit.FindRule(r.ID); !ok || found.ID != r.ID || seen[r.ID] || r.About == "" {
			t.Errorf("%q: %+v, %v", r.ID, found, ok)
		}
		seen[r.ID] = true
	}
	if _, ok := audit.FindRule("no-such-rule"); ok {
		t.Error("there is a rule no-such-rule")
	}
}

// TestStrict: what "default" warns of rejects.
func TestStrict(t *testing.T) {
	for rule, p := range map[string][]byte{
		"dirty-bit": patched(map[string]uint64{"incompatible_features": 1}),
		"leaks":     patched(map[string]uint64{"l2[0][1]": 0}),
		"snapshots": named(qcow2test.Snapshot{Seconds: 1 << 30}),
	} {
		loose, strict := auditBytes(t, p, audit.Options{}), auditBytes(t, p, audit.Options{Policy: audit.Strict()})
		if loose.Verdict != audit.Accept || strict.Verdict != audit.Reject || outcomes(strict)[0] != rule {
			t.Errorf("%s: %v by default, strictly %v: %v", rule, loose.Verdict, strict.Verdict, outcomes(strict))
		}
	}
}

// TestFailsClosed: a level of a rule that could not be checked is no excuse, unless
// it is off.
func TestFailsClosed(t *testing.T) {
	b := qcow2test.Image{Size: 1 << 16, Compressed: map[uint64]qcow2test.Compressed{0: {Sectors: 1}}, CompressionType: 1, IncompatibleFeatures: 8}.Build().Bytes
	for level, want := range map[audit.Level]audit.Verdict{
		audit.LevelReject: audit.Reject, audit.LevelWarn: audit.Reject, audit.LevelNote: audit.Reject, audit.LevelOff: audit.Accept,
	} {
		r := auditBytes(t, b, audit.Options{Policy: audit.Default().With("nested-format", level)})
		if r.Verdict != want {
			t.Errorf("nested-format %v, without zstd: %v, want %v", level, r.Verdict, want)
		}
	}
}

// TestNotCheckedTogether: rules that were not checked for one reason are one
// finding.
func TestNotCheckedTogether(t *testing.T) {
	r := auditBytes(t, patched(map[string]uint64{"incompatible_features": 32}), audit.Options{})
	n := strings.Count(unsupported(), "?")
	if len(r.Findings) != 2 || r.Findings[1].Rule != "backing-format-missing" || r.Findings[1].Level != audit.LevelReject ||
		!strings.HasSuffix(r.Findings[1].Message, "; nor were "+decimal(uint64(n-1))+" more rules") {
		t.Errorf("%d rules, findings %+v", n, r.Findings)
	}
}

// TestRaw: what is declared raw must have no signature.
func TestRaw(t *testing.T) {
	raw := make([]byte, 1<<20)
	disguised := disk.Build().Bytes // a raw disk on which the guest wrote a qcow2 header
	for _, tt := range []struct {
		name    string
		p       []byte
		verdict audit.Verdict
		format  string
	}{
		{"zeros", raw, audit.Accept, "raw"},
		{"empty", nil, audit.Accept, "raw"},
		{"partitions", over(raw, 446, "\x80\x00\x02\x00\x83\x00\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00"+strings.Repeat("\x00", 48)+"\x55\xaa"), audit.Accept, "raw"},
		{"GPT", over(raw, 512, "EFI PART"), audit.Accept, "raw"},
		{"a qcow2 header", disguised, audit.Reject, "qcow2"},
		{"only the magic", over(raw, 0, "QFI\xfb"), audit.Reject, "qcow2"},
		{"a vmdk descriptor", over(raw, 0, "# Disk DescriptorFile\nversion=1\n"), audit.Reject, "vmdk"},
		{"the same without its first line", over(raw, 0, "version=1\n"), audit.Reject, "vmdk"},
		{"a cloop image", over(raw, 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"), audit.Reject, "cloop"},
		{"the footer of a VHD", over(raw, len(raw)-512, "conectix"), audit.Reject, "raw"},
		{"an ISO image", over(raw, 32769, "CD001"), audit.Reject, "iso"},
	} {
		r := auditBytes(t, tt.p, audit.Options{Declared: audit.DeclaredRaw})
		var want []string
		if tt.verdict == audit.Reject {
			want = []string{"not-raw"}
		}
		if r.Verdict != tt.verdict || r.Format != tt.format || !cmp.Equal(outcomes(r), want) || r.VirtualSize != uint64(len(tt.p)) {
			t.Errorf("%s: %v, %s, %v", tt.name, r.Verdict, r.Format, outcomes(r))
		}
		if n := len(r.Results) - r.Count(audit.Off); n != 1 {
			t.Errorf("%s: %d rules are on", tt.name, n)
		}
	}
	o := limited(1<<19, 100)
	o.Declared = audit.DeclaredRaw
	if r := auditBytes(t, raw, o); !slices.Equal(outcomes(r), []string{"virtual-size"}) {
		t.Errorf("a raw disk above the limit: %v", outcomes(r))
	}
}

// TestOpenForWriting holds what the system says of the file.
func TestOpenForWriting(t *testing.T) {
	p := disk.Build().Bytes
	for _, tt := range []struct {
		state qcow2.Elsewhere
		ok    bool
		want  []string
	}{
		{qcow2.ElsewhereNo, true, nil},
		{qcow2.ElsewhereReading, true, nil},
		{qcow2.ElsewhereWriting, true, []string{"open-for-writing"}},
		{qcow2.ElsewhereNo, false, []string{"open-for-writing?"}},
	} {
		f := audit.File{ReaderAt: bytes.NewReader(p), Size: int64(len(p)), OpenElsewhere: func() (qcow2.Elsewhere, bool) { return tt.state, tt.ok }}
		r, err := audit.Audit(t.Context(), f, audit.Options{Policy: audit.Default()})
		if err != nil || !cmp.Equal(outcomes(r), tt.want) {
			t.Errorf("%v, %v: %v, %v; want %v", tt.state, tt.ok, outcomes(r), err, tt.want)
		}
	}
}

// A longFile is a file of zeros behind its first bytes.
type longFile []byte

func (f longFile) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(f)) {
		copy(p, f[off:])
	}
	return len(p), nil
}

// TestSparseClaim: metadata in holes count where the system knows of holes; else all
// metadata could lie there.
func TestSparseClaim(t *testing.T) {
	im := disk
	im.Snapshots = []qcow2test.Snapshot{{ID: "1"}, {ID: "2"}}
	policy := audit.Default()
	for _, r := range audit.Rules() {
		if r.ID != "sparse-claim" {
			policy = policy.With(r.ID, audit.LevelOff)
		}
	}
	unknown := func(uint64) (uint64, uint64, error) { return 0, 0, errors.ErrUnsupported }
	for _, tt := range []struct {
		name    string
		entries uint64 // of the L1 tables of the snapshots, at most as many as QEMU allows; more are in the active one
		known   bool
		want    []string
	}{
		{"most allowed", 4 << 20, true, nil},
		{"more", 4<<20 + 8192, true, []string{"sparse-claim"}},
		{"less, holes unknown", 3 << 20, false, nil},
		{"more, holes unknown", 4 << 20, false, []string{"sparse-claim?"}}, // the rest is no hole, but who knows
	} {
		b := im.Build()
		end := uint64(len(b.Bytes))
		f := audit.File{ReaderAt: longFile(b.Bytes), Size: 1 << 30, DataRange: unknown}
		if tt.known {
			f.DataRange = func(off uint64) (uint64, uint64, error) {
				if off < end {
					return off, end, nil
				}
				return 1 << 30, 1 << 30, nil
			}
		}
		for i := range uint64(2) {
			b.Set("snapshot["+decimal(i)+"].l1_size", min(tt.entries, 4<<20)).Set("snapshot["+decimal(i)+"].l1_table_offset", (i+1)<<28)
		}
		if tt.entries > 4<<20 {
			b.Set("l1_size", 8192).Set("l1_table_offset", 3<<28)
		}
		r, err := audit.Audit(t.Context(), f, audit.Options{Policy: policy})
		if err != nil || !cmp.Equal(outcomes(r), tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.name, outcomes(r), err, tt.want)
		}
	}
}

// TestHeaderOnly: the start of a file is enough for the rules about the header, and
// gives what the whole file gives.
func TestHeaderOnly(t *testing.T) {
	big := qcow2test.Image{ClusterBits: 21, Size: 1 << 20, BackingFile: "../x"}.Build().Bytes
	for name, p := range map[string][]byte{
		"disk": disk.Build().Bytes, "backing file": backed("../x"), "a cluster of 2 MiB": big, "none": nil, "cut": big[:100], "vmdk": over(make([]byte, 1024), 0, "KDMV"),
	} {
		whole := auditBytes(t, p, audit.Options{HeaderOnly: true})
		prefix, err := audit.ReadPrefix(onlyReader{bytes.NewReader(p)})
		if err != nil || len(prefix) > 2<<20 || !bytes.HasPrefix(p, prefix) {
			t.Fatalf("%s: %d bytes of prefix, %v", name, len(prefix), err)
		}
		piped, err := audit.Audit(t.Context(), audit.File{ReaderAt: bytes.NewReader(prefix), Size: int64(len(prefix)), Pipe: true},
			audit.Options{Policy: audit.Default(), HeaderOnly: true})
		if diff := cmp.Diff(whole, piped); err != nil || diff != "" {
			t.Errorf("%s: %v, (-file +pipe):\n%s", name, err, diff)
		}
		for _, r := range whole.Results {
			if rule, _ := audit.FindRule(r.Rule); rule.Scope != audit.ScopeHeader && r.Outcome != audit.Off {
				t.Errorf("%s: %s is looked at", name, r.Rule)
			}
		}
	}
	if got := outcomes(auditBytes(t, backed("../x"), audit.Options{HeaderOnly: true})); !slices.Equal(got, []string{"backing-file", "name-parent"}) {
		t.Errorf("the start of an image with a backing file: %v", got)
	}
}

type onlyReader struct{ io.Reader }

// A badReader fails from an offset on.
type badReader struct {
	p  []byte
	at int
}

var errBad = errors.New("input/output error")

func (r badReader) ReadAt(p []byte, off int64) (int, error) {
	if int(off)+len(p) > r.at {
		return 0, errBad
	}
	return copy(p, r.p[off:]), nil
}

// TestReadErrors: a file that cannot be read is not accepted, wherever that is.
func TestReadErrors(t *testing.T) {
	p := disk.Build().Bytes
	for at := 0; at < len(p); at += 1 << 15 {
		r, err := audit.Audit(t.Context(), audit.File{ReaderAt: badReader{p, at}, Size: int64(len(p))}, audit.Options{Policy: audit.Default()})
		if at < qcow2.SignatureBytes {
			if !errors.Is(err, errBad) {
				t.Errorf("readable up to %#x: %v", at, err)
			}
		} else if err != nil || r.Verdict != audit.Reject {
			t.Errorf("readable up to %#x: %+v, %v", at, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := audit.Audit(ctx, audit.File{ReaderAt: bytes.NewReader(p), Size: int64(len(p))}, audit.Options{Policy: audit.Default()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
