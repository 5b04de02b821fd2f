package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// scriptVariable names a copy of dump-qcow2.pl. Where it is not set, dump is not
// compared with it.
const scriptVariable = "DUMP_QCOW2"

// maxScriptClusters is the largest disk that the script is run on: it looks at
// each of its clusters.
const maxScriptClusters = 1 << 15

// compareScript holds dump against the script, for the active image and for each
// snapshot. What differs must be explained by one of the differences that
// docs/dump.md lists.
func compareScript(t *testing.T, file string) {
	t.Helper()
	script := os.Getenv(scriptVariable)
	header := runDocument(t, "header", file)
	if script == "" || number(t, header, "clusters") > maxScriptClusters {
		return
	}
	if names := header["incompatible-features"].(document)["names"].([]any); len(names) > 0 && names[0] != "dirty" && names[0] != "corrupt" {
		return // difference 6: the script stops
	}
	snapshots := rows(runDocument(t, "snapshots", file)["snapshots"])
	s := scriptComparison{file: file, header: header, snapshots: snapshots}
	for _, snapshot := range snapshots {
		if snapshot["disk-size"] != header["virtual-size"] || snapshot["l1-table"].(document)["entries"] != header["l1-table"].(document)["entries"] {
			return // differences 2 and 8: the script reads other tables, and of other sizes
		}
	}
	s.compare(t, script)
	for i, snapshot := range snapshots {
		if id := snapshot["id"].(string); i < 3 && s.unique(id) {
			s.compare(t, script, "--snapshot", id)
		}
	}
}

// A scriptComparison compares the two dumps of one image.
type scriptComparison struct {
	file      string
	header    document
	snapshots []document
}

// unique reports whether only one snapshot has an id: two are one to the script
// (difference 9).
func (s *scriptComparison) unique(id string) bool {
	n := 0
	for _, other := range s.snapshots {
		if other["id"] == id {
			n++
		}
	}
	return n == 1
}

// foldedLines returns the lines of a dump, white space folded, without empty
// ones.
func foldedLines(out []byte) []string {
	var lines []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			lines = append(lines, strings.Join(fields, " "))
		}
	}
	return lines
}

func (s *scriptComparison) compare(t *testing.T, script string, flags ...string) {
	t.Helper()
	args := append([]string{"--host", "--guest"}, flags...)
	theirs, err := exec.CommandContext(t.Context(), "perl", append(append([]string{script}, args...), s.file)...).Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	var ours, stderr bytes.Buffer
	if code := Execute(t.Context(), Process{Args: append(append([]string{"dump"}, args...), s.file), Stdout: &ours, Stderr: &stderr}); code != 0 {
		t.Fatalf("dump %q: exit status %d: %s", args, code, stderr.Bytes())
	}
	want, got := s.expected(foldedLines(theirs)), foldedLines(ours.Bytes())
	rest := map[string]int{}
	for _, line := range got {
		rest[line]++
	}
	for _, line := range want {
		if rest[line]--; rest[line] < 0 && !s.explained(t, line) {
			t.Errorf("dump %q: only the script has %q", args, line)
		}
	}
	for line, n := range rest {
		if n > 0 && !s.known(t, line) {
			t.Errorf("dump %q: only qinspect has %q", args, line)
		}
	}
	s.compareOrder(t, args, want, got)
}

// compareOrder holds the order of the lines that both have.
func (s *scriptComparison) compareOrder(t *testing.T, args, want, got []string) {
	t.Helper()
	in := map[string]bool{}
	for _, line := range want {
		in[line] = true
	}
	i := 0
	for _, line := range got {
		if !in[line] {
			continue
		}
		for i < len(want) && want[i] != line {
			i++
		}
		if i == len(want) {
			t.Errorf("dump %q: %q comes later than in the script", args, line)
			return
		}
		i++
	}
}

var (
	backingLine    = regexp.MustCompile(`^Backing file offset: 0x(\d+) (.*)$`)
	compressedLine = regexp.MustCompile(`^(.*): 0x([0-9a-f]+) \(#\d+(?: - #\d+)?\) \(compressed, (\d+) sectors\)$`)
	clusterLine    = regexp.MustCompile(`^0x[0-9a-f]+ \(#(\d+)\): (.*)$`)
)

// expected returns the script's lines as ours should be, where that follows from
// the line alone.
func (s *scriptComparison) expected(lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = line
		if m := backingLine.FindStringSubmatch(line); m != nil { // difference 1
			n, _ := strconv.ParseUint(m[1], 10, 64)
			out[i] = fmt.Sprintf("Backing file offset: %#x %s", n, m[2])
		}
		if m := compressedLine.FindStringSubmatch(line); m != nil { // difference 5
			offset, _ := strconv.ParseUint(m[2], 16, 64)
			sectors, _ := strconv.ParseUint(m[3], 10, 64)
			first, last := s.cluster(offset), s.cluster(offset&^511+sectors*512-1)
			place := fmt.Sprintf("(#%d)", first)
			if last != first {
				place = fmt.Sprintf("(#%d - #%d)", first, last)
			}
			out[i] = fmt.Sprintf("%s: %#x %s (compressed, %d sectors)", m[1], offset, place, sectors)
		}
	}
	return out
}

func (s *scriptComparison) cluster(offset uint64) uint64 {
	bits, _ := s.header["cluster-bits"].(json.Number).Int64()
	return offset >> bits
}

// explained reports whether a line that only the script has is one of the known
// differences.
func (s *scriptComparison) explained(t *testing.T, line string) bool {
	t.Helper()
	if strings.HasPrefix(line, "Snapshot #") {
		return strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) // difference 13: ours are escaped
	}
	m := clusterLine.FindStringSubmatch(line)
	if m == nil {
		return line == ")" && s.brokenName() // difference 13, the rest of it
	}
	refs := s.references(t, m[1])
	switch {
	case m[2] == "Compressed cluster": // difference 5: one cluster too many
		return len(refs) == 0 || !refs.has("compressed", "")
	case m[2] == "Snapshot table": // difference 13: stale, with no snapshots
		return s.header["snapshot-table"].(document)["count"] == json.Number("0")
	case strings.HasPrefix(m[2], "L2 table "): // difference 9: another owner's word for a table that they share
		owner := strings.TrimSuffix(m[2][strings.Index(m[2], "[")+1:], "]")
		return len(refs) > 1 && refs.has("l2-table", owner)
	case m[2] == "Data cluster" || m[2] == "All zeros": // difference 9, too: snapshots do not agree
		return len(refs) > 1 && refs.has(map[string]string{"Data cluster": "data", "All zeros": "zero-allocated"}[m[2]], "")
	}
	return false
}

// brokenName reports whether the name of a snapshot ends a line.
func (s *scriptComparison) brokenName() bool {
	for _, snapshot := range s.snapshots {
		if strings.HasSuffix(snapshot["name"].(string), "\n") {
			return true
		}
	}
	return false
}

// known reports whether a line that only we have is one of the known differences.
func (s *scriptComparison) known(t *testing.T, line string) bool {
	t.Helper()
	if s.header["version"] == json.Number("2") && (strings.HasPrefix(line, "Header extension ") || strings.HasPrefix(line, "Feature ")) {
		return true // difference 3
	}
	if strings.HasPrefix(line, "Snapshot #") {
		return strings.Contains(line, `\`) // difference 13
	}
	m := clusterLine.FindStringSubmatch(line)
	if m == nil {
		return line == "Autoclear bits: data_file_raw"
	}
	refs := s.references(t, m[1])
	switch {
	case strings.HasPrefix(m[2], "Bitmap "): // difference 7
		return refs.has("bitmap-directory", "") || refs.has("bitmap-table", "") || refs.has("bitmap-data", "")
	case m[2] == "Snapshot table": // difference 4: its other clusters
		return refs.has("snapshot-table", "")
	case strings.HasPrefix(m[2], "L2 table "): // difference 9
		return len(refs) > 1 && refs.has("l2-table", strings.TrimSuffix(m[2][strings.Index(m[2], "[")+1:], "]"))
	case m[2] == "Data cluster" || m[2] == "All zeros":
		return len(refs) > 1 && refs.has(map[string]string{"Data cluster": "data", "All zeros": "zero-allocated"}[m[2]], "")
	}
	return false
}

// clusterReferences are the rows of host --at.
type clusterReferences []struct {
	Kind     string
	Owner    *string
	Snapshot *string
}

// has reports whether there is a reference of a kind, by an owner in the
// script's words if that is not empty.
func (refs clusterReferences) has(kind, owner string) bool {
	for _, r := range refs {
		name := "active"
		if r.Snapshot != nil {
			name = "snapshot " + *r.Snapshot
		}
		if r.Kind == kind && (owner == "" || r.Owner != nil && owner == name) {
			return true
		}
	}
	return false
}

func (s *scriptComparison) references(t *testing.T, cluster string) clusterReferences {
	t.Helper()
	var doc struct{ Host clusterReferences }
	runJSON(t, &doc, "host", "--at", "#"+cluster, s.file)
	return doc.Host
}

// TestScriptRules: a line that nothing explains is one.
func TestScriptRules(t *testing.T) {
	s := scriptComparison{file: "../testdata/images/snapshots.qcow2", header: runDocument(t, "header", "../testdata/images/snapshots.qcow2")}
	for _, line := range []string{
		"QCOW2 version 4", "0x0 (#0): QCOW2 header", "0x600 (#3): L2 table 48 [snapshot 9]", "0xa00 (#5): All zeros",
		"0xa00 (#5): Compressed cluster [guest 0x0 (#0)]", "0x5e00 (#47): Snapshot table 1", "0x0 (#0): 0xa00 (#5) (compressed, 1 sectors)",
	} {
		if s.explained(t, line) || s.known(t, line) {
			t.Errorf("%q is explained", line)
		}
	}
	if want := "0x600 (#3): L2 table 48 [snapshot 3]"; !s.explained(t, want) {
		t.Errorf("%q is not explained", want)
	}
	if got := s.expected([]string{"Backing file offset: 0x136 (10 bytes): base.qcow2"})[0]; got != "Backing file offset: 0x88 (10 bytes): base.qcow2" {
		t.Errorf("difference 1 makes %q", got)
	}
}
