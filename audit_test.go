package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/qinspect/qinspect/pkg/audit"
)

const auditPage = "docs/audit.md"

// ruleTables returns the rules as docs/audit.md has them.
func ruleTables() string {
	var b strings.Builder
	for _, g := range audit.RuleGroups() {
		fmt.Fprintf(&b, "### %s\n\n| rule | fails if | default | strict | looks at |\n|---|---|---|---|---|\n", g.Title)
		for _, r := range g.Rules {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.ID, r.About, r.Default, r.Strict, r.Scope)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// ruleIDs is the list of ids in the schema, from its first one on.
var ruleIDs = regexp.MustCompile(`(\n +)"not-qcow2"[^\]]*?(\n +\])`)

// updateRuleIDs writes the ids of all rules into the schema.
func updateRuleIDs(t *testing.T) {
	t.Helper()
	schema, err := os.ReadFile(schemaFile("audit"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, r := range audit.Rules() {
		list = append(list, fmt.Sprintf("%q", r.ID))
	}
	schema = ruleIDs.ReplaceAllFunc(schema, func(old []byte) []byte {
		parts := ruleIDs.FindSubmatch(old)
		return []byte(string(parts[1]) + strings.Join(list, ","+string(parts[1])) + string(parts[2]))
	})
	if err := os.WriteFile(schemaFile("audit"), schema, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestAuditRules holds docs/audit.md and the schema to the rules: each has every
// rule, and no other. `go test . -update` writes them.
func TestAuditRules(t *testing.T) {
	if *update {
		updateRuleIDs(t)
	}
	text, err := os.ReadFile(auditPage)
	if err != nil {
		t.Fatal(err)
	}
	parts := regexp.MustCompile(`(?s)^(.*<!-- rules: [^\n]* -->\n)(.*)(<!-- end of rules -->.*)$`).FindStringSubmatch(string(text))
	if parts == nil {
		t.Fatalf("%s has no place for the rules", auditPage)
	}
	if *update {
		if err := os.WriteFile(auditPage, []byte(parts[1]+ruleTables()+parts[3]), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(ruleTables(), parts[2]); diff != "" {
		t.Errorf("rules (-code +%s):\n%s", auditPage, diff)
	}
	schema := documentSchema("audit")
	var ids []any
	for _, r := range audit.Rules() {
		ids = append(ids, string(r.ID))
	}
	for _, list := range []string{"findings", "rules"} {
		if diff := cmp.Diff(ids, schema.Properties[list].Items2020.Properties["rule"].Enum.Values); diff != "" {
			t.Errorf("rules (-code +schema of %s):\n%s", list, diff)
		}
	}
}

// TestAuditSARIF runs the line of docs/audit.md that makes SARIF.
func TestAuditSARIF(t *testing.T) {
	jq, err := exec.LookPath("jq")
	if err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile(auditPage)
	if err != nil {
		t.Fatal(err)
	}
	filter := regexp.MustCompile(`qinspect audit -o json disk\.qcow2 \| jq '([^']*)'`).FindSubmatch(text)
	if filter == nil {
		t.Fatalf("%s has no line that makes SARIF", auditPage)
	}
	document, _, code := execute(t, "audit", "-o", "json", fixtures+"/backing.qcow2")
	if code != 2 {
		t.Fatalf("exit status %d", code)
	}
	run := exec.CommandContext(t.Context(), jq, string(filter[1]))
	run.Stdin = strings.NewReader(document)
	out, err := run.Output()
	if err != nil {
		t.Fatal(err)
	}
	type region struct{ ByteOffset, ByteLength int }
	var sarif struct {
		Version string
		Runs    []struct {
			Tool struct {
				Driver struct {
					Rules []struct{ ID audit.ID }
				}
			}
			Results []struct {
				RuleID    audit.ID `json:"ruleId"`
				Level     string
				Locations []struct{ PhysicalLocation struct{ Region region } }
			}
		}
	}
	if err := json.Unmarshal(out, &sarif); err != nil {
		t.Fatal(err)
	}
	one := sarif.Runs[0]
	if sarif.Version != "2.1.0" || len(one.Tool.Driver.Rules) != len(audit.Rules()) || len(one.Results) != 1 || one.Results[0].RuleID != "backing-file" ||
		one.Results[0].Level != "error" || one.Results[0].Locations[0].PhysicalLocation.Region != (region{0x88, 10}) {
		t.Errorf("SARIF: %s", out)
	}
}
