package cmd

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/qinspect/qinspect/pkg/audit"
)

// auditFlags are the flags of audit.
type auditFlags struct {
	policy         *choice[string]
	maxVirtualSize byteSize
	maxRatio       uint64
	rules          ruleLevels
	declared       *choice[audit.Declared]

	content, headerOnly, all bool
}

func newAuditFlags() *auditFlags {
	return &auditFlags{policy: newChoice(audit.PolicyNames()...), declared: newChoice(audit.DeclaredQcow2, audit.DeclaredRaw)}
}

// add adds the flags to the command.
func (f *auditFlags) add(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Var(f.policy, "policy", "policy: "+f.policy.choices())
	flags.Var(&f.maxVirtualSize, "max-virtual-size", "largest disk that is accepted, such as 2T")
	flags.Uint64Var(&f.maxRatio, "max-ratio", audit.DefaultMaxRatio, "most guest bytes per byte of file")
	flags.Var(&f.rules, "rule", "level of a rule, as ID=LEVEL")
	flags.Var(f.declared, "declared", "what it should be: "+f.declared.choices())
	flags.BoolVar(&f.content, "content", false, "look at the bytes to which nothing refers")
	flags.BoolVar(&f.headerOnly, "header-only", false, "look at the start alone; '-' is standard input")
	flags.BoolVar(&f.all, "all", false, "list every rule, not only those that fail")
	selects(flags, "declared", "content", "header-only", "all")
	a.completeFlag(cmd, "policy", cobra.FixedCompletions(f.policy.names(), cobra.ShellCompDirectiveNoFileComp))
	a.completeFlag(cmd, "declared", cobra.FixedCompletions(f.declared.names(), cobra.ShellCompDirectiveNoFileComp))
	a.completeFlag(cmd, "rule", completeRules)
	a.completeFlag(cmd, "max-virtual-size", cobra.NoFileCompletions)
	a.completeFlag(cmd, "max-ratio", cobra.NoFileCompletions)
}

// check returns an error for flags that contradict each other: a rule that somebody
// asks for must not be left out.
func (f *auditFlags) check(flags *pflag.FlagSet) error {
	if limit := flags.Lookup("max-virtual-size"); limit.Changed && f.maxVirtualSize.n == 0 {
		return fmt.Errorf("--%s: %w", limit.Name, notAllowed(limit, ""))
	}
	for _, l := range f.rules.all() {
		rule, _ := audit.FindRule(l.id)
		switch {
		case l.level == audit.LevelOff:
		case rule.Scope == audit.ScopeContent && !f.content:
			return fmt.Errorf("the rule %s needs --content", l.id)
		case l.id == "virtual-size" && f.maxVirtualSize.n == 0:
			return errors.New("the rule virtual-size needs --max-virtual-size")
		}
	}
	return nil
}

// options returns the options of an audit.
func (f *auditFlags) options(now time.Time) audit.Options {
	p, _ := audit.PolicyNamed(f.policy.value) // the flag takes no other
	p.MaxVirtualSize, p.MaxRatio = f.maxVirtualSize.n, f.maxRatio
	for _, l := range f.rules.all() {
		p = p.With(l.id, l.level)
	}
	return audit.Options{Policy: p, Declared: f.declared.value, Content: f.content, HeaderOnly: f.headerOnly, Zstd: unzstd, Now: now}
}

// A byteSize is a flag that takes a number of bytes above 0; it need not be given.
type byteSize struct {
	text string
	n    uint64
}

func (b *byteSize) String() string { return b.text }
func (b *byteSize) Type() string   { return "size" }

// Set parses a number of bytes. An empty text is none.
func (b *byteSize) Set(s string) error {
	n, err := b.parse(s)
	if err == nil {
		*b = byteSize{s, n}
	}
	return err
}

func (b *byteSize) check(s string) error {
	_, err := b.parse(s)
	return err
}

func (b *byteSize) parse(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	var a address
	if err := a.Set(s); err != nil || a.clusters || a.n == 0 {
		return 0, errors.New("must be " + b.allowed())
	}
	return a.n, nil
}

func (*byteSize) allowed() string { return "a number of bytes above 0 (decimal, 0x…, 64K, 2T)" }

// A ruleLevel is the level that a rule is to have.
type ruleLevel struct {
	id    audit.ID
	level audit.Level
}

// ruleLevels is a flag that takes levels of rules. Those on the command line win
// over those that are configured, rule by rule.
type ruleLevels struct{ below, given []ruleLevel }

// all returns the levels, the last of a rule being the one that counts.
func (r *ruleLevels) all() []ruleLevel {
	var all []ruleLevel
	for _, l := range slices.Concat(r.below, r.given) {
		all = append(slices.DeleteFunc(all, func(o ruleLevel) bool { return o.id == l.id }), l)
	}
	return all
}

func (r *ruleLevels) Type() string { return "rules" }

func (r *ruleLevels) String() string {
	var words []string
	for _, l := range r.all() {
		words = append(words, string(l.id)+"="+l.level.String())
	}
	return strings.Join(words, ",")
}

// Set adds levels to those that were given.
func (r *ruleLevels) Set(s string) error {
	if s == "" { // what a script wanted is lost
		return errors.New("must be " + r.allowed())
	}
	levels, err := r.parse(s)
	r.given = append(r.given, levels...)
	return err
}

// setBelow sets the levels that are configured.
func (r *ruleLevels) setBelow(s string) error {
	levels, err := r.parse(s)
	r.below = levels
	return err
}

func (r *ruleLevels) check(s string) error {
	_, err := r.parse(s)
	return err
}

func (r *ruleLevels) parse(s string) ([]ruleLevel, error) {
	if s == "" {
		return nil, nil
	}
	var all []ruleLevel
	for word := range strings.SplitSeq(s, ",") {
		id, name, _ := strings.Cut(strings.TrimSpace(word), "=")
		_, known := audit.FindRule(audit.ID(id))
		level, ok := audit.ParseLevel(name)
		if !known || !ok {
			return nil, errors.New("must be " + r.allowed())
		}
		all = append(all, ruleLevel{audit.ID(id), level})
	}
	return all, nil
}

func (*ruleLevels) allowed() string {
	return "the id of a rule, '=', and one of " + strings.Join(audit.LevelNames(), ", ") + "; several are separated by commas"
}

// completeRules completes the id of a rule, then its level.
func completeRules(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if id, _, ok := strings.Cut(word, "="); ok {
		var words []cobra.Completion
		for _, level := range audit.LevelNames() {
			words = append(words, id+"="+level)
		}
		return words, cobra.ShellCompDirectiveNoFileComp
	}
	var words []cobra.Completion
	for _, r := range audit.Rules() {
		words = append(words, cobra.CompletionWithDesc(string(r.ID)+"=", "fails if "+r.About))
	}
	return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
