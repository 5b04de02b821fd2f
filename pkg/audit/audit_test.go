package audit_test

import (
	"bytes"
	"compress/flate"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/audit"
	"github.com/qinspect/qinspect/pkg/qcow2/qcow2test"
)

// auditBytes audits a file in memory.
func auditBytes(t *testing.T, p []byte, o audit.Options) *audit.Report {
	t.Helper()
	if o.Policy.Name == "" {
		o.Policy = audit.Default()
	}
	r, err := audit.Audit(t.Context(), audit.File{ReaderAt: bytes.NewReader(p), Size: int64(len(p))}, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// outcomes returns the rules that fail, and those that were not checked with a
// question mark.
func outcomes(r *audit.Report) []string {
	var all []string
	for _, result := range r.Results {
		switch result.Outcome {
		case audit.Fail:
			all = append(all, string(result.Rule))
		case audit.NotChecked:
			all = append(all, string(result.Rule)+"?")
		}
	}
	return all
}

var (
	data = map[uint64]qcow2test.Kind{0: qcow2test.Data, 1: qcow2test.Data, 5: qcow2test.Zero}
	disk = qcow2test.Image{Size: 1 << 20, Clusters: data}
)

func TestHealthy(t *testing.T) {
	small := disk
	small.ClusterBits = 9
	v2 := disk
	v2.Version, v2.Clusters = 2, map[uint64]qcow2test.Kind{0: qcow2test.Data}
	for name, im := range map[string]qcow2test.Image{"empty": {}, "disk": disk, "small clusters": small, "version 2": v2} {
		for _, p := range []audit.Policy{audit.Default(), audit.Strict()} {
			r := auditBytes(t, im.Build().Bytes, audit.Options{Policy: p, Content: true})
			if diff := cmp.Diff([]string(nil), outcomes(r)); diff != "" || r.Verdict != audit.Accept {
				t.Errorf("%s, %s: %v, %+v", name, p.Name, r.Verdict, r.Findings)
			}
		}
	}
}

// deflate compresses as QEMU does: raw deflate.
func deflate(p []byte) string {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic(err)
	}
	if _, err := w.Write(p); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.String()
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// without returns the ids of the rules that are on by default, in words of outcomes,
// but for some.
func without(but ...audit.ID) []string {
	var all []string
	for _, r := range audit.Rules() {
		switch r.ID {
		case "not-raw", "virtual-size", "open-for-writing", "timestamps", "hidden-free", "hidden-slack": // off
		default:
			if !slices.Contains(but, r.ID) {
				all = append(all, string(r.ID)+"?")
			}
		}
	}
	return all
}

// allUnchecked is all rules but some.
func allUnchecked(but ...audit.ID) string { return strings.Join(without(but...), " ") }
